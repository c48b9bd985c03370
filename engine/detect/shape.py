"""Attacks that show in the shape of a text, not in its words: torn suffixes of gradient search, repetition."""

from __future__ import annotations

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
REPEAT_BYTES = 2048
MAX_PERIOD = 64


def suffixes(values: U8, offsets: I64) -> npt.NDArray[np.int32]:
    """The most torn stretch of each text, int32 (B, 3): score, first byte, end (relative to the text).

    The score counts torn tokens (letters joined by unusual symbols, case flips inside a word, lone operators) and
    twice the brackets without a partner, in ``SUFFIX_TOKENS`` tokens of one line that are otherwise words; 0 where the
    text is whole. O(N). GCG: Zou et al. 2023, arXiv 2307.15043.
    """
    out: npt.NDArray[np.int32] = _suffixes(np.ascontiguousarray(values), np.ascontiguousarray(offsets), _CLASS)
    return out


def repetitions(values: U8, offsets: I64) -> npt.NDArray[np.int32]:
    """The longest stretch of each text that repeats one piece of at most ``MAX_PERIOD`` bytes, int32 (B, 2).

    First byte and end, relative to the text; both 0 where the stretch is shorter than ``REPEAT_BYTES``. O(N).
    """
    values, offsets = np.ascontiguousarray(values), np.ascontiguousarray(offsets)
    out: npt.NDArray[np.int32] = _repetitions(values, offsets, MAX_PERIOD, REPEAT_BYTES)
    return out


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
    n = len(offsets) - 1
    out = np.zeros((n, 2), np.int32)
    for t in range(n):
        low, high = offsets[t], offsets[t + 1]
        if high - low < least:
            continue
        longest = least - 1
        at = low
        while at + least <= high:
            # Any stretch of `least` bytes covers a probe, so only probes are tried for each period.
            for period in range(1, max_period + 1):
                probe = at + least // 2
                if values[probe] != values[probe + period] or values[probe + 1] != values[probe + 1 + period]:
                    continue
                begin = probe
                while begin > low and values[begin - 1] == values[begin - 1 + period]:
                    begin -= 1
                end = probe
                while end + period < high and values[end] == values[end + period]:
                    end += 1
                if end + period - begin > longest:
                    longest = end + period - begin
                    out[t, 0], out[t, 1] = begin - low, end + period - low
                    break
            at = max(at + least // 2, low + out[t, 1])
    return out
