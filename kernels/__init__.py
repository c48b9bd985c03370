"""Batch kernels over ragged arrays. Each is one row of `aimds.kernels.spec`; the backend follows where the input lives.

Ragged input is ``values`` and ``offsets`` int64 (B+1,): row ``r`` is ``values[offsets[r]:offsets[r + 1]]``. ``threads``
shares the rows out by their sizes and never changes a result. A kernel compiles when first used, on the CPU also in
`warmup`; the machine code is kept on disk. Arguments that do not fit raise `KernelError` naming the kernel and the
argument.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from aimds.errors import KernelError
from aimds.kernels import ragged, registry, spec
from aimds.kernels.registry import backend, names

if TYPE_CHECKING:
    from aimds.kernels.stems import Stems

__all__ = [
    "add_norm",
    "attention",
    "attractor",
    "backend",
    "bias_gelu",
    "build_postings",
    "build_stems",
    "build_vocabulary",
    "concept_pairs",
    "concepts",
    "dtw",
    "embed",
    "lcs",
    "levenshtein",
    "linear",
    "ltl_batch",
    "ltl_step",
    "matmul",
    "names",
    "nearest",
    "ngram_hash",
    "pooled_logits",
    "session_series",
    "sketch",
    "subsequence_dtw",
    "subsequence_dtw_pairs",
    "tokenize",
    "topk",
    "unchecked",
    "warmup",
    "word_hash",
    "word_spans",
]

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

MAX_WIDTH = 1024
"""Most values of a hidden state."""
MAX_HEAD = 64
"""Most values of a query."""


def warmup(progress: Callable[[str], None] | None = None) -> None:
    """Load every kernel of the present backend; ``progress`` hears each name first. On the CPU what is not cached is
    compiled; on a GPU a kernel compiles when first run, since its text hangs on the sizes that it is given."""
    for name in names():
        if progress is not None:
            progress(name)
        registry.find(name, backend())


def ngram_hash(values: U8, offsets: I64, *, bits: int = 18, threads: int = 1) -> tuple[I64, I32, F32]:
    """Hashed counts of byte 3–5-grams and word 1–2-grams of folded UTF-8 text, as a sparse matrix (B, 2 ** ``bits``).

    The grams run over the row with ASCII separators squeezed to one space, a space at both ends; the word rule is that
    of `aimds.kernels.words`. A row without a word has no features.

    Args:
        values: uint8 (N,) folded bytes. offsets: int64 (B+1,). bits: 12 to 24.

    Returns:
        indptr int64 (B+1,), indices int32 (Z,) unique and ascending in a row, counts float32 (Z,) occurrences.

    Source: Weinberger et al. 2009, doi:10.1145/1553374.1553516, without the sign.
    """
    return cast("tuple[I64, I32, F32]", _run("ngram_hash", threads, values=values, offsets=offsets, bits=bits))


def linear(
    indptr: I64,
    indices: I32,
    counts: F32,
    weights: npt.NDArray[np.int8] | F32,
    scale: F32,
    idf: F32,
    bias: F32,
    *,
    threads: int = 1,
) -> F32:
    """Logits of H linear heads over the unit vector of ``(1 + ln count) * idf``; a row without features gets the bias.

    Args:
        indptr, indices, counts: as `ngram_hash` returns them. weights: int8 or float32 (F, H). scale: float32 (H,),
        multiplies the weights of a head. idf: float32 (F,). bias: float32 (H,).

    Returns:
        float32 (B, H).
    """
    arguments: dict[str, Any] = {"indptr": indptr, "indices": indices, "counts": counts, "weights": weights}
    return cast(F32, _run("linear", threads, **arguments, scale=scale, idf=idf, bias=bias))


def sketch(indptr: I64, indices: I32, counts: F32, idf: F32, dim: int = 256, *, threads: int = 1) -> F32:
    """Count sketch of ``(1 + ln count) * idf``, scaled to a unit vector; a row without features stays zero.

    Args:
        indptr, indices, counts: as `ngram_hash` returns them. idf: float32 (F,). dim: columns, 1 to 65536.

    Returns:
        float32 (B, dim); inner products estimate the cosine of the full vectors.

    Source: Charikar, Chen & Farach-Colton 2004, doi:10.1016/S0304-3975(03)00400-6.
    """
    return cast(F32, _run("sketch", threads, indptr=indptr, indices=indices, counts=counts, idf=idf, dim=dim))


def nearest(
    indptr: I64,
    indices: I32,
    counts: F32,
    idf: F32,
    keys: I32,
    post_offsets: I64,
    post_rows: I32,
    post_values: F32,
    owner: I32,
    k: int,
    *,
    threads: int = 1,
) -> tuple[F32, I32]:
    """Mean cosine of each row with the ``k`` nearest groups of a sparse bank, from the bank's inverted index.

    A row is the unit vector of ``(1 + ln count) * idf``; a group is as near as the nearest of its rows.

    Args:
        indptr, indices, counts: as `ngram_hash` returns them. idf: float32 (F,). keys, post_offsets, post_rows,
        post_values: from `build_postings`. owner: int32 (N,) ascending, the group of each row of the bank. k: at least
        1; of fewer groups, all count.

    Returns:
        score float32 (B,), 0 where nothing is shared, and nearest int32 (B,), the nearest group (of equals, the
        first), -1 where nothing is shared.

    Source: Zobel & Moffat 2006, doi:10.1145/1132956.1132959, section 3.
    """
    bank: dict[str, Any] = {"keys": keys, "post_offsets": post_offsets, "post_rows": post_rows}
    bank |= {"post_values": post_values, "owner": owner, "k": k}
    given = {"indptr": indptr, "indices": indices, "counts": counts, "idf": idf, **bank}
    arguments = spec.check("nearest", given)
    if len(keys) & (len(keys) - 1) or not ragged.falls_below(keys, 0):
        raise KernelError("nearest", "keys", "is no table of build_postings: a power of two with an empty slot")
    return cast("tuple[F32, I32]", _dispatch("nearest", arguments, threads=threads))


def build_postings(indptr: I64, indices: I32, values: F32) -> tuple[I32, I64, I32, F32]:
    """The inverted index of the sparse rows of a bank for `nearest`: keys int32 (S,), an open-addressing table of the
    features, S a power of two; post_offsets int64 (S+1,) by slot; post_rows int32 (E,); post_values float32 (E,).

    Args:
        indptr: int64 (N+1,). indices: int32 (E,), unique in a row. values: float32 (E,).
    """
    features = np.unique(indices)
    mask = (1 << max(4, (2 * len(features)).bit_length())) - 1
    keys = np.full(mask + 1, -1, np.int32)
    left, step = features, 0
    while len(left):
        # Of those that want one free slot the first gets it; a slot passed over is taken, as lookups need.
        slots, first = np.unique((left + step) & mask, return_index=True)
        free = keys[slots] < 0
        keys[slots[free]] = left[first[free]]
        left, step = np.delete(left, first[free]), step + 1
    slot_of = np.flatnonzero(keys >= 0)
    place = slot_of[np.argsort(keys[slot_of])][np.searchsorted(features, indices)]
    order = np.argsort(place, kind="stable")
    post_offsets = np.zeros(len(keys) + 1, np.int64)
    np.cumsum(np.bincount(place, minlength=len(keys)), out=post_offsets[1:])
    rows = np.repeat(np.arange(len(indptr) - 1, dtype=np.int32), np.diff(indptr))
    return keys, post_offsets, rows[order], values[order]


def topk(queries: F32, bank: F32, k: int, *, threads: int = 1) -> tuple[F32, I32]:
    """The ``k`` rows of ``bank`` with the largest inner product with each query; equal scores go to the lower id.

    Args:
        queries: float32 (B, D), finite. bank: float32 (N, D), finite. k: at least 1.

    Returns:
        scores float32 (B, k) descending (float64 sums, rounded), ids int32 (B, k). Where k > N the rest is -inf and -1.
    """
    return cast("tuple[F32, I32]", _run("topk", threads, queries=queries, bank=bank, k=k))


def tokenize(
    values: U8, offsets: I64, keys: U64, ids: I32, *, max_tokens: int = 0, threads: int = 1
) -> tuple[I32, I64, I32, I32]:
    """The words of folded UTF-8 text as token ids; a word that is not in the vocabulary gets the number of its words.

    Args:
        values: uint8 (N,) folded bytes. offsets: int64 (B+1,). keys, ids: from `build_vocabulary`.
        max_tokens: only so many first words of a row, 0 for all.

    Returns:
        tokens int32 (T,), token_offsets int64 (B+1,), starts and ends int32 (T,): bytes within the row.
    """
    given = {"values": values, "offsets": offsets, "keys": keys, "ids": ids, "max_tokens": max_tokens}
    arguments = spec.check("tokenize", given)
    if len(ids) & (len(ids) - 1) or not ragged.falls_below(ids, 0):
        raise KernelError("tokenize", "ids", "is no table of build_vocabulary: a power of two with an empty slot")
    return cast("tuple[I32, I64, I32, I32]", _dispatch("tokenize", arguments, threads=threads))


def build_vocabulary(words: Sequence[bytes]) -> tuple[U64, I32]:
    """The open-addressing table of ``words`` for `tokenize`: keys uint64 (S,), ids int32 (S,), S a power of two.

    The id of a word is its place in ``words``; the table cannot be written to. Raises KernelError for an entry that is
    not one word or comes twice.
    """
    from aimds.kernels.cpu.tokenize import hash_words

    size = 1 << max(4, (2 * len(words)).bit_length())
    keys, ids = np.zeros(size, np.uint64), np.full(size, -1, np.int32)
    for i, key in enumerate(hash_words(list(words)).tolist()):
        slot = key & (size - 1)
        while ids[slot] >= 0:
            if keys[slot] == key:
                raise KernelError("tokenize", "words", f"{words[i]!r} and {words[ids[slot]]!r} have the same hash")
            slot = (slot + 1) & (size - 1)
        keys[slot], ids[slot] = key, i
    # What never changes need be looked through only once.
    keys.flags.writeable = ids.flags.writeable = False
    return keys, ids


def word_hash(word: bytes) -> int:
    """The 64-bit hash of one folded word (FNV-1a, mixed). Raises KernelError if it is not exactly one word."""
    from aimds.kernels.cpu.tokenize import hash_words

    return int(hash_words([word])[0])


def word_spans(values: U8, offsets: I64, *, threads: int = 1) -> tuple[I64, I32, I32, U8]:
    """Where the words of folded UTF-8 text stand, in any script.

    A word is a run of ASCII letters, digits and characters above ASCII that are no punctuation; a run of a script
    without spaces (Thai, and what lies from U+1000 to U+1FFF, from U+3000 to U+9FFF and above U+20000) is one word.
    What is no UTF-8 is read as if it were.

    Args:
        values: uint8 (N,) folded bytes. offsets: int64 (B+1,).

    Returns:
        word_offsets int64 (B+1,), starts and ends int32 (T,): bytes within the row, kinds uint8 (T,): 1 for a script
        without spaces, and 2 more where only blanks, apostrophes and hyphens stand between it and the word before.
    """
    return cast("tuple[I64, I32, I32, U8]", _run("word_spans", threads, values=values, offsets=offsets))


def concepts(
    values: U8,
    offsets: I64,
    word_offsets: I64,
    starts: I32,
    ends: I32,
    kinds: U8,
    keys: U64,
    heads: I32,
    sieve: U64,
    spoken: U64,
    group_from: I32,
    facts: I32,
    part_from: I32,
    parts: I32,
    pool: U8,
    clitics: I32,
    languages: int,
    main: int,
    least: int,
    bare: int,
    *,
    threads: int = 1,
) -> tuple[npt.NDArray[np.int16], U8, I32, I32, I64]:
    """The language that most words of each row are of, and what they mean in it.

    A stem is looked up by the hash of every beginning of a word, in a script without spaces of every character; the
    longest entry counts. Each word has two votes for each language it may be of, a character of a script without spaces
    one, and is a fifth of a word.

    Args:
        values: uint8 (N,) folded bytes. offsets: int64 (B+1,). word_offsets, starts, ends, kinds: as `word_spans`
        returns them. keys to clitics: as `build_stems` returns them; neither are looked at again. languages: of the
        table. main: the language of a row whose words are as much of this as of another. least: percent of the words
        that must be known for a row to be of a language. bare: the concept of words that only tell the language.

    Returns:
        lang int16 (B,), -1 for none; concept uint8 (K,), start and end int32 (K,): bytes within the row;
        concept_offsets int64 (B+1,).
    """
    words: dict[str, Any] = {"word_offsets": word_offsets, "starts": starts, "ends": ends, "kinds": kinds}
    table: dict[str, Any] = {"keys": keys, "heads": heads, "sieve": sieve, "spoken": spoken, "group_from": group_from}
    table |= {"facts": facts, "part_from": part_from, "parts": parts, "pool": pool, "clitics": clitics}
    chosen = {"languages": languages, "main": main, "least": least, "bare": bare}
    arguments = spec.check("concepts", {"values": values, "offsets": offsets, **words, **table, **chosen})
    if main >= languages:
        raise KernelError("concepts", "main", f"{main} is none of {languages} languages")
    found = _dispatch("concepts", arguments, threads=threads)
    return cast("tuple[npt.NDArray[np.int16], U8, I32, I32, I64]", found)


def build_stems(
    langs: U8,
    concepts: U8,
    part_from: I32,
    parts: I32,
    pool: U8,
    clitics: I32,
) -> Stems:
    """The table of E entries for `concepts`, as `aimds.kernels.stems.build`, which says what raises.

    Args:
        langs, concepts: uint8 (E,), language and concept of each entry. part_from, parts, pool, clitics: as in
        `aimds.kernels.stems.Stems`.
    """
    from aimds.kernels import stems

    return stems.build(langs, concepts, part_from, parts, pool, clitics)


def concept_pairs(concept: U8, concept_offsets: I64, reach: int, *, threads: int = 1) -> tuple[I64, I32, F32]:
    """Concepts, and pairs of them at most ``reach`` apart in either order, of each row, as a sparse matrix (B, 65536).

    A pair (a, b), a <= b, is feature 256 a + b, a concept alone 256 a + 255.

    Args:
        concept: uint8 (K,). concept_offsets: int64 (B+1,). reach: 0 to 64.

    Returns:
        indptr int64 (B+1,), indices int32 (Z,) unique in a row, in the order in which they first occur (a concept
        alone, then its pairs with those behind it), counts float32 (Z,) occurrences.
    """
    given = {"concept": concept, "concept_offsets": concept_offsets, "reach": reach}
    return cast("tuple[I64, I32, F32]", _run("concept_pairs", threads, **given))


def subsequence_dtw(tokens: I32, offsets: I64, cost: U8, *, threads: int = 1) -> tuple[I32, I32]:
    """The cheapest alignment of each pattern with any stretch of each row.

    D[i, j] = cost[tokens[i], j, p] + min(D[i-1, j-1], D[i-1, j], D[i, j-1]) with D[i, -1] = 0, D[-1, j] = inf. Patterns
    shorter than L are padded in front with columns of cost 0. P a multiple of 32 is quickest.

    Args:
        tokens: int32 (N,) in 0 .. V-1. offsets: int64 (B+1,). cost: uint8 (V, L, P).

    Returns:
        distance int32 (B, P), the least D[i, L-1], and end int32 (B, P), the first i that has it, counted in the row.
        An empty row: 2 ** 20 and -1.

    Source: Müller 2007, doi:10.1007/978-3-540-74048-3, section 4.4.
    """
    return cast("tuple[I32, I32]", _run("subsequence_dtw", threads, tokens=tokens, offsets=offsets, cost=cost))


def subsequence_dtw_pairs(
    tokens: I32, offsets: I64, cost: U8, lengths: I32, rows: I32, patterns: I32, *, threads: int = 1
) -> tuple[I32, I32, I32]:
    """The cheapest alignment of chosen patterns with any stretch of chosen rows, and where it lies.

    The recurrence of `subsequence_dtw`, for C pairs alone: what to call where few patterns can be near a row.

    Args:
        tokens: int32 (N,) in 0 .. V-1. offsets: int64 (B+1,). cost: uint8 (V, P, L). lengths: int32 (P,), 1 to L: a
        pattern has the last so many columns. rows, patterns: int32 (C,), the pairs.

    Returns:
        distance int32 (C,), the least D[i, L-1]; end int32 (C,), the first i that has it; start int32 (C,), where the
        cheapest alignment that ends there begins, of several the latest (shortest stretch). Both are counted in the
        row. An empty row: 2 ** 20, -1 and -1.

    Source: Müller 2007, doi:10.1007/978-3-540-74048-3, section 4.4.
    """
    name = "subsequence_dtw_pairs"
    given = {"tokens": tokens, "offsets": offsets, "cost": cost, "lengths": lengths, "rows": rows, "patterns": patterns}
    arguments = spec.check(name, given)
    spec.within(name, "rows", rows, 0, len(offsets) - 2)
    spec.within(name, "lengths", lengths, 1, cost.shape[2])
    return cast("tuple[I32, I32, I32]", _dispatch(name, arguments, threads=threads))


def dtw(values: F32, offsets: I64, patterns: F32, *, threads: int = 1) -> F32:
    """Dynamic time warping of each row with each pattern, whole against whole: the summed squared difference, no root.

    Args:
        values: float32 (N,), finite. offsets: int64 (B+1,). patterns: float32 (P, M), finite, M at least 1.

    Returns:
        float32 (B, P); inf for an empty row.

    Source: Sakoe & Chiba 1978, doi:10.1109/TASSP.1978.1163055, steps of weight 1.
    """
    return cast(F32, _run("dtw", threads, values=values, offsets=offsets, patterns=patterns))


def lcs(q_values: U8 | I32, q_offsets: I64, p_values: U8 | I32, p_offsets: I64, *, threads: int = 1) -> I32:
    """Length of the longest common subsequence of each query row with each pattern row, int32 (B, P).

    Args:
        q_values, p_values: uint8 bytes or int32 token ids, both of one kind. q_offsets: int64 (B+1,).
        p_offsets: int64 (P+1,).

    Source: Hyyrö 2004, Bit-parallel LCS-length computation revisited.
    """
    return _pairs("lcs", q_values, q_offsets, p_values, p_offsets, threads)


def levenshtein(q_values: U8 | I32, q_offsets: I64, p_values: U8 | I32, p_offsets: I64, *, threads: int = 1) -> I32:
    """Least number of insertions, deletions and substitutions between each query and each pattern row, int32 (B, P).

    Args: as `lcs`.

    Source: Myers 1999, doi:10.1145/316542.316550; Hyyrö 2003 for more than 64 columns.
    """
    return _pairs("levenshtein", q_values, q_offsets, p_values, p_offsets, threads)


def session_series(values: F64, offsets: I64, *, threads: int = 1) -> F64:
    """What a series of scores shows of a change: twelve numbers a row, float64 (B, 12); zeros for an empty row.

    Columns, in the order of `aimds.analyze.series.FEATURES`, for n values x with mean m:

    0 ``peak``, 1 ``mean``, 2 ``last`` value · 3 ``rise``: slope of the least-squares line times n - 1 · 4 ``slope``:
    correlation with the turn number · 5 ``shift``: the largest sqrt(k (n - k) / n) (mean after - mean before) over all
    cuts k, 0 where the mean never rises · 6 ``glr``: its square over the sum of squares around m, the generalised
    likelihood ratio of one rise of the mean, normalised by the series itself · 7 ``change``: first value after that
    cut, 0 for none · 8 ``cusum``: highest CUSUM above the median of the first max(3, n // 5) values and half a
    ``spread`` · 9 ``page_hinkley``: highest climb of the sum of (x - mean so far) · 10 ``spread``: standard deviation ·
    11 ``volatility``: sum of squared steps over the sum of squares around m, 2 for noise.

    Adding c to all values adds c to columns 0 to 2 and changes no other. Multiplying them by s > 0 multiplies columns
    0 to 3, 5 and 8 to 10 by s and changes no other. Where all values are equal, columns 3 to 11 are 0.

    Args:
        values: float64 (N,), finite. offsets: int64 (B+1,).

    Source: Page 1954, doi:10.1093/biomet/41.1-2.100 (CUSUM); Shao & Zhang 2010, doi:10.1198/jasa.2010.tm10103
    (self-normalisation).
    """
    return cast(F64, _run("session_series", threads, values=values, offsets=offsets))


def attractor(
    values: F64,
    offsets: I64,
    *,
    dim: int = 3,
    lag: int = 1,
    separation: int = 0,
    horizon: int = 5,
    skip: int = 0,
    radius: int = 20,
    angles: int = 16,
    parts: int = 15,
    threads: int = 1,
) -> F64:
    """What kind of motion a series shows: sixteen numbers a row, float64 (B, 16); nan where a row is too short for one.

    Columns, in the order of `aimds.analyze.dynamics.FEATURES`, for n values x; a point is ``dim`` values ``lag`` apart:

    0 ``lyapunov``: largest Lyapunov exponent a step, the slope over ``horizon`` steps, the first ``skip`` left out, of
    the mean log distance of each point and its closest one more than ``separation`` away in time (Rosenstein) ·
    recurrence quantification, points being equal where no value differs by more than ``radius`` percent of the standard
    deviation: 1 ``recurrence_rate`` of the pairs more than ``separation`` apart, of those 2 ``determinism`` (share on
    diagonal lines of 2 or more), 3 ``mean_line``, 4 ``longest_line``, 5 ``line_entropy`` (nat), and over the whole plot
    6 ``laminarity`` (share on lines up and down), 7 ``trapping_time`` (their mean length) · 8 ``chaos01``: 0-1 test,
    median of ``angles`` correlations, from 20 values on · 9 ``permutation_entropy`` of order 3, from 0 to 1 · 10
    ``sample_entropy`` of order 2, tolerance ``radius`` · 11 ``period``: lag after which x comes closest to itself
    again, once it went away, up to n / 2; 0 for none · 12 ``period_miss``: mean squared difference at that lag over
    twice the variance, 0 for a period, about 1 for noise · 13 ``prediction_error``: mean squared difference of what
    comes after a point and after its closest one, over the variance · 14 ``settling``: variance of the last third over
    that of all · 15 ``volatility``: ``period_miss`` of lag 1.

    ``parts`` is the sum of what is wanted: 1 for columns 0 and 13, 2 for 1 to 7, 4 for 9 and 10, 8 for 11, 12 and 15.

    Scaling or shifting a row changes nothing but rounding. Where all values are equal, column 14 is 0, others are nan.

    Args:
        values: float64 (N,), finite. offsets: int64 (B+1,).

    Source: Rosenstein, Collins & De Luca 1993, doi:10.1016/0167-2789(93)90009-P; Marwan et al. 2007,
    doi:10.1016/j.physrep.2006.11.001; Gottwald & Melbourne 2009, doi:10.1137/080718851; Bandt & Pompe 2002,
    doi:10.1103/PhysRevLett.88.174102; Richman & Moorman 2000, doi:10.1152/ajpheart.2000.278.6.H2039.
    """
    steps = {"dim": dim, "lag": lag, "separation": separation, "horizon": horizon, "skip": skip}
    others = {"radius": radius, "angles": angles, "parts": parts}
    return cast(F64, _run("attractor", threads, values=values, offsets=offsets, **steps, **others))


def ltl_batch(
    values: U64,
    offsets: I64,
    shifts: I64,
    past: I64,
    future: I64,
    results: I64,
    slots: int,
    *,
    threads: int = 1,
) -> U64:
    """Whether formulas hold at the start of rows of steps: a bit a row, 64 rows a word, uint64 (R, ceil(B / 64)).

    A program has ``slots`` bits a row. ``past`` goes over the steps from the first to the last, then ``future`` from
    the last to the first. At each step the copies are done, in their order; at the first one slots begin; the first A
    slots take the events, and in ``future`` those behind them what the past kept; then all others are done in their
    order.

    Instructions ``code, slot, left, right``: 0 slot = left and right · 1 or · 2 not left · 3 until: right or (left and
    slot as it was a step before) · 4 release: right and (left or slot) · 5 copy: left as it was a step before · 6
    begins with left, 0 or 1 · 7 in ``past`` alone: the slot of ``future`` that takes what left is at this step, A and
    up, one each.

    Args:
        values: uint64 (N,). offsets: int64 (B+1,); a row without steps holds nothing. shifts: int64 (A,), 0 to 63.
        past: int64 (O, 4). future: int64 (U, 4). results: int64 (R,), slots that are asked for.

    Source: De Giacomo & Vardi, IJCAI 2013 (the expansion laws of finite traces); Havelund & Roşu 2002,
    doi:10.1007/3-540-46002-0_24 (those of the past).
    """
    name = "ltl_batch"
    given = {"values": values, "offsets": offsets, "shifts": shifts, "past": past, "future": future}
    arguments = spec.check(name, {**given, "results": results, "slots": slots})
    spec.within(name, "shifts", shifts, 0, 63)
    spec.within(name, "results", results, 0, slots - 1)
    kept = sorted(int(place) for place in past[past[:, 0] == 7][:, 1])
    if kept != list(range(len(shifts), len(shifts) + len(kept))) or len(shifts) + len(kept) > slots:
        raise KernelError(name, "past", "what it keeps is not one slot each, from the events on")
    for which, program, codes in (("past", past, 7), ("future", future, 6)):
        spec.within(name, which, program[:, 0], 0, codes)
        begins = program[:, 0] == 6
        spec.within(name, which, program[begins][:, 2], 0, 1)
        spec.within(name, which, program[begins][:, 1], 0, slots - 1)
        spec.within(name, which, program[~begins][:, 1:], 0, slots - 1)
    return cast(U64, _dispatch(name, arguments, threads=threads))


def ltl_step(
    table: npt.NDArray[np.uint16],
    resets: U8,
    shape: I64,
    letters: npt.NDArray[np.uint16],
    limits: I64,
    verdicts: U8,
    sessions: I64,
    values: U64,
    times: I64,
    records: I64,
    *,
    threads: int = 1,
) -> tuple[I64, U8]:
    """Steps of live sessions on the tables of P automata with clocks, one after the other.

    The letter of a step has a bit for each event of the automaton and, above them, one for each clock that is over. A
    session's time never goes back. `aimds.ltl.tables.Tables` makes the arguments.

    Args:
        table: uint16 (T,), next states, by automaton, state and letter. resets: uint8 (T,), clocks that are set.
        shape: int64 (P, 7): place in table, letters a state, events, first clock, clocks, place in verdicts, unused.
        letters: uint16 (P, M, 256). limits: int64 (C,). verdicts: uint8 (Q,). sessions: int64 (N,), rows of records.
        values: uint64 (N,). times: int64 (N,). records: int64 (S, D), D at least 1 + C + P / 4.

    Returns:
        after int64 (S, D), the records then, and verdict uint8 (N, P).

    Source: Bauer, Leucker & Schallhart 2011, doi:10.1145/2000799.2000800.
    """
    name = "ltl_step"
    given: dict[str, Any] = {"table": table, "resets": resets, "shape": shape, "letters": letters, "limits": limits}
    given |= {"verdicts": verdicts, "sessions": sessions, "values": values, "times": times, "records": records}
    arguments = spec.check(name, given)
    _tabled(*(arguments[place] for place in (0, 2, 3, 4, 5, 9)))
    return cast("tuple[I64, U8]", _dispatch(name, arguments, threads=threads))


def _tabled(table: Any, shape: Any, letters: Any, limits: Any, verdicts: Any, records: Any) -> None:
    # Compiled code looks up without bounds checks, so all that a state or a letter can lead to has to be there.
    name, automata = "ltl_step", [[int(value) for value in row] for row in shape]
    if shape.shape[1] != 7 or (letters.shape[1] > 8 or letters.shape[2] != 256):
        raise KernelError(name, "shape", "expected (P, 7), and letters of at most 8 bytes of 256 values")
    if records.shape[1] < 1 + len(limits) + -(-len(automata) // 4):
        raise KernelError(name, "records", "has no room for the clocks and the states")
    spec.within(name, "limits", limits, 0, (1 << 62) - 1)
    states = records.view(np.uint16)[:, 4 * (1 + len(limits)) :]
    ends = [*(row[0] for row in automata[1:]), len(table)][: len(automata)]
    for p, ((place, width, events, first, clocks, verdict, _), end) in enumerate(zip(automata, ends, strict=True)):
        fits = 0 <= events <= 16 and 0 <= clocks <= 8 and width == 1 << (events + clocks) and 0 <= place < end
        if not fits or end > len(table) or (end - place) % width or not 0 <= first <= len(limits) - clocks:
            raise KernelError(name, "shape", f"row {p} cannot be")
        count = (end - place) // width
        if not 0 <= verdict <= len(verdicts) - count:
            raise KernelError(name, "shape", f"row {p} cannot be")
        spec.within(name, "table", table[place:end], 0, count - 1)
        spec.within(name, "letters", letters[p].reshape(-1), 0, (1 << events) - 1)
        spec.within(name, "records", states[:, p], 0, count - 1)


def embed(
    tokens: I32,
    offsets: I64,
    kinds: I32,
    word: F32,
    position: F32,
    channel: F32,
    gain: F32,
    bias: F32,
    *,
    threads: int = 1,
) -> F32:
    """What goes into the first layer of an encoder, float32 (N, D): embeddings, summed and normalised.

    The embeddings are those of the word piece, of its place in the row and of the kind of row. A sum x is normalised
    as ``(x - mean) / sqrt(variance + 1e-12) * gain + bias``, over the D values of a token.

    Args:
        tokens: int32 (N,), rows of ``word``. offsets: int64 (B+1,), covers all tokens. kinds: int32 (B,), rows of
        ``channel``. word: float32 (V, D), D at most 1024. position: float32 (L, D), L at least the tokens of a row.
        channel: float32 (C, D). gain, bias: float32 (D,).

    Source: Devlin et al. 2019, doi:10.18653/v1/N19-1423, figure 2; Ba, Kiros & Hinton 2016, arXiv 1607.06450.
    """
    given: dict[str, Any] = {"tokens": tokens, "offsets": offsets, "kinds": kinds, "word": word, "position": position}
    arguments = spec.check("embed", given | {"channel": channel, "gain": gain, "bias": bias})
    _covers("embed", offsets, len(tokens))
    _is_narrow("embed", "word", word.shape[1])
    if len(kinds) and int((offsets[1:] - offsets[:-1]).max()) > len(position):
        raise KernelError("embed", "offsets", f"has a row of more than {len(position)} tokens, the places there are")
    return cast(F32, _dispatch("embed", arguments, threads=threads))


def add_norm(states: F32, product: F32, shift: F32, gain: F32, bias: F32, *, threads: int = 1) -> F32:
    """The sum of ``states``, ``product`` and ``shift``, normalised as in `embed`, float32 (N, D).

    Args:
        states, product: float32 (N, D), D at most 1024. shift, gain, bias: float32 (D,).

    Source: Vaswani et al. 2017, arXiv 1706.03762, section 3.1; Ba, Kiros & Hinton 2016, arXiv 1607.06450.
    """
    given = {"states": states, "product": product, "shift": shift, "gain": gain, "bias": bias}
    arguments = spec.check("add_norm", given)
    _is_narrow("add_norm", "states", states.shape[1])
    return cast(F32, _dispatch("add_norm", arguments, threads=threads))


def attention(qkv: F32, bias: F32, offsets: I64, heads: int, *, threads: int = 1) -> F32:
    """Attention of the tokens of each row among themselves, float32 (N, D).

    It is ``softmax(Q K^T / sqrt(D / heads)) V`` of each head, the heads side by side.

    Args:
        qkv: float32 (N, 3 D), a token's queries of all heads, then its keys, then its values; a head has D / ``heads``
        values, at most 64. bias: float32 (3 D,), added first. offsets: int64 (B+1,), covers all tokens.

    Source: Vaswani et al. 2017, arXiv 1706.03762, section 3.2; the softmax on the way: Milakov & Gimelshein 2018, arXiv
    1805.02867.
    """
    arguments = spec.check("attention", {"qkv": qkv, "bias": bias, "offsets": offsets, "heads": heads})
    _covers("attention", offsets, len(qkv))
    size, rest = divmod(qkv.shape[1], 3 * heads)
    if rest or size > MAX_HEAD:
        problem = f"{qkv.shape[1]} values a token, expected three times {heads} heads of at most {MAX_HEAD}"
        raise KernelError("attention", "qkv", problem)
    return cast(F32, _dispatch("attention", arguments, threads=threads))


def bias_gelu(product: F32, bias: F32, *, threads: int = 1) -> F32:
    """The Gaussian error linear unit of ``product + bias``, by the error function, float32 (N, M).

    Args:
        product: float32 (N, M). bias: float32 (M,).

    Source: Hendrycks & Gimpel 2016, arXiv 1606.08415.
    """
    return cast(F32, _run("bias_gelu", threads, product=product, bias=bias))


def pooled_logits(states: F32, offsets: I64, weights: F32, bias: F32, *, threads: int = 1) -> F32:
    """Logits of H linear heads over the mean of each row's ``states``, float32 (B, H); an empty row gets the bias.

    Args:
        states: float32 (N, D), D at most 1024. offsets: int64 (B+1,). weights: float32 (D, H). bias: float32 (H,).

    Source: Reimers & Gurevych 2019, doi:10.18653/v1/D19-1410, section 3.
    """
    given = {"states": states, "offsets": offsets, "weights": weights, "bias": bias}
    arguments = spec.check("pooled_logits", given)
    _is_narrow("pooled_logits", "states", states.shape[1])
    return cast(F32, _dispatch("pooled_logits", arguments, threads=threads))


def matmul(rows: F32, matrix: F32) -> F32:
    """``rows`` float32 (N, K) times ``matrix`` float32 (K, M), float32 (N, M), by the BLAS of where they live.

    No kernel of ours, and the last bits of a row may hang on the rows beside it: NumPy's BLAS chooses the order of its
    sums by the shape. On CUDA the shape is always the same (`aimds.kernels.cuda.matmul`).

    Raises:
        KernelError: other dtypes or axes, or a K that differs.
    """
    for name, array in (("rows", rows), ("matrix", matrix)):
        if array.dtype != np.float32 or len(array.shape) != 2:
            raise KernelError("matmul", name, f"{array.dtype} of {len(array.shape)} axes, expected float32 of 2")
    if rows.shape[1] != matrix.shape[0]:
        raise KernelError("matmul", "matrix", f"has {matrix.shape[0]} rows, but rows have {rows.shape[1]} values")
    if registry.choose("matmul", (rows, matrix)) == "cpu":
        product: F32 = np.matmul(rows, matrix)
        return product
    from aimds.kernels.cuda import matmul, module

    return cast(F32, matmul.run(module.device(), rows, matrix))


def _covers(name: str, offsets: Any, size: int) -> None:
    if int(offsets[0]) or int(offsets[-1]) != size:
        raise KernelError(name, "offsets", f"runs from {offsets[0]} to {offsets[-1]}, not over all {size} tokens")


def _is_narrow(name: str, argument: str, width: int) -> None:
    if width > MAX_WIDTH:
        raise KernelError(name, argument, f"{width} values a token, expected at most {MAX_WIDTH}")


def _pairs(name: str, q_values: Any, q_offsets: I64, p_values: Any, p_offsets: I64, threads: int) -> I32:
    pair = {"q_values": q_values, "q_offsets": q_offsets, "p_values": p_values, "p_offsets": p_offsets}
    arguments = spec.check(name, pair)
    if q_values.dtype != p_values.dtype:
        raise KernelError(name, "p_values", f"dtype {p_values.dtype}, but q_values has {q_values.dtype}")
    return cast(I32, _dispatch(name, arguments, threads=threads))


def _run(name: str, threads: int, **arguments: Any) -> Any:
    return _dispatch(name, spec.check(name, arguments), threads=threads)


def unchecked(name: str, *arguments: Any, threads: int = 1) -> Any:
    """What kernel ``name`` makes of ``arguments``, all that its spec names and in that order, without a look at them.

    For what other kernels have just given for the same rows, and for tables that were looked at when they were made:
    for a single prompt a second look takes longer than the kernel.
    """
    return registry.find(name, registry.choose(name, arguments))(*arguments, threads=threads)


def _dispatch(name: str, arguments: list[Any], **options: int) -> Any:
    for option, value in options.items():
        if type(value) is not int or not 1 <= value <= 1 << 16:
            spec.integer(name, option, value, 1, 1 << 16)
    return registry.find(name, registry.choose(name, arguments))(*arguments, **options)
