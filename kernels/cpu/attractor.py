"""attractor on the CPU: one sweep over the diagonals of a row against itself gives neighbours, lines and matches.

The diagonal d holds the pairs (i, i + d). It becomes a row of bits, one for each pair that recurs, so that lines and
matches are counted 64 pairs at a time. The lines up and down the plot run through three diagonals side by side.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import types

from aimds.errors import KernelError
from aimds.kernels import ragged, zero_one
from aimds.kernels.cpu.bits import ones, trailing_zeros
from aimds.kernels.cpu.jit import F64, I64, U64, compiled, reads, writes
from aimds.kernels.registry import register

F64Array = npt.NDArray[np.float64]

FEATURES: Final = 16
FLOATS, INTS, WORDS = 6, 3, 4
"""Rows of working memory: floats (row, squares, gaps, closest ahead, closest behind, misses), ints (steps to these two,
lines by length), words (three diagonals of the plot, one of single values)."""


@compiled(types.void(reads(F64), reads(F64), F64, I64, writes(U64)))
def _bits(row: Any, later: Any, limit: Any, size: Any, words: Any) -> None:
    # ``size`` words, and a zero word for whoever looks at the next bit. Past the row's end stands infinity, which is
    # near nothing. Constant bounds: the compiler then compares and shifts several numbers at once.
    for w in range(size):
        a, b = row[64 * w : 64 * w + 64], later[64 * w : 64 * w + 64]
        word = np.uint64(0)
        for k in range(64):
            gap = a[k] - b[k]
            word |= (np.uint64(1) << np.uint64(k)) if gap * gap <= limit else np.uint64(0)
        words[w] = word
    words[size] = np.uint64(0)


@compiled(U64(reads(U64), I64, I64))
def _moved(words: Any, w: Any, shift: Any) -> Any:
    # Word w of the bits moved down by ``shift``, or up by one where that is -1.
    if shift < 0:
        carried = words[w - 1] >> np.uint64(63) if w else np.uint64(0)
        return (words[w] << np.uint64(1)) | carried
    at, odd = w + (shift >> 6), np.uint64(shift & 63)
    low = words[at] if at < len(words) else np.uint64(0)
    if odd == np.uint64(0):
        return low
    high = words[at + 1] if at + 1 < len(words) else np.uint64(0)
    return (low >> odd) | (high << (np.uint64(64) - odd))


@compiled(types.void(reads(U64), writes(I64)))
def _lines(words: Any, lines: Any) -> None:
    # One more in ``lines`` for every run of set bits, by its length.
    run = np.int64(0)
    for w in range(len(words)):
        word, left = words[w], np.int64(64)
        while left > 0:
            if word & np.uint64(1):
                size = left if word == ~np.uint64(0) else np.int64(trailing_zeros(~word))
                size = min(size, left)
                run += size
            else:
                if run:
                    lines[run] += 1
                    run = np.int64(0)
                size = left if word == np.uint64(0) else np.int64(trailing_zeros(word))
            left -= size
            if left > 0:
                word >>= np.uint64(size)
    if run:
        lines[run] += 1


@compiled(types.void(reads(U64), reads(U64), reads(U64), types.boolean, writes(I64)))
def _upright(before: Any, words: Any, after: Any, is_main: Any, counts: Any) -> None:
    # All points, points on no line up or down, and points where such a line begins, of a diagonal and its mirror image.
    for w in range(len(words)):
        here, above = words[w], _moved(after, w, -1)
        if is_main:
            counts[1] += np.int64(ones(here))
            counts[2] += np.int64(ones(here & ~above & ~after[w]))
            counts[3] += np.int64(ones(here & ~above & after[w]))
            continue
        below = _moved(before, w, 1)
        counts[1] += 2 * np.int64(ones(here))
        counts[2] += np.int64(ones(here & ~above & ~below)) + np.int64(ones(here & ~before[w] & ~after[w]))
        counts[3] += np.int64(ones(here & ~above & below)) + np.int64(ones(here & ~before[w] & after[w]))


@compiled(types.void(reads(U64), I64, writes(I64)))
def _matches(words: Any, last: Any, counts: Any) -> None:
    # Pairs of templates of 2 values, and of 3; both kinds begin at ``last`` or before.
    twos, threes = np.uint64(0), np.uint64(0)
    for w in range((last + 1 >> 6) + 1):
        here, after = words[w], words[w + 1]
        two = here & (here >> np.uint64(1) | after << np.uint64(63))
        if w == last + 1 >> 6:
            two &= ~(np.uint64(1) << np.uint64((last + 1) & 63))
        twos += ones(two)
        threes += ones(two & (here >> np.uint64(2) | after << np.uint64(62)))
    counts[4] += np.int64(twos)
    counts[5] += np.int64(threes)


@compiled(F64(reads(F64)))
def _sum(numbers: Any) -> Any:
    # Four sums side by side: additions in one chain would wait for each other.
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    whole = len(numbers) // 4 * 4
    for i in range(0, whole, 4):
        a += numbers[i]
        b += numbers[i + 1]
        c += numbers[i + 2]
        d += numbers[i + 3]
    for i in range(whole, len(numbers)):
        a += numbers[i]
    return (a + b) + (c + d)


@compiled(types.void(reads(F64), I64, I64, writes(F64)))
def _gaps(squares: Any, dim: Any, lag: Any, gaps: Any) -> None:
    # Squared distances of the pairs of points of a diagonal.
    if dim == 1:
        for i in range(len(gaps)):
            gaps[i] = squares[i]
        return
    second, third = squares[lag:], squares[2 * lag * (dim > 2) :]
    if dim == 2:
        for i in range(len(gaps)):
            gaps[i] = squares[i] + second[i]
        return
    for i in range(len(gaps)):
        gaps[i] = squares[i] + second[i] + third[i]
    q = 3
    while q + 2 < dim:
        first, second, third = squares[q * lag :], squares[(q + 1) * lag :], squares[(q + 2) * lag :]
        for i in range(len(gaps)):
            gaps[i] = gaps[i] + first[i] + second[i] + third[i]
        q += 3
    for rest in range(q, dim):
        first = squares[rest * lag :]
        for i in range(len(gaps)):
            gaps[i] += first[i]


# Partners ahead come in rising order, partners behind in falling order; of equally close ones the first in time stays.
@compiled(types.void(reads(F64), I64, writes(F64), writes(I64)))
def _ahead(gaps: Any, d: Any, best: Any, steps: Any) -> None:
    for i in range(len(gaps)):
        closer = gaps[i] < best[i]
        best[i] = gaps[i] if closer else best[i]
        steps[i] = d if closer else steps[i]


@compiled(types.void(reads(F64), I64, writes(F64), writes(I64)))
def _behind(gaps: Any, d: Any, best: Any, steps: Any) -> None:
    for i in range(len(gaps)):
        closer = gaps[i] <= best[i]
        best[i] = gaps[i] if closer else best[i]
        steps[i] = -d if closer else steps[i]


@compiled(
    types.void(I64, F64, F64, I64, I64, I64, I64, I64, writes(F64, 2), writes(I64, 2), writes(U64, 2), writes(I64))
)
def _sweep(
    n: Any,
    limit: Any,  # squared distance of what recurs
    variance: Any,
    dim: Any,
    lag: Any,
    separation: Any,
    near: Any,  # points that have a neighbour
    parts: Any,
    floats: Any,
    ints: Any,
    words: Any,
    counts: Any,  # int64 (6,): points off the band, all points, alone, begun, matches of 2 values and of 3
) -> None:
    row, single, points = floats[0], words[3], n - (dim - 1) * lag
    for d in range(n + 1):
        later, size = row[d:], (n - d) // 64 + 1
        is_close, is_lag = bool(parts & 1) and separation < d < near, bool(parts & 8) and d <= n // 2
        if is_close or is_lag:
            squares = floats[1, : n - d]
            for i in range(n - d):
                gap = row[i] - later[i]
                squares[i] = gap * gap
            if is_lag:
                floats[5, d] = _sum(squares) / (2.0 * variance * (n - d))
            if is_close:
                gaps = floats[2, : near - d]
                _gaps(squares, dim, lag, gaps)
                _ahead(gaps, d, floats[3], ints[0])
                _behind(gaps, d, floats[4, d:], ints[1, d:])
        if parts & 6:
            _bits(row, later, limit, size, single)
        if parts & 4 and 0 < d < n - 2:
            _matches(single, n - 3 - d, counts)
        if parts & 2:
            here = words[d % 3]
            for w in range(size):
                word = single[w]
                for q in range(1, dim):
                    word &= _moved(single, w, q * lag)
                here[w] = word
            here[size] = np.uint64(0)
            if separation < d < points:
                for w in range(size):
                    counts[0] += np.int64(ones(here[w]))
                _lines(here[:size], ints[2])
            if d:
                before = words[(d + 2) % 3]
                _upright(words[(d + 1) % 3], before[: (n - d + 1) // 64 + 1], here, d == 1, counts)


@compiled(types.void(I64, I64, I64, F64, F64, I64, I64, writes(F64, 2), writes(I64, 2), writes(F64)))
def _divergence(
    near: Any,
    dim: Any,
    lag: Any,
    mean: Any,
    variance: Any,
    horizon: Any,
    skip: Any,
    floats: Any,
    ints: Any,
    features: Any,
) -> None:
    row = floats[0]
    for i in range(near):
        is_behind = floats[4, i] <= floats[3, i]
        ints[0, i] = i + (ints[1, i] if is_behind else ints[0, i])
    used, steps, logs, steps_squared, both = 0, 0.0, 0.0, 0.0, 0.0
    for k in range(skip, horizon):
        total, seen, product = 0.0, 0, 1.0
        for i in range(near):
            square, there = 0.0, ints[0, i]
            for q in range(dim):
                gap = row[i + k + q * lag] - row[there + k + q * lag]
                square += gap * gap
            # Below is rounding. Eight numbers from 1e-18 to 1e27 share a logarithm.
            if square > 1e-18 * variance:
                product *= square / variance
                seen += 1
                if seen & 7 == 0:
                    total += 0.5 * math.log(product)
                    product = 1.0
        total += 0.5 * math.log(product)
        if seen:
            used += 1
            steps += k
            logs += total / seen
            steps_squared += k * k
            both += k * total / seen
    if used > 1:
        features[0] = (used * both - steps * logs) / (used * steps_squared - steps * steps)
    after, wrong, spread = (dim - 1) * lag + 1, 0.0, 0.0
    for i in range(near):
        miss, level = row[i + after] - row[ints[0, i] + after], row[i + after] - mean
        wrong += miss * miss
        spread += level * level
    if spread > 0.0:
        features[13] = wrong / spread


@compiled(F64(reads(F64), F64, reads(F64, 2), writes(F64, 2), writes(F64, 2)))
def _growth(row: Any, mean: Any, waves: Any, walk: Any, moves: Any) -> Any:
    # Median over the angles of the correlation of time with the mean squared displacement of a walk: the 0-1 test.
    n, lanes = len(row), waves.shape[1]
    steps, angles = max(4, n // 10), lanes // 2
    for k in range(lanes):
        walk[0, k] = 0.0
    for i in range(n):
        level, was, now, wave = row[i] - mean, walk[i], walk[i + 1], waves[i]
        for k in range(lanes):
            now[k] = was[k] + level * wave[k]
    for s in range(1, steps + 1):
        move = moves[s - 1]
        for k in range(lanes):
            move[k] = 0.0
        for i in range(1, n - steps + 1):
            begin, end = walk[i], walk[i + s]
            for k in range(lanes):
                gap = end[k] - begin[k]
                move[k] += gap * gap
        for k in range(angles):
            move[k] = (move[k] + move[angles + k]) / (n - steps)
    found, middle = moves[steps], (steps - 1) / 2.0
    for k in range(angles):
        level, along, square = 0.0, 0.0, 0.0
        for s in range(steps):
            level += moves[s, k]
        level /= steps
        for s in range(steps):
            gap = moves[s, k] - level
            along += gap * (s - middle)
            square += gap * gap
        value = along / math.sqrt(square * steps * (steps * steps - 1.0) / 12.0) if square > 0.0 else 0.0
        place = k
        while place and found[place - 1] > value:
            found[place] = found[place - 1]
            place -= 1
        found[place] = value
    return 0.5 * (found[(angles - 1) // 2] + found[angles // 2])


@compiled(F64(reads(F64), F64))
def _orders(row: Any, tie: Any) -> Any:
    # Normalised entropy of the orders of three values in a row; differences up to ``tie`` count as equal.
    if len(row) < 3:
        return math.nan
    seen = np.zeros(8, np.int64)
    for i in range(len(row) - 2):
        a, b, c = row[i], row[i + 1], row[i + 2]
        seen[4 * (a - b > tie) + 2 * (b - c > tie) + (a - c > tie)] += 1
    entropy = 0.0
    for count in seen:
        if count:
            share = count / (len(row) - 2)
            entropy -= share * math.log(share)
    return entropy / math.log(6.0)


@compiled(types.void(I64, I64, reads(I64), reads(I64), writes(F64)))
def _recurrence(points: Any, separation: Any, counts: Any, lines: Any, features: Any) -> None:
    pairs = (points - separation) * (points - separation - 1) // 2
    if points > separation + 1:
        on_lines, number, longest = 0, 0, 0
        for size in range(2, points):
            on_lines += size * lines[size]
            number += lines[size]
            longest = size if lines[size] else longest
        entropy = 0.0
        for size in range(2, points):
            if lines[size]:
                share = lines[size] / number
                entropy -= share * math.log(share)
        features[1] = counts[0] / pairs
        features[2] = on_lines / counts[0] if counts[0] else 0.0
        features[3] = on_lines / number if number else 0.0
        features[4], features[5] = longest, entropy
    if points > 0:
        features[6] = (counts[1] - counts[2]) / counts[1]
        features[7] = (counts[1] - counts[2]) / counts[3] if counts[3] else 0.0


@compiled(types.void(I64, reads(F64), writes(F64)))
def _period(n: Any, misses: Any, features: Any) -> None:
    features[11], features[12], features[15] = 0.0, 1.0, misses[1]
    first = 1
    while first <= n // 2 and misses[first] < 0.5:
        first += 1
    if first <= n // 2:
        least = misses[first]
        for d in range(first, n // 2 + 1):
            least = min(least, misses[d])
        while misses[first] > least + 1e-9:
            first += 1
        features[11], features[12] = first, least


@compiled(
    types.void(
        *(reads(F64), reads(I64), I64, I64, I64, I64, I64, I64, I64, I64, I64, reads(F64, 2)),
        *(writes(F64, 2), writes(I64, 2), writes(U64, 2), writes(F64, 2), writes(F64, 2), writes(F64, 2)),
    )
)
def _rows(
    values: Any,  # float64 (N,)
    offsets: Any,  # int64 (B+1,)
    first: Any,
    last: Any,
    dim: Any,
    lag: Any,
    separation: Any,
    horizon: Any,
    skip: Any,
    radius: Any,
    parts: Any,
    waves: Any,  # float64 (longest row, 2 x angles): cosines and sines of each angle times the place
    floats: Any,  # working memory, see FLOATS
    ints: Any,
    words: Any,
    walk: Any,
    moves: Any,
    features: Any,  # float64 (B, 16)
) -> None:
    counts = np.empty(6, np.int64)
    for r in range(first, last):
        out, begin = features[r], offsets[r]
        for k in range(len(out)):
            out[k] = math.nan
        n = offsets[r + 1] - begin
        if n < 2:
            continue
        row, size, total = floats[0, :n], 0.0, 0.0
        for i in range(n):
            size = max(size, abs(values[begin + i]))
        # A power of two: scaling rounds nothing, and squares stay in range.
        power = math.frexp(size)[1]
        for i in range(n):
            row[i] = math.ldexp(values[begin + i], -power)
            total += row[i]
        mean, square = total / n, 0.0
        for i in range(n):
            square += (row[i] - mean) * (row[i] - mean)
        out[14] = 0.0
        # What rounding makes of equal values is no motion.
        if square <= n * 1e-24:
            continue
        variance = square / n
        late, level, rest = max(2, n // 3), 0.0, 0.0
        for i in range(n - late, n):
            level += row[i] / late
        for i in range(n - late, n):
            rest += (row[i] - level) * (row[i] - level)
        out[14] = rest / late / variance
        points = n - (dim - 1) * lag
        near = points - horizon + 1
        if near < 2 * separation + 2 or not parts & 1:
            near = 0
        for k in range(len(counts)):
            counts[k] = 0
        for i in range(n, n + 64):
            floats[0, i] = math.inf
        for i in range(n + 1):
            ints[2, i] = 0
            floats[3, i], floats[4, i] = math.inf, math.inf
        limit = (radius / 100.0) * (radius / 100.0) * variance
        _sweep(n, limit, variance, dim, lag, separation, near, parts, floats, ints, words, counts)
        if parts & 2:
            _recurrence(points, separation, counts, ints[2], out)
        if parts & 8:
            _period(n, floats[5], out)
        if parts & 4:
            if counts[5]:
                out[10] = math.log(counts[4] / counts[5])
            out[9] = _orders(row, 1e-9 * math.sqrt(variance))
        if near:
            _divergence(near, dim, lag, mean, variance, horizon, skip, floats, ints, out)
        if waves.shape[1] and n >= 20:
            out[8] = _growth(row, mean, waves, walk, moves)


@register("attractor", "cpu")
def attractor(
    values: F64Array,
    offsets: npt.NDArray[np.int64],
    dim: int,
    lag: int,
    separation: int,
    horizon: int,
    skip: int,
    radius: int,
    angles: int,
    parts: int,
    *,
    threads: int,
) -> F64Array:
    if not np.isfinite(values).all():
        raise KernelError("attractor", "values", "holds NaN or infinity")
    features = np.empty((len(offsets) - 1, FEATURES), np.float64)
    longest = int(np.diff(offsets).max(initial=0))
    phase = np.arange(1, longest + 1)[:, None] * zero_one.spread(angles)
    waves = np.ascontiguousarray(np.concatenate([np.cos(phase), np.sin(phase)], axis=1))

    def part(first: int, last: int) -> None:
        floats, ints = np.empty((FLOATS, longest + 64)), np.empty((INTS, longest + 64), np.int64)
        # Zero past the words of a row: a sweep leaves them so, whatever the row's length.
        words = np.zeros((WORDS, longest // 64 + 2), np.uint64)
        walk = np.empty((longest + 1, 2 * angles))
        moves = np.empty((max(4, longest // 10) + 1, 2 * angles))
        given = dim, lag, separation, horizon, skip, radius, parts
        _rows(values, offsets, first, last, *given, waves, floats, ints, words, walk, moves, features)

    ragged.each(part, offsets, threads)
    return features
