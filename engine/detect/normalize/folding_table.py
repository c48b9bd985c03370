"""What each code point folds to: built from `unicodedata`, shipped as ``folding.npz``.

The table is shipped, not built at start, because a verdict must not depend on the Unicode version of the running
Python. Sources: Unicode Standard Annex 15 (normalisation forms), Unicode Technical Standard 39 (confusable detection),
DerivedCoreProperties (Default_Ignorable_Code_Point); the look-alikes are those of `aimds.detect.normalize.confusables`.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aimds import data
from aimds.detect.normalize.confusables import LATIN, LOOSE, MARKS, PHONETIC, STRICT, SYMBOLS

ARTEFACT = "folding.npz"
PAGES = 0x110000 >> 8

TATWEEL = "\u0640"
"""Arabic stretching; carries no meaning."""

LETTER, LATIN_LETTER, MARK, DIACRITIC, SPACE, NEWLINE = 1, 2, 4, 8, 16, 32
INVISIBLE, BIDI, TAG, VARIATION, LOOKALIKE, DISGUISE = 64, 128, 256, 512, 1024, 2048
"""Class bits. DIACRITIC: a mark that falls away unless it composes. LOOKALIKE: strict. DISGUISE: folds to an ASCII
letter or digit that is not its plain self (full width, mathematical, circled, phonetic …).
"""

MAX_GROWTH = 3
"""No code point folds to more than this many times its own UTF-8 bytes; so a buffer of 3 N always suffices."""


class Table(NamedTuple):
    """Folding as the kernels read it. A code point ``c`` stands at ``page[c >> 8], c & 255``.

    ``page`` uint16 (4352,) · ``classes`` uint16 (P, 256) · ``maps`` uint16 (P, 256): 0 keeps the code point, m > 0
    replaces it with ``pool[bounds[m - 1]:bounds[m]]`` (uint32 code points) · ``looks`` uint8 (P, 256): ASCII letter
    or 0 · ``ascii`` uint8 (128,), 0 for dropped · ``pairs`` uint64 (Q,) ascending ``first << 21 | mark`` and
    ``composed`` uint32 (Q,).
    """

    page: npt.NDArray[np.uint16]
    classes: npt.NDArray[np.uint16]
    maps: npt.NDArray[np.uint16]
    looks: npt.NDArray[np.uint8]
    bounds: npt.NDArray[np.int32]
    pool: npt.NDArray[np.uint32]
    ascii: npt.NDArray[np.uint8]
    pairs: npt.NDArray[np.uint64]
    composed: npt.NDArray[np.uint32]


def class_of(char: str) -> int:
    """Class bits of one character."""
    code, category = ord(char), unicodedata.category(char)
    if 0xE0000 <= code <= 0xE007F:
        return TAG
    if 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF:
        return VARIATION
    if 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069:
        return BIDI
    if char in "\n\r\x85\u2028\u2029":
        return NEWLINE
    if category == "Zs" or char in "\t\v\f\u2800":
        return SPACE
    if _is_invisible(code, category):
        return INVISIBLE
    if category in ("Cn", "Co"):
        return 0
    bits = 0
    if category[0] == "L":
        bits |= LETTER
        if _is_latin(char):
            bits |= LATIN_LETTER
    if category[0] == "M":
        bits |= MARK | (DIACRITIC if _is_diacritic(code, category) else 0)
    if char in STRICT:
        bits |= LOOKALIKE
    folded = fold_char(char, keep_case=False)
    if code > 127 and folded.isascii() and folded.isalnum() and _is_disguise(char):
        bits |= DISGUISE
    return bits


def _is_latin(char: str) -> bool:
    # Ideographs and syllables from U+2E80 to U+A4CF and Hangul are most of the code space and never Latin.
    return not (
        0x2E80 <= ord(char) <= 0xA4CF or 0xAC00 <= ord(char) <= 0xD7A3 or ord(char) > 0x1F200
    ) and unicodedata.name(char, "").startswith("LATIN")


def _is_invisible(code: int, category: str) -> bool:
    if category == "Cc":
        return True
    if category == "Cf":
        return not (0x600 <= code <= 0x605 or code in (0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD))
    ignorable = (
        0x34F,
        0x115F,
        0x1160,
        0x17B4,
        0x17B5,
        0x180B,
        0x180C,
        0x180D,
        0x180F,
        0x2065,
        0x3164,
        0xFFA0,
        ord(TATWEEL),
    )
    return code in ignorable or 0xFFF0 <= code <= 0xFFF8 or 0xE0080 <= code <= 0xE0FFF


def _is_diacritic(code: int, category: str) -> bool:
    blocks = (
        (0x300, 0x36F), (0x483, 0x489), (0x591, 0x5C7), (0x610, 0x61A), (0x64B, 0x65F), (0x670, 0x670), (0x6D6, 0x6ED),
        (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x20D0, 0x20FF), (0xFE20, 0xFE2F),
    )  # fmt: skip
    return category == "Me" or any(first <= code <= last for first, last in blocks)


def _is_disguise(char: str) -> bool:
    return char in SYMBOLS or char.lower() in PHONETIC or unicodedata.decomposition(char).startswith("<")


def fold_char(char: str, *, keep_case: bool) -> str:
    """What one visible character becomes, before composition with its neighbours."""
    text = unicodedata.normalize("NFKC", SYMBOLS.get(char, char))
    while not keep_case and (lower := unicodedata.normalize("NFKC", text.casefold())) != text:
        text = lower
    out: list[str] = []
    after_latin = False
    for piece in text:
        base = unicodedata.normalize("NFD", piece)[0]
        if base.isascii() or _is_latin(base):
            plain = LATIN.get(base.lower(), base.lower())
            out.append(MARKS.get(base) or (plain.upper() if base != base.lower() and keep_case else plain))
            after_latin = True
        elif piece == TATWEEL:
            continue
        elif not (after_latin and unicodedata.category(piece)[0] == "M"):
            out.append(MARKS.get(piece, piece))
            after_latin = False
    folded = "".join(out)
    too_long = len(folded.encode()) > MAX_GROWTH * len(char.encode())
    return char if too_long else folded


def _look_of(char: str, *, keep_case: bool) -> int:
    if keep_case:
        look = STRICT.get(char) or LOOSE.get(char) or LOOSE.get(char.lower(), "").upper()
    else:
        look = LOOSE.get(char) or STRICT.get(char, "").lower()
    return ord(look) if look else 0


def build(*, keep_case: bool = False) -> Table:
    """The table, from the Unicode version of the running Python; takes seconds."""
    page = np.zeros(PAGES, np.uint16)
    rows: list[tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint16], npt.NDArray[np.uint8]]] = []
    seen: dict[bytes, int] = {}
    pool: list[int] = []
    bounds = [0]
    index_of: dict[str, int] = {}
    for number in range(PAGES):
        classes, maps, looks = np.zeros(256, np.uint16), np.zeros(256, np.uint16), np.zeros(256, np.uint8)
        for low in range(256):
            char = chr(number << 8 | low)
            if unicodedata.category(char) == "Cs":
                continue
            classes[low] = class_of(char)
            if unicodedata.category(char) in ("Cn", "Co"):
                continue
            looks[low] = _look_of(char, keep_case=keep_case)
            folded = fold_char(char, keep_case=keep_case)
            if folded != char and not classes[low] & (SPACE | NEWLINE | INVISIBLE | BIDI | TAG | VARIATION):
                if folded not in index_of:
                    pool.extend(map(ord, folded))
                    bounds.append(len(pool))
                    index_of[folded] = len(bounds) - 1
                maps[low] = index_of[folded]
        key = classes.tobytes() + maps.tobytes() + looks.tobytes()
        if key not in seen:
            seen[key] = len(rows)
            rows.append((classes, maps, looks))
        page[number] = seen[key]
    pairs = sorted(_pairs())
    return Table(
        page=page,
        classes=np.stack([row[0] for row in rows]),
        maps=np.stack([row[1] for row in rows]),
        looks=np.stack([row[2] for row in rows]),
        bounds=np.array(bounds, np.int32),
        pool=np.array(pool, np.uint32),
        ascii=_ascii(keep_case=keep_case),
        pairs=np.array([first << 21 | mark for first, mark, _ in pairs], np.uint64),
        composed=np.array([made for _, _, made in pairs], np.uint32),
    )


def _ascii(*, keep_case: bool) -> npt.NDArray[np.uint8]:
    out = np.zeros(128, np.uint8)
    for code in range(128):
        bits = class_of(chr(code))
        plain = MARKS.get(chr(code)) or (chr(code) if keep_case else chr(code).lower())
        out[code] = 10 if bits & NEWLINE else 32 if bits & SPACE else 0 if bits & INVISIBLE else ord(plain)
    return out


def _pairs() -> list[tuple[int, int, int]]:
    # Composites of two code points outside Latin; Latin drops its marks, Hangul syllables are computed.
    found = []
    for code in range(0x80, 0x110000):
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) != 2 or parts[0].startswith("<") or unicodedata.normalize("NFC", chr(code)) != chr(code):
            continue
        first, mark = int(parts[0], 16), int(parts[1], 16)
        if not class_of(chr(code)) & LATIN_LETTER and fold_char(chr(code), keep_case=True) == chr(code):
            found.append((first, mark, code))
    return found


def build_folding_file(path: Path) -> None:
    """Write ``folding.npz``: the lower-casing and the case-keeping table, and the Unicode version behind them."""
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "unicode": np.frombuffer(unicodedata.unidata_version.encode(), np.uint8)
    }
    for prefix, keep_case in (("lower", False), ("kept", True)):
        table = build(keep_case=keep_case)
        arrays |= {f"{prefix}_{name}": array for name, array in table._asdict().items()}
    np.savez_compressed(path, allow_pickle=False, **arrays)


@cache
def load() -> tuple[Table, Table]:
    """The shipped tables: (lower case, case kept)."""
    arrays = data.read_arrays(ARTEFACT)
    lower, kept = (
        Table(*(np.ascontiguousarray(arrays[f"{prefix}_{name}"]) for name in Table._fields))
        for prefix in ("lower", "kept")
    )
    return lower, kept


def unicode_version() -> str:
    """The Unicode version of the shipped tables."""
    return data.read_arrays(ARTEFACT)["unicode"].tobytes().decode()
