"""Transformations believed by letters alone, for languages of which no word is known; and sentences of other scripts
that begin with their end.

Transformations: 1 to 25 shift each letter forward by so many places, then `ATBASH` and `REVERSED`.
"""

from __future__ import annotations

from numba import njit

from aimds.detect.normalize.letters import MAX_WORD, word_language
from aimds.detect.normalize.vocabulary import next_word

ATBASH, REVERSED = 26, 27
MAX_LETTERS = 400
SAMPLE_LETTERS = 48
"""Letters that are judged, and by which one of all transformations is chosen."""
MIN_BY_LETTERS = 16
"""Letters from which a transformation is believed by its letters alone, without a known word."""
NATS_TURNED, NATS_BETTER_TURNED = 0.2, 0.35
NATS_EXCHANGED, NATS_BETTER_EXCHANGED = -0.3, 0.7
"""Log-odds a letter that the letters must have once turned or exchanged, and by how much they must be better than as
they stand: a language read backwards keeps more of its likely sequences than under a shift."""
NATS_PLAIN = 0.5
"""Log-odds a letter above which letters are those of a language as they stand."""
NATS_CHOICE = 8.0
"""Log-odds that all letters together must have besides when exchanged: the likeliest of many shifts of a few letters of
noise is likely too."""
MIN_NATS_LETTERS = 12.0
"""Log-odds by which all letters together must be better."""


@njit(cache=True, nogil=True)
def by_letters(values, start, stop, kind, limit, table, word):  # type: ignore[no-untyped-def]
    """(log-odds in nats that these are letters of a language, letters judged) of the first ``limit`` letters under
    ``kind``; ``word`` uint8 is overwritten."""
    odds = 0.0
    letters = 0
    i = start
    while letters < limit:
        begin, i, plain, _digits = next_word(values, i, stop)
        if begin >= stop:
            break
        # A letter by itself follows none.
        if plain < i - begin or not 1 < plain <= MAX_WORD:
            continue
        for k in range(plain):
            b = values[begin + k]
            if kind == REVERSED:
                word[plain - 1 - k] = b
            else:
                word[k] = 219 - b if kind == ATBASH else 97 + (b - 97 + kind) % 26
        odds += word_language(word, plain, table)
        letters += plain
    return odds, letters


@njit(cache=True, nogil=True)
def language(values, start, stop, exchanged, plain, letters, table, word):  # type: ignore[no-untyped-def]
    """The transformation under which the letters of ``values[start:stop]`` are those of a language, 0 for none.
    ``exchanged``: shifts are tried too. ``plain``, ``letters``: what `by_letters` gives of them as they stand."""
    if letters < MIN_BY_LETTERS:
        return 0
    turned, _ = by_letters(values, start, stop, REVERSED, MAX_LETTERS, table, word)
    better = max(MIN_NATS_LETTERS, NATS_BETTER_TURNED * letters)
    if turned >= NATS_TURNED * letters and turned >= plain + better:
        return REVERSED
    if not exchanged or plain > 0.0:
        return 0
    best = 0
    best_odds = -1e9
    for kind in range(1, REVERSED):
        odds, _ = by_letters(values, start, stop, kind, SAMPLE_LETTERS, table, word)
        if odds > best_odds:
            best, best_odds = kind, odds
    odds, _ = by_letters(values, start, stop, best, MAX_LETTERS, table, word)
    better = max(MIN_NATS_LETTERS, NATS_BETTER_EXCHANGED * letters)
    if odds >= NATS_EXCHANGED * letters + NATS_CHOICE and odds >= plain + better:
        return best
    return 0


@njit(cache=True, nogil=True)
def closer(values, i, high):  # type: ignore[no-untyped-def]
    """Bytes of the sign at ``i`` that ends a sentence (. ! ? 。 ؟ ۔ ।), 0 for everything else."""
    b = values[i]
    if b == 33 or b == 46 or b == 63:
        return 1
    if i + 2 <= high and ((b == 0xD8 and values[i + 1] == 0x9F) or (b == 0xDB and values[i + 1] == 0x94)):
        return 2
    if i + 3 <= high and b == 0xE3 and values[i + 1] == 0x80 and values[i + 2] == 0x82:
        return 3
    return 3 * (i + 3 <= high and b == 0xE0 and values[i + 1] == 0xA5 and values[i + 2] == 0xA4)


@njit(cache=True, nogil=True)
def ends_in_front(values, low, high):  # type: ignore[no-untyped-def]
    """Whether ``values[low:high]`` begins with the end of a sentence in another script than Latin, and does not end
    with one."""
    if high - low < MIN_BY_LETTERS:
        return False
    size = closer(values, low, high)
    if size == 0 or values[low + size] < 0xCE:
        return False
    last = False
    for n in range(1, 4):
        last |= closer(values, high - n, high) == n
    return not last
