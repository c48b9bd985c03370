"""Attacks that show in the shape of a text, not in its words: torn suffixes of gradient search, repetition."""

from __future__ import annotations

from unicodedata import category

import numpy as np
import numpy.typing as npt
from numba import njit

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

_SPACE, _LOWER, _UPPER, _DIGIT, _OPEN, _CLOSE, _SYMBOL = 1, 2, 4, 8, 16, 32, 64
_LETTER = _LOWER | _UPPER
_CLASS = np.zeros(256, np.uint8)
_CLASS[[9, 10, 11, 12, 13, 32]] = _SPACE
_CLASS[97:123] = _LOWER
_CLASS[65:91] = _UPPER
_CLASS[48:58] = _DIGIT
_CLASS[[*b"!\"#$%&'*+,-./:;<=>?@\\^_`|~"]] = _SYMBOL
_CLASS[[*b"([{"]] = _OPEN | _SYMBOL
_CLASS[[*b")]}"]] = _CLOSE | _SYMBOL

SUFFIX_TOKENS = 24
MAX_DEPTH = 32
REPEAT_BYTES = 50_000
"""Shorter repetition is ordinary: a column of equal values, a table, a log that says one thing a thousand times."""
MAX_PERIOD = 64


_NONE = np.zeros((0, 3), np.int32)


def suffixes(values: U8, offsets: I64) -> npt.NDArray[np.int32]:
    """The most torn stretch of each text, int32 (B, 3): score, first byte, end (relative to the text).

    The score counts torn tokens (letters joined by unusual symbols, case flips inside a word, lone operators) and
    twice the brackets without a partner, in ``SUFFIX_TOKENS`` tokens of one line that are otherwise words; 0 where the
    text is whole. O(N). GCG: Zou et al. 2023, arXiv 2307.15043.
    """
    out: npt.NDArray[np.int32] = _suffixes(np.ascontiguousarray(values), np.ascontiguousarray(offsets), _CLASS)
    return out


def repetitions(values: U8, offsets: I64) -> npt.NDArray[np.int32]:
    """Stretches that repeat one piece of words, int32 (R, 3): text, first byte, end (both relative to the text).

    In order of text and place, each of ``REPEAT_BYTES`` or more with a piece of at most ``MAX_PERIOD`` bytes. Only
    pieces of letters and white space count: separators, numbers, markup and runs inside encoded data are ordinary.
    O(N): each length of a piece is compared about once at each byte, and hardly at all in text that does not repeat.
    """
    values, offsets = np.ascontiguousarray(values), np.ascontiguousarray(offsets)
    found, _ = _repetitions(values, offsets, MAX_PERIOD, REPEAT_BYTES)
    if not len(found):
        return _NONE
    kept = [k for k, (t, at, _, period) in enumerate(found.tolist()) if _worded(values[offsets[t] + at :], period)]
    out: npt.NDArray[np.int32] = found[kept, :3]
    return out


def _worded(stretch: U8, period: int) -> bool:
    # Twice the piece holds every one of its characters whole, wherever the stretch begins.
    piece = stretch[: 2 * period].tobytes().decode("utf-8", "ignore")
    letters = [c for c in piece if c.isalpha()]
    # ASCII letters in one solid run are zeros in base64, hexadecimal digits or padding.
    divided = any(c.isspace() for c in piece) or any(not c.isascii() for c in letters)
    return bool(letters) and divided and all(c.isspace() or category(c)[0] in "LM" for c in piece)


@njit(cache=True, nogil=True)
def _suffixes(values, offsets, kinds):  # type: ignore[no-untyped-def]
    n = len(offsets) - 1
    out = np.zeros((n, 3), np.int32)
    torn_at = np.zeros(SUFFIX_TOKENS, np.int32)
    wrong_at = np.zeros(SUFFIX_TOKENS, np.int32)
    word_at = np.zeros(SUFFIX_TOKENS, np.int32)
    start_at = np.zeros(SUFFIX_TOKENS, np.int64)
    stack = np.zeros(MAX_DEPTH, np.uint8)
    opened = np.zeros(MAX_DEPTH, np.int32)
    for t in range(n):
        low, high = offsets[t], offsets[t + 1]
        best = 0
        i = low
        count = torn = wrong = words = depth = 0
        while i < high:
            kind = kinds[values[i]]
            if kind & _SPACE:
                if values[i] == 10:
                    count = torn = wrong = words = 0
                    opened[:] = -1
                i += 1
                continue
            begin = i
            letters = symbols = flips = mismatched = joints = run = 0
            previous = 0
            while i < high and not kinds[values[i]] & _SPACE:
                b = values[i]
                kind = kinds[b]
                if kind & _LETTER:
                    letters += 1
                    if kind & _UPPER and previous & _LOWER:
                        flips += 1
                    if run > 1 and letters > 1:
                        joints += 1
                    run = 0
                elif kind & _SYMBOL:
                    symbols += 1
                    run += 1
                    if kind & _OPEN:
                        if depth < MAX_DEPTH:
                            stack[depth] = b
                            opened[depth] = count
                            depth += 1
                    elif kind & _CLOSE:
                        opener = 40 if b == 41 else b - 2
                        if depth and stack[depth - 1] == opener:
                            depth -= 1
                        elif not (
                            b == 41
                            and (i - begin <= 3 or values[i - 1] == 58 or values[i - 1] == 59 or values[i - 1] == 45)
                        ):
                            # Not an enumeration such as a) or (iv), not an emoticon.
                            mismatched += 1
                else:
                    run = 0
                previous = kind
                i += 1
            size = i - begin
            first = kinds[values[begin]]
            is_torn = 0
            if (
                (letters > 2 and (joints or (flips == 1 and size > 7)))
                or (symbols and letters == 0 and size == symbols and size < 4)
                or (mismatched and letters and not first & _OPEN)
                or (symbols > 2 and letters)
            ):
                is_torn = 1
            slot = count % SUFFIX_TOKENS
            if count >= SUFFIX_TOKENS:
                torn -= torn_at[slot]
                wrong -= wrong_at[slot]
                words -= word_at[slot]
            torn_at[slot] = is_torn
            wrong_at[slot] = mismatched
            word_at[slot] = 1 if symbols == 0 and letters == size and size > 1 else 0
            start_at[slot] = begin
            torn += is_torn
            wrong += mismatched
            words += word_at[slot]
            count += 1
            unclosed = 0
            if i == high:
                for k in range(depth):
                    unclosed += 1 if opened[k] >= max(0, count - SUFFIX_TOKENS) else 0
            if count >= 8 and torn >= 3 and wrong + unclosed >= 2 and words >= 5 and 2 * words >= torn:
                score = torn + 2 * (wrong + unclosed)
                if score > best:
                    best = score
                    back = start_at[(count - min(count, SUFFIX_TOKENS)) % SUFFIX_TOKENS]
                    out[t, 0], out[t, 1], out[t, 2] = score, back - low, i - low
    return out


@njit(cache=True, nogil=True)
def _repetitions(values, offsets, max_period, least):  # type: ignore[no-untyped-def]
    # Returns rows of text, first byte, end, period; and the comparisons made. Two stretches of different pieces share
    # fewer than 2 * max_period bytes (Fine and Wilf 1965, doi:10.2307/2034009), which bounds their number.
    n = len(offsets) - 1
    overlap = 2 * max_period
    room = 0
    for t in range(n):
        if offsets[t + 1] - offsets[t] >= least:
            room += (offsets[t + 1] - offsets[t]) // (least - overlap) + 1
    out = np.zeros((room, 4), np.int32)
    reached = np.zeros(max_period + 1, np.int64)
    found = compared = 0
    for t in range(n):
        low, high = offsets[t], offsets[t + 1]
        reached[:] = low
        at = low
        while at + least <= high:
            # Any stretch of `least` bytes covers a probe, so only probes are tried for each period.
            probe = at + least // 2
            at += least // 2
            for period in range(1, max_period + 1):
                # Up to `reached` the period is measured: it broke there.
                if probe < reached[period]:
                    continue
                compared += 1
                if values[probe] != values[probe + period]:
                    continue
                begin = end = probe
                while begin > reached[period] and values[begin - 1] == values[begin - 1 + period]:
                    begin -= 1
                while end + period < high and values[end] == values[end + period]:
                    end += 1
                compared += end - begin
                reached[period] = end + 1
                if end + period - begin >= least:
                    out[found, 0], out[found, 3] = t, period
                    out[found, 1], out[found, 2] = begin - low, end + period - low
                    found += 1
                    at = max(at, end + period - overlap)
                    break
    return out[:found], compared
