"""The oracle of the kernels: plain loops over Python numbers (float64), one function per row of `aimds.kernels.spec`.

It shares no line with an implementation. `agree` is the one comparison that every backend must pass, and every mutant
made by `mutant` must fail.
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from aimds.kernels.spec import SPECS

WORD_BYTES = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789") | frozenset(range(128, 256))
WRAP = 1 << 64
FAR = math.inf


def agree(kernel: str, got: Any, expected: Any) -> None:
    """Assert that ``got`` has the dtypes and shapes of ``expected`` and its values within the tolerance of the spec."""
    outputs = [argument for argument in SPECS[kernel].arguments if argument.direction == "out"]
    got, expected = (value if isinstance(value, tuple) else (value,) for value in (got, expected))
    assert len(got) == len(expected) == len(outputs)
    for argument, ours, theirs in zip(outputs, got, expected, strict=True):
        if argument.dtypes == ("int",):
            assert ours == theirs, argument.name
            continue
        assert str(ours.dtype) == argument.dtypes[0], argument.name
        oracle = np.asarray(theirs, np.float64 if ours.dtype.kind == "f" else ours.dtype)
        assert ours.shape == oracle.shape, argument.name
        if SPECS[kernel].tolerance == 0.0:
            assert np.array_equal(ours, oracle), argument.name
        else:
            tolerance = SPECS[kernel].tolerance
            assert np.allclose(ours, oracle, rtol=tolerance, atol=tolerance, equal_nan=True), argument.name


def mutant(kernel: str, right: str, wrong: str) -> Callable[..., Any]:
    """The oracle of ``kernel`` with one piece of its text made ``wrong``."""
    source = inspect.getsource(globals()[kernel])
    assert source.count(right) == 1, f"{right!r} stands {source.count(right)} times in {kernel}"
    space = dict(globals())
    exec(source.replace(right, wrong), space)
    return space[kernel]  # type: ignore[no-any-return]


def ragged(rows: Sequence[Sequence[Any] | bytes], dtype: Any) -> tuple[Any, Any]:
    """Values and int64 offsets of a list of rows."""
    offsets = [0]
    for row in rows:
        offsets.append(offsets[-1] + len(row))
    flat = [value for row in rows for value in row]
    return np.array(flat, dtype), np.array(offsets, np.int64)


def rows_of(values: Any, offsets: Any) -> list[list[Any]]:
    listed = values.tolist()
    return [listed[a:b] for a, b in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)]


def pieces_of(row: list[int]) -> list[tuple[int, bytes]]:
    """Runs of word bytes, in lower case, each with the place where it begins."""
    found: list[tuple[int, bytes]] = []
    for place, raw in enumerate(row):
        byte = raw + 32 if 65 <= raw <= 90 else raw
        if byte not in WORD_BYTES:
            continue
        if found and found[-1][0] + len(found[-1][1]) == place:
            found[-1] = (found[-1][0], found[-1][1] + bytes([byte]))
        else:
            found.append((place, bytes([byte])))
    return found


def words_of(row: list[int]) -> list[tuple[int, bytes]]:
    """Words with the place where each begins: pieces, cut around code points of three bytes from U+3000 on."""
    found = []
    for begin, piece in pieces_of(row):
        rest, at = piece, begin
        while rest:
            own = [
                k
                for k in range(len(rest) - 2)
                if rest[k] in range(0xE3, 0xF0) and all(b >> 6 == 2 for b in rest[k + 1 : k + 3])
            ]
            size = 3 if own[:1] == [0] else own[0] if own else len(rest)
            found.append((at, rest[:size]))
            rest, at = rest[size:], at + size
    return found


def fnv(word: bytes) -> int:
    value = 0xCBF29CE484222325
    for byte in word:
        value = (value ^ byte) * 0x100000001B3 % WRAP
    return value


def word_hash(word: bytes) -> int:
    value = fnv(word)
    value = (value ^ (value >> 32)) * 0xFF51AFD7ED558CCD % WRAP
    return value ^ (value >> 32)


def ngram_hash(values: Any, offsets: Any, bits: int) -> Any:
    indptr, indices, counts = [0], [], []
    factors = {3: 0x9E3779B97F4A7C15, 4: 0xC2B2AE3D27D4EB4F, 5: 0x165667B19E3779F9}
    for row in rows_of(values, offsets):
        seen: dict[int, int] = {}
        text = b"".join(b" " + piece for _, piece in pieces_of(row)) + b" "
        hashes = [fnv(word) for _, word in words_of(row)]
        features = [
            int.from_bytes(text[at : at + size], "big") * factor
            for size, factor in factors.items()
            for at in range(len(text) - size + 1)
        ]
        features += [value * 0xD6E8FEB86659FD93 for value in hashes]
        features += [(b + 3 * a) * 0xA0761D6478BD642F for a, b in itertools.pairwise(hashes)]
        for feature in features:
            bucket = feature % WRAP // 2 ** (64 - bits)
            seen[bucket] = seen.get(bucket, 0) + 1
        for bucket in sorted(seen):
            indices.append(bucket)
            counts.append(seen[bucket])
        indptr.append(len(indices))
    return np.array(indptr, np.int64), np.array(indices, np.int32), np.array(counts, np.float32)


def linear(indptr: Any, indices: Any, counts: Any, weights: Any, scale: Any, idf: Any, bias: Any) -> Any:
    logits = []
    for ids, times in zip(rows_of(indices, indptr), rows_of(counts, indptr), strict=True):
        vector = {i: (1.0 + math.log(n)) * float(idf[i]) for i, n in zip(ids, times, strict=True)}
        norm = math.sqrt(sum(x * x for x in vector.values()))
        heads = range(weights.shape[1])
        dots = [sum(x * float(weights[i, h]) for i, x in vector.items()) for h in heads]
        logits.append([float(scale[h]) * dots[h] / (norm or 1.0) + float(bias[h]) for h in heads])
    return np.array(logits).reshape(len(indptr) - 1, weights.shape[1])


def sketch(indptr: Any, indices: Any, counts: Any, idf: Any, dim: int) -> Any:
    factor = 0x9E3779B97F4A7C15
    sketches = np.zeros((len(indptr) - 1, dim))
    for r, (ids, times) in enumerate(zip(rows_of(indices, indptr), rows_of(counts, indptr), strict=True)):
        for i, n in zip(ids, times, strict=True):
            mixed = (i + 1) * factor % WRAP
            mixed = (mixed ^ (mixed >> 32)) * factor % WRAP
            sign = 1.0 if mixed & (1 << 20) else -1.0
            sketches[r, (mixed >> 32) * dim >> 32] += sign * (1.0 + math.log(n)) * float(idf[i])
        norm = math.sqrt(sum(x * x for x in sketches[r].tolist()))
        sketches[r] /= norm or 1.0
    return sketches


def nearest(
    indptr: Any,
    indices: Any,
    counts: Any,
    idf: Any,
    keys: Any,
    post_offsets: Any,
    post_rows: Any,
    post_values: Any,
    owner: Any,
    k: int,
) -> Any:
    bank: list[dict[int, float]] = [{} for _ in owner]
    for term, rows, parts in zip(
        keys, rows_of(post_rows, post_offsets), rows_of(post_values, post_offsets), strict=True
    ):
        for n, part in zip(rows, parts, strict=True):
            bank[n][int(term)] = part
    scores, groups = [], []
    for ids, times in zip(rows_of(indices, indptr), rows_of(counts, indptr), strict=True):
        vector = {i: (1.0 + math.log(n)) * float(idf[i]) for i, n in zip(ids, times, strict=True)}
        norm = math.sqrt(sum(x * x for x in vector.values()))
        near: dict[int, float] = {}
        for group, known in zip(owner.tolist(), bank, strict=True):
            dot = sum(x * known.get(i, 0.0) for i, x in vector.items())
            near[group] = max(near.get(group, -FAR), dot)
        ranked = sorted(near, key=lambda group: (-near[group], group))[:k]
        shared = norm > 0.0 and any(i in known for known in bank for i in vector)
        scores.append(sum(near[group] for group in ranked) / len(ranked) / norm if shared else 0.0)
        groups.append(ranked[0] if shared else -1)
    return np.array(scores, np.float32), np.array(groups, np.int32)


def topk(queries: Any, bank: Any, k: int) -> Any:
    scores, ids = [], []
    for query in queries.tolist():
        found = []
        for n, row in enumerate(bank.tolist()):
            total = 0.0
            for a, b in zip(query, row, strict=True):
                total += a * b
            found.append((-float(np.float32(total)), n))
        best = sorted(found)[:k]
        scores.append([-score for score, _ in best] + [-FAR] * (k - len(best)))
        ids.append([n for _, n in best] + [-1] * (k - len(best)))
    shape = (len(queries), k)
    return np.array(scores, np.float32).reshape(shape), np.array(ids, np.int32).reshape(shape)


def tokenize(values: Any, offsets: Any, vocabulary: list[bytes], max_tokens: int) -> Any:
    tokens, token_offsets, starts, ends = [], [0], [], []
    for row in rows_of(values, offsets):
        words = words_of(row)
        for begin, word in words[: max_tokens or len(words)]:
            tokens.append(vocabulary.index(word) if word in vocabulary else len(vocabulary))
            starts.append(begin)
            ends.append(begin + len(word))
        token_offsets.append(len(tokens))
    parts = ((tokens, np.int32), (token_offsets, np.int64), (starts, np.int32), (ends, np.int32))
    return tuple(np.array(part, dtype) for part, dtype in parts)


def character(row: list[int], i: int) -> tuple[int, int]:
    """Kind (0 of a word, 1 of a script without spaces, 2 between words) and bytes of the character at ``i``."""
    raw = bytes(row[i : i + 3]).ljust(3, b"\0")
    size = 1 if raw[0] < 0x80 else 2 if raw[0] < 0xE0 else 3 if raw[0] < 0xF0 else 4
    if size == 1:
        return (0 if chr(raw[0]).isalnum() else 2), 1
    if size == 4:
        return (1 if raw[0] == 0xF0 and raw[1] >= 0xA0 else 2), 4
    if raw[:2] in (b"\xe0\xb8", b"\xe0\xb9") or raw == b"\xe3\x80\x85":
        return 1, 3
    if raw[0] == 0xE1 or (0xE3 <= raw[0] <= 0xE9 and raw[:2] != b"\xe3\x80"):
        return 1, 3
    between = raw[0] in (0xC2, 0xE2, 0xE3) or raw[:2] in (b"\xd8\x8c", b"\xd8\x9b", b"\xd8\x9f")
    between = between or raw in (b"\xe0\xa5\xa4", b"\xe0\xa5\xa5") or (raw[0] == 0xEF and raw[1] >= 0xB8)
    return (2 if between else 0), size


def word_spans(values: Any, offsets: Any) -> Any:
    word_offsets, starts, ends, kinds = [0], [], [], []
    for row in rows_of(values, offsets):
        i, open_kind, near = 0, 2, True
        while i < len(row):
            kind, size = character(row, i)
            if kind != open_kind and open_kind != 2:
                ends.append(i)
                near = True
            if kind != open_kind and kind != 2:
                starts.append(i)
                kinds.append(kind + 2 * near)
            if kind == 2:
                near = near and row[i] in b" '-"
            open_kind = kind
            i += size
        if open_kind != 2:
            ends.append(len(row))
        word_offsets.append(len(starts))
    return np.array(word_offsets), np.array(starts), np.array(ends), np.array(kinds, np.uint8)


def entries_of(facts: Any, part_from: Any, parts: Any, pool: Any) -> list[tuple[int, int, list[tuple[bytes, int]]]]:
    """Language, concept and parts of each entry, the shorter stem first."""
    found = []
    for fact, first, last in zip(facts.tolist(), part_from[:-1].tolist(), part_from[1:].tolist(), strict=True):
        listed = [(bytes(pool[low:high].tolist()), how) for low, high, how in parts[first:last].tolist()]
        found.append((fact & 255, fact >> 8 & 255, listed))
    return sorted(found, key=lambda entry: len(entry[2][0][0]))


def entry_end(row: bytes, words: list[tuple[int, int, int]], k: int, begin: int, parts: list[tuple[bytes, int]]) -> int:
    """Where an entry ends whose first part begins at ``begin`` in word ``k``, 0 where it does not."""
    _, end, kind = words[k]
    (stem, how), *rest = parts
    dense, at = kind & 1, begin + len(stem)
    if at > end or len(stem) > 48 or row[begin:at] != stem or (at < end and row[at] & 0xC0 == 0x80):
        return 0
    if not dense and how == 0 and at < end:
        return 0
    if not rest:
        return at
    left = [(at, end)] if dense and at < end else []
    for start, stop, flags in words[k + 1 :]:
        if flags & 2 == 0:
            break
        left.append((start, stop))
    to = 0
    for part, how in rest:
        for tried in range(6 if how >= 2 else 1):
            if not left:
                return 0
            start, stop = left.pop(0)
            whole = row[start:stop] == part
            if whole or (how % 2 == 1 and row[start:stop].startswith(part)):
                to = stop
                break
            if tried == (5 if how >= 2 else 0):
                return 0
    first = at if dense else end
    return first + 1 if any(how >= 2 for _, how in rest) else to


def concepts(values, offsets, word_offsets, starts, ends, kinds, *table):
    _, _, _, _, _, facts, part_from, parts, pool, clitics, languages, main, least, bare = table
    entries = entries_of(facts, part_from, parts, pool)
    fronts = [(bytes(pool[low:high].tolist()), lang) for low, high, lang in clitics.tolist()]
    out_lang, out, out_offsets = [], [], [0]
    for r, listed in enumerate(rows_of(values, offsets)):
        row, here = bytes(listed), range(int(word_offsets[r]), int(word_offsets[r + 1]))
        words = [(int(starts[w]), int(ends[w]), int(kinds[w])) for w in here]
        votes, size, hits = [0] * languages, np.float32(0), []
        for k, (begin, end, kind) in enumerate(words):
            dense, i = kind & 1, begin
            while i < end:
                best: dict[int, tuple[int, int]] = {}
                places = [(i, None)]
                if not dense and 0xD6 <= row[i] <= 0xDB:
                    long = [one for one in fronts if row[i:end].startswith(one[0]) and end - i >= len(one[0]) + 4]
                    places += [(i + len(front), lang) for front, lang in long]
                for place, only in places:
                    for lang, concept, listed_parts in entries:
                        to = entry_end(row, words, k, place, listed_parts) if only in (None, lang) else 0
                        if to > best.get(lang, (0, 0))[0]:
                            best[lang] = to, concept
                for lang, (to, concept) in best.items():
                    votes[lang] += 1 if dense else 2
                    hits.append((lang, i, to if dense else max(to, end), concept))
                size += np.float32(0.2 if dense else 1.0)
                i = i + (4 if row[i] >= 0xF0 else 3) if dense else end
        top = max(votes)
        lang = main if votes[main] == top else votes.index(top)
        known = top > 0 and top * 0.5 >= least / 100 * float(size)
        over = 0
        for of, i, to, concept in hits if known else ():
            if of == lang and i >= over:
                over = to
                if concept != bare:
                    out.append((concept, i, to))
        out_lang.append(lang if known else -1)
        out_offsets.append(len(out))
    columns = [np.array([one[k] for one in out], dtype) for k, dtype in enumerate((np.uint8, np.int32, np.int32))]
    return np.array(out_lang, np.int16), *columns, np.array(out_offsets)


def concept_pairs(concept: Any, concept_offsets: Any, reach: int) -> Any:
    indptr, indices, counts = [0], [], []
    for row in rows_of(concept, concept_offsets):
        found: dict[int, int] = {}
        for i, one in enumerate(row):
            beside = [(one, 255), *((min(one, two), max(one, two)) for two in row[i + 1 : i + 1 + reach])]
            for a, b in beside:
                found[256 * a + b] = found.get(256 * a + b, 0) + 1
        indices += list(found)
        counts += list(found.values())
        indptr.append(len(indices))
    return np.array(indptr), np.array(indices, np.int32), np.array(counts, np.float32)


def subsequence_dtw(tokens: Any, offsets: Any, cost: Any) -> Any:
    _, length, patterns = cost.shape
    table = cost.tolist()
    distance, end = [], []
    for row in rows_of(tokens, offsets):
        for p in range(patterns):
            best, where = 2**20, -1
            last = [FAR] * length
            for i, token in enumerate(row):
                d: list[float] = []
                for j in range(length):
                    corner = last[j - 1] if j else 0
                    beside = d[j - 1] if j else 0
                    d.append(table[token][j][p] + min(corner, last[j], beside))
                if d[-1] < best:
                    best, where = d[-1], i
                last = d
            distance.append(best)
            end.append(where)
    shape = (len(offsets) - 1, patterns)
    return np.array(distance, np.int32).reshape(shape), np.array(end, np.int32).reshape(shape)


def subsequence_dtw_pairs(tokens: Any, offsets: Any, cost: Any, lengths: Any, rows: Any, patterns: Any) -> Any:
    def least(row: list[int], columns: Any) -> list[float]:
        last, out = [FAR] * columns.shape[1], []
        for token in row:
            d: list[float] = []
            for j in range(columns.shape[1]):
                steps = [last[j], last[j - 1] if j else 0, d[j - 1] if j else 0]
                d.append(float(columns[token, j]) + min(steps))
            last = d
            out.append(last[-1])
        return out

    found = []
    texts = rows_of(tokens, offsets)
    for row, pattern in zip(rows.tolist(), patterns.tolist(), strict=True):
        columns = cost[:, pattern, cost.shape[2] - lengths[pattern] :]
        text = list(texts[row])
        whole = least(text, columns)
        if not whole:
            found.append((2**20, -1, -1))
            continue
        end = whole.index(min(whole))
        begins = [begin for begin in range(end + 1) if least(text[begin : end + 1], columns)[-1] == whole[end]]
        found.append((whole[end], max(begins), end))
    return tuple(np.array([part[k] for part in found], np.int32) for k in range(3))


def dtw(values: Any, offsets: Any, patterns: Any) -> Any:
    distance = []
    for row in rows_of(values, offsets):
        for pattern in patterns.tolist():
            last = [0.0] + [FAR] * len(pattern)
            for value in row:
                d = [FAR]
                for j, place in enumerate(pattern):
                    d.append((value - place) ** 2 + min(last[j], last[j + 1], d[j]))
                last = d
            distance.append(last[-1] if row else FAR)
    return np.array(distance).reshape(len(offsets) - 1, len(patterns))


def lcs(q_values: Any, q_offsets: Any, p_values: Any, p_offsets: Any) -> Any:
    lengths = []
    for query in rows_of(q_values, q_offsets):
        for pattern in rows_of(p_values, p_offsets):
            last = [0] * (len(pattern) + 1)
            for symbol in query:
                d = [0]
                for j, other in enumerate(pattern):
                    d.append(last[j] + 1 if symbol == other else max(last[j + 1], d[j]))
                last = d
            lengths.append(last[-1])
    return np.array(lengths, np.int32).reshape(len(q_offsets) - 1, len(p_offsets) - 1)


def levenshtein(q_values: Any, q_offsets: Any, p_values: Any, p_offsets: Any) -> Any:
    distance = []
    for query in rows_of(q_values, q_offsets):
        for pattern in rows_of(p_values, p_offsets):
            last = list(range(len(pattern) + 1))
            for i, symbol in enumerate(query):
                d = [i + 1]
                for j, other in enumerate(pattern):
                    d.append(min(last[j + 1] + 1, d[j] + 1, last[j] + (symbol != other)))
                last = d
            distance.append(last[-1])
    return np.array(distance, np.int32).reshape(len(q_offsets) - 1, len(p_offsets) - 1)


def session_series(values: Any, offsets: Any) -> Any:
    out = []
    for x in rows_of(values, offsets):
        n = len(x)
        row = [0.0] * 12
        out.append(row)
        if not n:
            continue
        mean = math.fsum(x) / n
        row[0], row[1], row[2] = max(x), mean, x[-1]
        squares = math.fsum((v - mean) ** 2 for v in x)
        if math.sqrt(squares / n) <= 1e-12 * max(abs(v) for v in x):
            continue
        turns = [i - math.fsum(range(n)) / n for i in range(n)]
        slope = math.fsum(t * (v - mean) for t, v in zip(turns, x, strict=True)) / math.fsum(t * t for t in turns)
        row[3] = slope * (n - 1)
        row[4] = slope * math.sqrt(math.fsum(t * t for t in turns) / squares)
        for k in range(1, n):
            gap = math.fsum(x[k:]) / (n - k) - math.fsum(x[:k]) / k
            if gap * math.sqrt(k * (n - k) / n) > row[5]:
                row[5], row[7] = gap * math.sqrt(k * (n - k) / n), float(k)
        row[6] = row[5] ** 2 / squares
        row[10] = math.sqrt(squares / n)
        row[11] = math.fsum((b - a) ** 2 for a, b in itertools.pairwise(x)) / squares
        head = sorted(x[: max(3, n // 5)])
        level = (head[(len(head) - 1) // 2] + head[len(head) // 2]) / 2 + row[10] / 2
        climbs = [math.fsum(v - level for v in x[i : j + 1]) for i in range(n) for j in range(i, n)]
        row[8] = max(0.0, *climbs)
        gaps = [x[i] - math.fsum(x[: i + 1]) / (i + 1) for i in range(n)]
        row[9] = max(0.0, *(math.fsum(gaps[i : j + 1]) for i in range(n) for j in range(i, n)))
    return np.array(out).reshape(-1, 12)


def attractor(values, offsets, dim=3, lag=1, separation=0, horizon=5, skip=0, radius=20, angles=16, parts=15):
    out = []
    for x in rows_of(values, offsets):
        n = len(x)
        row = [math.nan] * 16
        out.append(row)
        if n < 2:
            continue
        mean = math.fsum(x) / n
        variance = math.fsum((v - mean) ** 2 for v in x) / n
        if math.sqrt(variance) <= 1e-12 * 2.0 ** math.frexp(max(map(abs, x)))[1]:
            row[14] = 0.0
            continue
        deviation = math.sqrt(variance)
        points = [[x[i + q * lag] for q in range(dim)] for i in range(n - (dim - 1) * lag)]
        m = len(points)

        def apart(a, b):
            return sum((u - v) ** 2 for u, v in zip(a, b, strict=True))

        def recurs(a, b, limit=radius / 100 * deviation):
            return all(abs(u - v) <= limit for u, v in zip(a, b, strict=True))

        moved = m - horizon + 1
        if moved >= 2 * separation + 2:
            near = []
            for i in range(moved):
                others = [j for j in range(moved) if abs(i - j) > separation]
                near.append(min(others, key=lambda j: (apart(points[i], points[j]), j)))
            curve = []
            for k in range(skip, horizon):
                gaps = [apart(points[i + k], points[near[i] + k]) for i in range(moved)]
                logs = [math.log(gap) / 2 for gap in gaps if gap > 1e-18 * variance]
                if logs:
                    curve.append((k, math.fsum(logs) / len(logs)))
            if len(curve) > 1:
                row[0] = float(np.polyfit(*zip(*curve, strict=True), 1)[0])
            ahead = (dim - 1) * lag + 1
            row[13] = math.fsum((x[i + ahead] - x[near[i] + ahead]) ** 2 for i in range(moved)) / math.fsum(
                (x[i + ahead] - mean) ** 2 for i in range(moved)
            )
        plot = [[recurs(a, b) for b in points] for a in points]
        if m > separation + 1:
            sizes = []
            for d in range(separation + 1, m):
                diagonal = [plot[i][i + d] for i in range(m - d)]
                sizes += [len(list(run)) for holds, run in itertools.groupby(diagonal) if holds]
            lines = [size for size in sizes if size >= 2]
            row[1] = sum(sizes) / ((m - separation) * (m - separation - 1) / 2)
            row[2] = sum(lines) / sum(sizes) if sizes else 0.0
            row[3] = sum(lines) / len(lines) if lines else 0.0
            row[4] = float(max(lines, default=0))
            shares = [lines.count(size) / len(lines) for size in set(lines)]
            row[5] = -math.fsum(share * math.log(share) for share in shares)
        if m > 0:
            sizes = [len(list(run)) for line in plot for holds, run in itertools.groupby(line) if holds]
            lines = [size for size in sizes if size >= 2]
            row[6] = sum(lines) / sum(sizes)
            row[7] = sum(lines) / len(lines) if lines else 0.0
        if angles and n >= 20:
            steps = max(4, n // 10)
            grows = []
            for k in range(angles):
                c = math.pi / 5 + 3 * math.pi / 5 * math.fmod((k + 1) * (math.sqrt(5) - 1) / 2, 1)
                turned = [(v - mean) * complex(math.cos(c * (j + 1)), math.sin(c * (j + 1))) for j, v in enumerate(x)]
                walk = list(itertools.accumulate(turned))
                moves = [
                    math.fsum(abs(walk[j + s] - walk[j]) ** 2 for j in range(n - steps)) / (n - steps)
                    for s in range(1, steps + 1)
                ]
                grows.append(float(np.corrcoef(range(steps), moves)[0, 1]))
            row[8] = float(np.median(grows))
        if n >= 3:
            orders = []
            for j in range(n - 2):
                a, b, c = x[j : j + 3]
                over = (a - b > 1e-9 * deviation, b - c > 1e-9 * deviation, a - c > 1e-9 * deviation)
                orders.append(over)
            shares = [orders.count(order) / len(orders) for order in set(orders)]
            row[9] = -math.fsum(share * math.log(share) for share in shares) / math.log(math.factorial(3))
        found = []
        for size in (2, 3):
            pieces = [x[i : i + size] for i in range(n - 2)]
            found.append(sum(recurs(a, b) for a, b in itertools.combinations(pieces, 2)))
        if found[1]:
            row[10] = math.log(found[0] / found[1])
        misses = [math.fsum((x[i] - x[i + d]) ** 2 for i in range(n - d)) / (n - d) / 2 / variance for d in range(n)]
        row[11], row[12], row[15] = 0.0, 1.0, misses[1]
        left = [d for d in range(1, n // 2 + 1) if max(misses[1 : d + 1]) >= 0.5]
        if left:
            row[12] = min(misses[d] for d in left)
            row[11] = float(next(d for d in left if misses[d] <= row[12] + 1e-9))
        late = x[n - max(2, n // 3) :]
        level = math.fsum(late) / len(late)
        row[14] = math.fsum((v - level) ** 2 for v in late) / len(late) / variance
        for part, columns in ((1, (0, 13)), (2, range(1, 8)), (4, (9, 10)), (8, (11, 12, 15))):
            for column in columns if not parts & part else ():
                row[column] = math.nan
    return np.array(out).reshape(-1, 16)


def ltl_batch(values: Any, offsets: Any, shifts: Any, past: Any, future: Any, results: Any, slots: int) -> Any:
    def swept(program: Any, steps: list[list[bool]], held: list[bool]) -> None:
        for place, step in enumerate(steps):
            for code, slot, left, _ in program:
                if code == 5:
                    held[slot] = held[left]
            for code, slot, left, _ in program:
                if code == 6 and place == 0:
                    held[slot] = left == 1
            held[: len(step)] = step
            for code, slot, left, right in program:
                match code:
                    case 0:
                        held[slot] = held[left] and held[right]
                    case 1:
                        held[slot] = held[left] or held[right]
                    case 2:
                        held[slot] = not held[left]
                    case 3:
                        held[slot] = held[right] or (held[left] and held[slot])
                    case 4:
                        held[slot] = held[right] and (held[left] or held[slot])
            step.extend(held[left] for left in kept if program is before)

    before, after = past.tolist(), future.tolist()
    kept = [left for _, _, left, _ in sorted(row for row in before if row[0] == 7)]
    rows = rows_of(values, offsets)
    out = np.zeros((len(results), -(-len(rows) // 64)), np.uint64)
    for place, row in enumerate(rows):
        if row:
            steps, held = [[bool(value >> bit & 1) for bit in shifts.tolist()] for value in row], [False] * slots
            swept(before, steps, held)
            swept(after, steps[::-1], held)
            for number, slot in enumerate(results.tolist()):
                out[number, place // 64] |= np.uint64(int(held[slot]) << place % 64)
    return out


def ltl_step(
    table: Any,
    resets: Any,
    shape: Any,
    letters: Any,
    limits: Any,
    verdicts: Any,
    sessions: Any,
    values: Any,
    times: Any,
    records: Any,
) -> Any:
    after, out = records.copy(), np.zeros((len(sessions), len(shape)), np.uint8)
    for step, (session, value, moment) in enumerate(
        zip(sessions.tolist(), values.tolist(), times.tolist(), strict=True)
    ):
        known = after[session].tolist()
        now = known[0] = max(known[0], moment)
        packed = after[session, 1 + len(limits) :].copy().view(np.uint16)
        for p, (place, width, events, first, clocks, verdict, _) in enumerate(shape.tolist()):
            letter = sum(int(letters[p, b, value >> 8 * b & 255]) for b in range(letters.shape[1]))
            for c in range(clocks):
                letter += (1 << events + c) if now - known[1 + first + c] > int(limits[first + c]) else 0
            cell = place + int(packed[p]) * width + letter
            for c in range(clocks):
                if int(resets[cell]) & 1 << c:
                    known[1 + first + c] = now
            packed[p] = table[cell]
            out[step, p] = verdicts[verdict + int(table[cell])]
        after[session, : 1 + len(limits)] = known[: 1 + len(limits)]
        after[session, 1 + len(limits) :] = packed.view(np.int64)
    return after, out


def normalised(row: Any, gain: Any, bias: Any) -> list[float]:
    """A row of float64 values with mean 0 and variance 1, then times the gain plus the bias."""
    mean = math.fsum(row) / len(row)
    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in row) / len(row) + 1e-12)
    return [(v - mean) / deviation * float(gain[d]) + float(bias[d]) for d, v in enumerate(row)]


def embed(tokens: Any, offsets: Any, kinds: Any, word: Any, position: Any, channel: Any, gain: Any, bias: Any) -> Any:
    states = []
    for kind, row in zip(kinds.tolist(), rows_of(tokens, offsets), strict=True):
        for place, token in enumerate(row):
            parts = (word[token].tolist(), position[place].tolist(), channel[kind].tolist())
            states.append(normalised([math.fsum(three) for three in zip(*parts, strict=True)], gain, bias))
    return np.array(states).reshape(len(tokens), len(gain))


def add_norm(states: Any, product: Any, shift: Any, gain: Any, bias: Any) -> Any:
    sums = []
    for one, other in zip(states.tolist(), product.tolist(), strict=True):
        sums.append(normalised([a + b + float(c) for a, b, c in zip(one, other, shift, strict=True)], gain, bias))
    return np.array(sums).reshape(states.shape)


def attention(qkv: Any, bias: Any, offsets: Any, heads: int) -> Any:
    width = qkv.shape[1] // 3
    size = width // heads
    mixed = np.zeros((len(qkv), width))
    for begin, end in itertools.pairwise(offsets.tolist()):
        rows = qkv[begin:end].astype(np.float64) + bias
        for head in range(heads):
            query, key, value = (rows[:, part * width + head * size :][:, :size].tolist() for part in range(3))
            for i in range(end - begin):
                scores = [sum(a * b for a, b in zip(query[i], other, strict=True)) / math.sqrt(size) for other in key]
                weights = [math.exp(score - max(scores)) for score in scores]
                for column in range(size):
                    total = sum(weight * value[j][column] for j, weight in enumerate(weights))
                    mixed[begin + i, head * size + column] = total / sum(weights)
    return mixed


def bias_gelu(product: Any, bias: Any) -> Any:
    rows = [[float(v) + float(bias[m]) for m, v in enumerate(row)] for row in product.tolist()]
    active = [[0.5 * v * (1.0 + math.erf(v / math.sqrt(2.0))) for v in row] for row in rows]
    return np.array(active).reshape(product.shape)


def pooled_logits(states: Any, offsets: Any, weights: Any, bias: Any) -> Any:
    logits = []
    for begin, end in itertools.pairwise(offsets.tolist()):
        columns = [states[begin:end, d].tolist() for d in range(len(weights))]
        mean = [math.fsum(column) / max(end - begin, 1) for column in columns]
        dots = [math.fsum(m * float(weights[d, h]) for d, m in enumerate(mean)) for h in range(len(bias))]
        logits.append([dot + float(bias[h]) for h, dot in enumerate(dots)])
    return np.array(logits).reshape(len(offsets) - 1, len(bias))


def encoder(weights, ids, untrusted, layers, heads):
    """Logits float64 (classes,) of one text through a BERT encoder, straight from Devlin et al. 2019, its head over the
    mean states after each of as many last layers as it has rows for."""

    def norm(x, name):
        out = []
        for row in x:
            mean = sum(row) / len(row)
            deviation = math.sqrt(sum((v - mean) ** 2 for v in row) / len(row) + 1e-12)
            scale, shift = weights[f"{name}.weight"], weights[f"{name}.bias"]
            out.append([(v - mean) / deviation * float(scale[k]) + float(shift[k]) for k, v in enumerate(row)])
        return np.array(out)

    def dense(x, name):
        return x @ weights[f"{name}.weight"].astype(np.float64) + weights[f"{name}.bias"].astype(np.float64)

    x = np.array([
        weights["word"][piece].astype(np.float64) + weights["position"][place] + weights["channel"][int(untrusted)]
        for place, piece in enumerate(ids)
    ])  # fmt: skip
    x = norm(x, "norm")
    width = x.shape[1]
    size = width // heads
    means = []
    for layer in range(layers):
        at = f"layer.{layer}"
        joined = dense(x, f"{at}.qkv")
        mixed = np.zeros_like(x)
        for head in range(heads):
            query, key, value = (joined[:, part * width + head * size :][:, :size] for part in range(3))
            for i in range(len(x)):
                scores = [float(query[i] @ key[j]) / math.sqrt(size) for j in range(len(x))]
                top = max(scores)
                share = [math.exp(score - top) for score in scores]
                total = sum(share)
                for j in range(len(x)):
                    mixed[i, head * size : (head + 1) * size] += share[j] / total * value[j]
        x = norm(x + dense(mixed, f"{at}.out"), f"{at}.norm1")
        raised = dense(x, f"{at}.up")
        active = np.array([[0.5 * v * (1.0 + math.erf(v / math.sqrt(2.0))) for v in row] for row in raised])
        x = norm(x + dense(active, f"{at}.down"), f"{at}.norm2")
        means.append(x.mean(axis=0))
    seen = len(weights["head.weight"]) // width
    return dense(np.concatenate(means[layers - seen :])[None], "head")[0]
