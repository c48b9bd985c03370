"""One row per kernel: its arguments, its tolerance, its cost, its naive twin. Every backend is held to these rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aimds.errors import KernelError
from aimds.kernels import ragged


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument: ``shape`` holds symbols ("B", "B+1", "N"), () is a plain int in ``low`` .. ``high``; ``dtypes`` are
    those accepted.

    ``into`` names the argument whose first axis it points into: offsets ("B+1") may point past its end, ids not.
    """

    name: str
    dtypes: tuple[str, ...]
    shape: tuple[str, ...]
    unit: str
    direction: str = "in"
    into: str = ""
    low: int = 0
    high: int = 1 << 31
    accepted: tuple[np.dtype[Any], ...] = field(init=False, repr=False, compare=False)
    """The array types of ``dtypes``."""
    axes: tuple[tuple[str, int], ...] = field(init=False, repr=False, compare=False)
    """Symbol of each axis, and by how much the axis is longer."""

    def __post_init__(self) -> None:
        axes = tuple((symbol.removesuffix("+1"), int(symbol.endswith("+1"))) for symbol in self.shape)
        object.__setattr__(self, "axes", axes)
        object.__setattr__(self, "accepted", tuple(map(np.dtype, self.dtypes)) if self.shape else ())


@dataclass(frozen=True, slots=True)
class Spec:
    """What a kernel promises. ``tolerance`` is relative, 0 means bit-identical; axes in ``filled`` may not be empty.

    ``stem`` is its module in each backend, ``naive`` its twin in tests/naive.py.
    """

    name: str
    stem: str
    arguments: tuple[Argument, ...]
    tolerance: float
    complexity: str
    source: str
    filled: tuple[str, ...] = ()
    inputs: tuple[Argument, ...] = field(init=False, repr=False, compare=False)
    pointing: tuple[tuple[int, Argument], ...] = field(init=False, repr=False, compare=False)
    """Those of ``inputs`` that point into another, with their places."""

    def __post_init__(self) -> None:
        inputs = tuple(a for a in self.arguments if a.direction == "in")
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "pointing", tuple((place, a) for place, a in enumerate(inputs) if a.into))

    @property
    def naive(self) -> str:
        return self.name


def _in(name: str, dtypes: str, shape: str, unit: str, into: str = "") -> Argument:
    return Argument(name, tuple(dtypes.split("|")), tuple(shape.split()), unit, into=into)


def _int(name: str, unit: str, low: int, high: int) -> Argument:
    return Argument(name, ("int",), (), unit, low=low, high=high)


def _out(name: str, dtype: str, shape: str, unit: str) -> Argument:
    return Argument(name, (dtype,), tuple(shape.split()), unit, "out")


_CSR = (
    _in("indptr", "int64", "B+1", "position in indices", "indices"),
    _in("indices", "int32", "Z", "feature id", "idf"),
    _in("counts", "float32", "Z", "occurrences"),
)
_PAIR = (
    _in("q_values", "uint8|int32", "N", "byte or token id"),
    _in("q_offsets", "int64", "B+1", "position in q_values", "q_values"),
    _in("p_values", "uint8|int32", "M", "byte or token id"),
    _in("p_offsets", "int64", "P+1", "position in p_values", "p_values"),
)

_ROWS = (
    Spec(
        "ngram_hash",
        "ngram_hash",
        (
            _in("values", "uint8", "N", "folded UTF-8 byte"),
            _in("offsets", "int64", "B+1", "byte", "values"),
            _int("bits", "log2 of the number of features", 12, 24),
            _out("indptr", "int64", "B+1", "position in indices"),
            _out("indices", "int32", "Z", "feature id, ascending in a row"),
            _out("counts", "float32", "Z", "occurrences"),
        ),
        0.0,
        "O(N)",
        "Weinberger et al. 2009, doi:10.1145/1553374.1553516 (hashing trick, unsigned)",
    ),
    Spec(
        "linear",
        "linear",
        (
            *_CSR,
            _in("weights", "int8|float32", "F H", "weight / scale"),
            _in("scale", "float32", "H", "weight"),
            _in("idf", "float32", "F", "inverse document frequency"),
            _in("bias", "float32", "H", "logit"),
            _out("logits", "float32", "B H", "logit"),
        ),
        1e-5,
        "O(Z H)",
        "Salton & Buckley 1988, doi:10.1016/0306-4573(88)90021-0 (sublinear tf, idf, cosine normalisation)",
    ),
    Spec(
        "sketch",
        "sketch",
        (
            *_CSR,
            _in("idf", "float32", "F", "inverse document frequency"),
            _int("dim", "columns", 1, 1 << 16),
            _out("sketches", "float32", "B D", "unit vector"),
        ),
        1e-5,
        "O(Z + B D)",
        "Charikar, Chen & Farach-Colton 2004, doi:10.1016/S0304-3975(03)00400-6 (count sketch)",
    ),
    Spec(
        "nearest",
        "nearest",
        (
            *_CSR,
            _in("idf", "float32", "F", "inverse document frequency"),
            _in("keys", "int32", "S", "feature id of the bank, -1 for an empty slot"),
            _in("post_offsets", "int64", "S+1", "position in post_rows", "post_rows"),
            _in("post_rows", "int32", "E", "row of the bank", "owner"),
            _in("post_values", "float32", "E", "part of a unit vector"),
            _in("owner", "int32", "N", "group of the bank's row, ascending"),
            _int("k", "groups", 1, 1 << 16),
            _out("score", "float32", "B", "mean cosine of the k nearest groups"),
            _out("nearest", "int32", "B", "group, -1 for none"),
        ),
        1e-5,
        "O(Z + postings met + B N)",
        "Zobel & Moffat 2006, doi:10.1145/1132956.1132959, section 3 (inverted index, term at a time)",
    ),
    Spec(
        "topk",
        "topk",
        (
            _in("queries", "float32", "B D", "finite"),
            _in("bank", "float32", "N D", "finite"),
            _int("k", "results a query", 1, 1 << 30),
            _out("scores", "float32", "B k", "inner product, descending"),
            _out("ids", "int32", "B k", "row of bank"),
        ),
        0.0,
        "O(B N D)",
        "Higham 2002, doi:10.1137/1.9780898718027, section 3.1 (error bound of an inner product)",
    ),
    Spec(
        "tokenize",
        "tokenize",
        (
            _in("values", "uint8", "N", "folded UTF-8 byte"),
            _in("offsets", "int64", "B+1", "byte", "values"),
            _in("keys", "uint64", "S", "word hash"),
            _in("ids", "int32", "S", "token id, -1 for an empty slot"),
            _int("max_tokens", "tokens a row, 0 for all", 0, 1 << 62),
            _out("tokens", "int32", "T", "token id"),
            _out("token_offsets", "int64", "B+1", "token"),
            _out("starts", "int32", "T", "byte in the row"),
            _out("ends", "int32", "T", "byte in the row"),
        ),
        0.0,
        "O(N)",
        "Fowler, Noll & Vo: FNV-1a, draft-eastlake-fnv (word hash); linear probing",
    ),
    Spec(
        "word_spans",
        "word_spans",
        (
            _in("values", "uint8", "N", "folded UTF-8 byte"),
            _in("offsets", "int64", "B+1", "byte", "values"),
            _out("word_offsets", "int64", "B+1", "word"),
            _out("starts", "int32", "T", "byte in the row"),
            _out("ends", "int32", "T", "byte in the row"),
            _out("kinds", "uint8", "T", "1 of a script without spaces, 2 only blanks before it, or both"),
        ),
        0.0,
        "O(N)",
        "The Unicode Standard 16.0, chapter 3, table 3-6 (bytes of a character)",
    ),
    Spec(
        "concepts",
        "concepts",
        (
            _in("values", "uint8", "N", "folded UTF-8 byte"),
            _in("offsets", "int64", "B+1", "byte", "values"),
            _in("word_offsets", "int64", "B+1", "word", "starts"),
            _in("starts", "int32", "T", "byte in the row"),
            _in("ends", "int32", "T", "byte in the row"),
            _in("kinds", "uint8", "T", "as of word_spans"),
            _in("keys", "uint64", "S", "hash of a stem"),
            _in("heads", "int32", "S", "group, -1 for an empty slot"),
            _in("sieve", "uint64", "V", "what a beginning may be, two bits each"),
            _in("spoken", "uint64", "G 4", "languages, a bit each"),
            _in("group_from", "int32", "G+1", "entry"),
            _in("facts", "int32", "E", "language, concept and flags"),
            _in("part_from", "int32", "E+1", "part"),
            _in("parts", "int32", "P 3", "first and last byte in pool, and how it meets a word"),
            _in("pool", "uint8", "M", "folded UTF-8 byte"),
            _in("clitics", "int32", "Q 3", "first and last byte in pool, and a language"),
            _int("languages", "languages", 1, 64),
            _int("main", "language that wins a tie", 0, 63),
            _int("least", "percent of the words that must be known", 0, 100),
            _int("bare", "concept that only tells the language", 0, 255),
            _out("lang", "int16", "B", "language, -1 for none"),
            _out("concept", "uint8", "K", "concept"),
            _out("start", "int32", "K", "byte in the row"),
            _out("end", "int32", "K", "byte in the row"),
            _out("concept_offsets", "int64", "B+1", "concept"),
        ),
        0.0,
        "O(N)",
        "Fowler, Noll & Vo: FNV-1a, draft-eastlake-fnv (hash of every beginning); linear probing",
    ),
    Spec(
        "concept_pairs",
        "concept_pairs",
        (
            _in("concept", "uint8", "K", "concept"),
            _in("concept_offsets", "int64", "B+1", "concept", "concept"),
            _int("reach", "places that two concepts of a pair are apart at most", 0, 64),
            _out("indptr", "int64", "B+1", "position in indices"),
            _out("indices", "int32", "Z", "feature id, by where it first occurs"),
            _out("counts", "float32", "Z", "occurrences"),
        ),
        0.0,
        "O(K reach)",
        "Knuth, The Art of Computer Programming 3, 1998, section 6.4 (linear probing)",
    ),
    Spec(
        "subsequence_dtw",
        "subsequence_dtw",
        (
            _in("tokens", "int32", "N", "token id", "cost"),
            _in("offsets", "int64", "B+1", "token", "tokens"),
            _in("cost", "uint8", "V L P", "cost of a token at a place of a pattern"),
            _out("distance", "int32", "B P", "cost"),
            _out("end", "int32", "B P", "token in the row, -1 for none"),
        ),
        0.0,
        "O(N L P)",
        "Müller 2007, doi:10.1007/978-3-540-74048-3, section 4.4 (subsequence DTW)",
        ("L",),
    ),
    Spec(
        "subsequence_dtw_pairs",
        "subsequence_dtw",
        (
            _in("tokens", "int32", "N", "token id", "cost"),
            _in("offsets", "int64", "B+1", "token", "tokens"),
            _in("cost", "uint8", "V P L", "cost of a token at a place of a pattern"),
            _in("lengths", "int32", "P", "columns of a pattern, its last ones in cost"),
            _in("rows", "int32", "C", "row"),
            _in("patterns", "int32", "C", "pattern", "lengths"),
            _out("distance", "int32", "C", "cost"),
            _out("start", "int32", "C", "token in the row, -1 for none"),
            _out("end", "int32", "C", "token in the row, -1 for none"),
        ),
        0.0,
        "O(C N/B L)",
        "Müller 2007, doi:10.1007/978-3-540-74048-3, section 4.4 (subsequence DTW)",
        ("L",),
    ),
    Spec(
        "dtw",
        "dtw",
        (
            _in("values", "float32", "N", "any, finite"),
            _in("offsets", "int64", "B+1", "position in values", "values"),
            _in("patterns", "float32", "P M", "as values"),
            _out("distance", "float32", "B P", "unit of values, squared"),
        ),
        1e-5,
        "O(N P M)",
        "Sakoe & Chiba 1978, doi:10.1109/TASSP.1978.1163055 (symmetric steps of weight 1)",
        ("M",),
    ),
    Spec(
        "lcs",
        "lcs",
        (*_PAIR, _out("length", "int32", "B P", "bytes or tokens in common")),
        0.0,
        "O(N M / 64)",
        "Hyyrö, Bit-parallel LCS-length computation revisited, AWOCA 2004",
    ),
    Spec(
        "levenshtein",
        "levenshtein",
        (*_PAIR, _out("distance", "int32", "B P", "edits")),
        0.0,
        "O(N M / 64)",
        "Myers 1999, doi:10.1145/316542.316550; Hyyrö 2003, Nordic Journal of Computing 10(1)",
    ),
    Spec(
        "session_series",
        "session_series",
        (
            _in("values", "float64", "N", "any, finite"),
            _in("offsets", "int64", "B+1", "position in values", "values"),
            _out("features", "float64", "B K", "unit of values, or none"),
        ),
        1e-9,
        "O(N)",
        "Page 1954, doi:10.1093/biomet/41.1-2.100; Shao & Zhang 2010, doi:10.1198/jasa.2010.tm10103",
    ),
    Spec(
        "attractor",
        "attractor",
        (
            _in("values", "float64", "N", "any, finite"),
            _in("offsets", "int64", "B+1", "position in values", "values"),
            _int("dim", "values of a point of the embedding", 1, 64),
            _int("lag", "places between these", 1, 1 << 16),
            _int("separation", "places that two points must be more than that apart", 0, 1 << 16),
            _int("horizon", "steps that neighbours are followed", 2, 1 << 16),
            _int("skip", "first steps of the horizon that the slope leaves out", 0, 1 << 16),
            _int("radius", "percent of the standard deviation", 1, 1000),
            _int("angles", "of the 0-1 test, 0 for none", 0, 64),
            _int("parts", "sum of what is wanted: 1 neighbours, 2 plot, 4 entropies, 8 lags", 0, 15),
            _out("features", "float64", "B K", "none, or places"),
        ),
        1e-9,
        "O(N²/B (dim + angles/10))",
        "Rosenstein, Collins & De Luca 1993, doi:10.1016/0167-2789(93)90009-P; Marwan et al. 2007, "
        "doi:10.1016/j.physrep.2006.11.001; Gottwald & Melbourne 2009, doi:10.1137/080718851; Bandt & Pompe 2002, "
        "doi:10.1103/PhysRevLett.88.174102; Richman & Moorman 2000, doi:10.1152/ajpheart.2000.278.6.H2039",
    ),
    Spec(
        "ltl_batch",
        "ltl_batch",
        (
            _in("values", "uint64", "N", "events of a step, a bit each"),
            _in("offsets", "int64", "B+1", "position in values", "values"),
            _in("shifts", "int64", "A", "bit of an event in values"),
            _in("past", "int64", "O 4", "instruction: code, slot, left, right"),
            _in("future", "int64", "U 4", "instruction: code, slot, left, right"),
            _in("results", "int64", "R", "slot"),
            _int("slots", "slots", 1, 1 << 16),
            _out("holds", "uint64", "R W", "a bit a row, 64 to a word"),
        ),
        0.0,
        "O(N (A + O + U) / 64)",
        "De Giacomo & Vardi, Linear temporal logic on finite traces, IJCAI 2013; Havelund & Roşu 2002, "
        "doi:10.1007/3-540-46002-0_24 (past)",
    ),
    Spec(
        "ltl_step",
        "ltl_step",
        (
            _in("table", "uint16", "T", "next state by automaton, state and letter"),
            _in("resets", "uint8", "T", "clocks to set, a bit each"),
            _in("shape", "int64", "P K", "place in table, letters, events, first clock, clocks, place in verdicts"),
            _in("letters", "uint16", "P M Y", "what each byte of a mask adds to the letter"),
            _in("limits", "int64", "C", "microseconds"),
            _in("verdicts", "uint8", "Q", "verdict by automaton and state"),
            _in("sessions", "int64", "N", "row of records", "records"),
            _in("values", "uint64", "N", "events of a step, a bit each"),
            _in("times", "int64", "N", "microseconds"),
            _in("records", "int64", "S D", "latest time, clocks, then 16 bits a state"),
            _out("after", "int64", "S D", "records"),
            _out("verdict", "uint8", "N P", "verdict after each step"),
        ),
        0.0,
        "O(N P + S D)",
        "Bauer, Leucker & Schallhart 2011, doi:10.1145/2000799.2000800 (monitors with four verdicts)",
    ),
    Spec(
        "embed",
        "layer_norm",
        (
            _in("tokens", "int32", "N", "word piece", "word"),
            _in("offsets", "int64", "B+1", "position in tokens", "tokens"),
            _in("kinds", "int32", "B", "row of channel", "channel"),
            _in("word", "float32", "V D", "embedding of a word piece"),
            _in("position", "float32", "L D", "embedding of a place in the row"),
            _in("channel", "float32", "C D", "embedding of a kind of row"),
            _in("gain", "float32", "D", "of the normalisation"),
            _in("bias", "float32", "D", "of the normalisation"),
            _out("states", "float32", "N D", "hidden state"),
        ),
        1e-5,
        "O(N D)",
        "Devlin et al. 2019, doi:10.18653/v1/N19-1423, figure 2; Ba, Kiros & Hinton 2016, arXiv 1607.06450",
        ("D",),
    ),
    Spec(
        "add_norm",
        "layer_norm",
        (
            _in("states", "float32", "N D", "hidden state"),
            _in("product", "float32", "N D", "what is added, without its bias"),
            _in("shift", "float32", "D", "bias of product"),
            _in("gain", "float32", "D", "of the normalisation"),
            _in("bias", "float32", "D", "of the normalisation"),
            _out("sums", "float32", "N D", "hidden state"),
        ),
        1e-5,
        "O(N D)",
        "Vaswani et al. 2017, arXiv 1706.03762, section 3.1; Ba, Kiros & Hinton 2016, arXiv 1607.06450",
        ("D",),
    ),
    Spec(
        "attention",
        "attention",
        (
            _in("qkv", "float32", "N J", "query, key and value of each head, without their bias"),
            _in("bias", "float32", "J", "of qkv"),
            _in("offsets", "int64", "B+1", "position in qkv", "qkv"),
            _int("heads", "heads", 1, 1 << 10),
            _out("mixed", "float32", "N D", "mean of the values, weighted"),
        ),
        1e-5,
        "O(N²/B D)",
        "Vaswani et al. 2017, arXiv 1706.03762, section 3.2; Milakov & Gimelshein 2018, arXiv 1805.02867, algorithm 3",
        ("J",),
    ),
    Spec(
        "bias_gelu",
        "bias_gelu",
        (
            _in("product", "float32", "N M", "any"),
            _in("bias", "float32", "M", "of product"),
            _out("active", "float32", "N M", "any"),
        ),
        1e-5,
        "O(N M)",
        "Hendrycks & Gimpel 2016, arXiv 1606.08415 (exact, by the error function)",
    ),
    Spec(
        "pooled_logits",
        "pooled_logits",
        (
            _in("states", "float32", "N D", "hidden state"),
            _in("offsets", "int64", "B+1", "position in states", "states"),
            _in("weights", "float32", "D H", "weight"),
            _in("bias", "float32", "H", "logit"),
            _out("logits", "float32", "B H", "logit"),
        ),
        1e-5,
        "O(N D + B D H)",
        "Reimers & Gurevych 2019, doi:10.18653/v1/D19-1410, section 3 (mean pooling)",
        ("D",),
    ),
)

SPECS: Mapping[str, Spec] = {row.name: row for row in _ROWS}
_IN_ORDER = 0x101
"""Flags of NumPy's C interface: C-contiguous and aligned."""


def check(kernel: str, arguments: Mapping[str, Any]) -> list[Any]:
    """The input arguments of ``kernel`` in spec order, arrays made C-contiguous and aligned (a copy only where needed).

    Arrays on a GPU are looked at there: what comes back is a few numbers, whatever their size.

    Raises:
        KernelError: an argument is no array, its dtype, its axes or its size do not fit the row, or it points outside
            the argument it points into (compiled code reads without bounds checks).
    """
    row = SPECS[kernel]
    sizes: dict[str, int] = {}
    ready = []
    for argument in row.inputs:
        value = arguments[argument.name]
        axes = argument.axes
        if axes:
            # One look at what nearly always comes: kernels of single prompts take less time than a slow check.
            plain = type(value) is np.ndarray and value.dtype in argument.accepted and value.ndim == len(axes)
            if not (plain and value.flags.num & _IN_ORDER == _IN_ORDER):
                _check_type(row, argument, value)
                value = _ready(value)
            shape = value.shape
            for axis, (name, more) in enumerate(axes):
                known = shape[axis] - more
                if (known <= 0 and (known or name in row.filled)) or sizes.setdefault(name, known) != known:
                    raise _misfit(row, argument, shape, sizes)
        elif type(value) is not int or not argument.low <= value <= argument.high:
            integer(kernel, argument.name, value, argument.low, argument.high)
        ready.append(value)
    for place, argument in row.pointing:
        size = len(arguments[argument.into])
        if argument.axes[0][1]:
            ragged.check(kernel, argument.name, ready[place], size)
        elif not ragged.lies(ready[place], 0, size - 1):
            problem = f"holds ids outside 0 .. {size - 1}, the rows of {argument.into}"
            raise KernelError(kernel, argument.name, problem)
    return ready


def _ready(value: Any) -> Any:
    flags = value.flags
    if type(value) is not np.ndarray and hasattr(value, "__cuda_array_interface__"):
        return value if flags.c_contiguous else value.copy()
    if flags.c_contiguous and flags.aligned:
        return value
    return np.require(value, requirements=("C", "A"))


def integer(kernel: str, name: str, value: Any, low: int, high: int) -> None:
    """Refuse a ``value`` that is no int in ``low`` .. ``high``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise KernelError(kernel, name, f"expected an int, got {value!r}")
    if not low <= value <= high:
        raise KernelError(kernel, name, f"{value} is outside {low} .. {high}")


def within(kernel: str, name: str, values: Any, low: int, high: int) -> None:
    """Refuse an array with a value outside ``low`` .. ``high``."""
    if not ragged.lies(values, low, high):
        raise KernelError(kernel, name, f"holds values outside {low} .. {high}")


def _check_type(row: Spec, argument: Argument, value: Any) -> None:
    dtype = getattr(value, "dtype", None)
    if dtype is None:
        raise KernelError(row.name, argument.name, f"expected an array, got {type(value).__name__}")
    if dtype is not argument.accepted[0] and dtype not in argument.accepted:
        raise KernelError(row.name, argument.name, f"dtype {dtype}, expected {' or '.join(argument.dtypes)}")
    if len(value.shape) != len(argument.axes):
        raise KernelError(row.name, argument.name, f"{len(value.shape)} axes, expected ({', '.join(argument.shape)})")


def _misfit(row: Spec, argument: Argument, shape: tuple[int, ...], sizes: Mapping[str, int]) -> KernelError:
    # Which axis does not fit the ``sizes`` of the arguments before.
    known = dict(sizes)
    for axis, (name, more) in enumerate(argument.axes):
        size = shape[axis] - more
        if size <= 0 and (size or name in row.filled):
            return KernelError(row.name, argument.name, f"axis {axis} is empty")
        if known.setdefault(name, size) != size:
            break
    problem = f"axis {axis} has {size}, but {name} is {known[name]} in another argument"
    return KernelError(row.name, argument.name, problem)
