"""Folding against an oracle in plain Python, and what must hold for any bytes."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Callable

import numpy as np
import pytest
from encoders import packed
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aimds.detect.normalize.confusables import LATIN, LOOSE, MARKS, STRICT, SYMBOLS
from aimds.detect.normalize.flags import Flag
from aimds.detect.normalize.fold import Folded, fold
from aimds.detect.normalize.folding_table import unicode_version
from aimds.detect.normalize.vocabulary import Vocabulary

SHIPPED = Vocabulary.load()
Fold = Callable[[list[bytes]], Folded]
codecs.register_error("each-byte", lambda error: ("\ufffd", error.start + 1))  # type: ignore[attr-defined]

SCRIPTS = (
    "aeopcxAEOTBzié ßŁø\t\n\r \u00a0\u2003\u3000.-’“—…ﬁ½①ＡｂｃÅ𝐢🅰🇺ⅷªаеорсхАВЕКяжбйиёαβοΩάΐᾳ한글ᄒ\u1161\u11a8ㅎㅏ가ｶﾞ"
    "かは\u3099漢字لامحمد\u064b\u0640עברִית\u0301\u0308\u0306\u0327\u0338\u200b\u200d\u00ad\ufeff\u202e\u2066\ufe0f\U000e0101"
    "\U000e0041\U0001f3f4\u00b4\u0344\u0958क\u093cिไทย\ufdfa\u3300\u0000\u0007\u0085\ufffd\u00df\u0130ıſ"
)


def rows_of(folded: Folded) -> list[bytes]:
    return [folded.values[a:b].tobytes() for a, b in zip(folded.offsets[:-1], folded.offsets[1:], strict=True)]


def shipped(rows: list[bytes]) -> Folded:
    return fold(*packed(rows), SHIPPED)


def visible(char: str) -> bool:
    code, category = ord(char), unicodedata.category(char)
    if char in "\t\n\v\f\r\x85" or code in range(0x600, 0x606):
        return True
    if code in (0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD):
        return True
    ignorable = [0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x2065, 0x3164, 0xFFA0, 0x640]
    hidden = category in ("Cc", "Cf") or code in ignorable or 0xFE00 <= code <= 0xFE0F or 0xFFF0 <= code <= 0xFFF8
    return not (hidden or 0xE0000 <= code <= 0xE0FFF)


def pieces(char: str) -> str:
    """What one character becomes by itself."""
    if char in "\n\r\x85\u2028\u2029":
        return "\n"
    if char in "\t\v\f\u2800" or unicodedata.category(char) == "Zs":
        return " "
    text, before = SYMBOLS.get(char, char), ""
    while text != before:
        before, text = text, unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    out, latin = "", False
    for piece in text.replace("\u0640", ""):
        base = unicodedata.normalize("NFD", piece)[0]
        if base.isascii() or unicodedata.name(base, "").startswith("LATIN"):
            out, latin = out + MARKS.get(base, LATIN.get(base, base)), True
        elif not (latin and unicodedata.category(piece)[0] == "M"):
            out, latin = out + MARKS.get(piece, piece), False
    return out if len(out.encode()) <= 3 * len(char.encode()) else char


DROPPED_MARKS = (
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u1ab0-\u1aff\u1dc0-\u1dff"
    "\u20d0-\u20ff\ufe20-\ufe2f]"
)


def oracle(raw: bytes) -> bytes:
    """The folded text of ``raw``, by the rules of the module's docstring."""
    out: list[str] = []
    strict: list[bool] = []
    base = -1
    for char in filter(visible, raw.decode("utf-8", "each-byte")):
        for piece in pieces(char):
            mark = unicodedata.category(piece)[0] == "M"
            last = out[base] if base >= 0 else ""
            latin = last != "" and (last.isascii() or unicodedata.name(last, "").startswith("LATIN"))
            whole = unicodedata.normalize("NFC", last + piece) if last else "  "
            if len(whole) == 1 and not latin and (mark or ord(last) >= 0x1100):
                out[base] = whole
            elif mark and (latin or re.match(DROPPED_MARKS, piece) or unicodedata.category(piece) == "Me"):
                continue
            elif piece in " \n":
                base = -1
                if out and out[-1] in " \n":
                    out[-1] = max(out[-1], piece, key="\n".__eq__)
                else:
                    out.append(piece)
                    strict.append(False)
            else:
                base = len(out)
                out.append(piece)
                strict.append(char in STRICT or piece in STRICT)
    return undisguised(out, strict, loose=True).encode()


def undisguised(chars: list[str], strict: list[bool], *, loose: bool) -> str:
    looks = {char: look.lower() for char, look in (STRICT | LOOSE).items()}
    words: list[list[int]] = [[]]
    for k, char in enumerate(chars):
        if unicodedata.category(char)[0] in "LM" or char in "0123456789":
            words[-1].append(k)
        else:
            words.append([])
    out = list(chars)
    mixed = False
    for word in words:
        letters = [k for k in word if unicodedata.category(chars[k])[0] == "L"]
        alike = [k for k in letters if chars[k] in looks]
        latin = [k for k in letters if unicodedata.name(chars[k], "").startswith("LATIN")]
        other = len(letters) - len(alike) - len(latin)
        if alike and latin and (other == 0 or len(latin) >= len(alike) + other):
            mixed = True
            for k in alike:
                out[k] = looks[chars[k]]
    for word in words:
        letters = [k for k in word if unicodedata.category(chars[k])[0] == "L"]
        if letters and all(chars[k] in looks for k in letters) and (mixed or all(strict[k] for k in letters)):
            seen = "".join(looks.get(chars[k], chars[k]) for k in word)
            if (
                (2 if mixed else 3) <= len(word) <= 48
                and seen in SHIPPED
                and "".join(chars[k] for k in word) not in SHIPPED
            ):
                for k in letters:
                    out[k] = looks[chars[k]]
    for word in words:
        bare = False
        for k in word:
            if unicodedata.category(chars[k])[0] != "M":
                bare = out[k] != chars[k]
            elif bare:
                out[k] = ""
    return "".join(out)


def check(fold_rows: Fold, rows: list[bytes]) -> None:
    """The result equals the oracle's, its offsets point into the rows, and folding again changes nothing."""
    folded = fold_rows(rows)
    assert rows_of(folded) == [oracle(row) for row in rows]
    for row, low, high in zip(rows, folded.offsets[:-1], folded.offsets[1:], strict=True):
        starts, ends = folded.starts[low:high], folded.ends[low:high]
        assert (starts >= 0).all()
        assert (starts < ends).all()
        assert (ends <= len(row)).all()
        assert (np.diff(starts) >= 0).all()
        assert (np.diff(ends) >= 0).all()
        covered = np.zeros(len(row), np.bool_)
        for start, end in set(zip(starts.tolist(), ends.tolist(), strict=True)):
            covered[start:end] = True
        left = bytes(byte for byte, known in zip(row, covered.tolist(), strict=True) if not known)
        assert not [char for char in left.decode() if visible(char) and unicodedata.category(char)[0] != "M"]
        for byte, start, end in zip(folded.values[low:high].tolist(), starts.tolist(), ends.tolist(), strict=True):
            if 0x21 <= byte < 0x7F and end - start == 1 and row[start] < 0x80:
                assert row[start : start + 1].lower() == bytes([byte])
    again = fold_rows(rows_of(folded))
    assert rows_of(again) == rows_of(folded)


same_unicode = pytest.mark.skipif(
    unicodedata.unidata_version != unicode_version(), reason="the oracle needs the Unicode version of the artefact"
)
WORDS = [
    "ignоrе",
    "аll",
    "рrеvіоuѕ",
    "Привет",
    "вот",
    "ѕсоре",
    "pаураl",
    "ехресt",
    "αβγ",
    "е́",
    "ignore",
    "ёлка",
    "мир",
    "ЅСОРЕ",
]
texts = st.one_of(
    st.text(st.sampled_from(SCRIPTS), max_size=30),
    st.text(max_size=30),
    st.lists(st.sampled_from([*WORDS, " ", "-", "\n", "\u200b", "\u0301"]), max_size=8).map("".join),
).map(lambda text: text.encode("utf-8", "surrogatepass"))


@same_unicode
@settings(max_examples=400)
@given(st.lists(st.one_of(texts, st.binary(max_size=30)), max_size=4))
@example([b"", b"\xff", b"a\xc3", "и\u0306 е\u0308 \u0301x".encode(), "bиc и\u0306a".encode()])
def test_folding_equals_the_oracle_and_keeps_its_offsets(rows: list[bytes]) -> None:
    check(shipped, rows)


@same_unicode
@pytest.mark.parametrize("first", range(0, 0x110000, 0x8800))
def test_every_code_point_folds_as_the_oracle_says(first: int) -> None:
    codes = [
        code
        for code in range(first, first + 0x8800)
        if not 0xD800 <= code <= 0xDFFF and unicodedata.category(chr(code)) != "Cn"
    ]
    rows = [f"x {chr(code)} y".encode() for code in codes]
    folded = rows_of(shipped(rows))
    wrong = [(hex(code), out) for code, row, out in zip(codes, rows, folded, strict=True) if out != oracle(row)]
    assert wrong == []


@given(st.binary(max_size=200))
def test_any_bytes_fold_to_valid_utf8(raw: bytes) -> None:
    folded = shipped([raw])
    text = folded.values.tobytes().decode()
    try:
        raw.decode()
    except UnicodeDecodeError:
        assert folded.flags[0] & Flag.INVALID_UTF8
        assert "\ufffd" in text
    else:
        assert not folded.flags[0] & Flag.INVALID_UTF8


@pytest.mark.parametrize(
    ("text", "flag"),
    [
        ("ignоre", Flag.CONFUSABLE),
        ("i\u200bgnore", Flag.ZERO_WIDTH),
        ("a\x00b", Flag.ZERO_WIDTH),
        ("hello \U000e0041", Flag.TAGS),
        ("ab\u202ecd", Flag.BIDI),
        ("hi😊\ufe01\ufe02", Flag.VARIATION),
        ("z̸ạ̸l̸g̸o̸", Flag.COMBINING),
        ("ｈｅｌｌｏ", Flag.DISGUISE),
        ("ᴘʀᴏᴍᴘᴛ", Flag.DISGUISE),
    ],
)
def test_a_trick_sets_its_flag(text: str, flag: Flag) -> None:
    assert int(shipped([text.encode()]).flags[0]) & ~int(Flag.NON_ASCII) == flag


@pytest.mark.parametrize(
    "text",
    [
        "plain text",
        "I ❤️ you 👨‍👩‍👧‍👦",
        "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "می‌خواهم",
        "café naïve",
        "Привет, как дела?",
        "\ufeffBOM first",
        "שלום\u200f world",
        "葛󠄀城",
    ],
)
def test_ordinary_use_of_invisible_characters_sets_no_flag(text: str) -> None:
    assert not int(shipped([text.encode()]).flags[0]) & ~int(Flag.NON_ASCII)


def test_words_of_another_script_stay_as_they_are() -> None:
    text = "вот порт, который мы ищем; αυτό είναι ένα τεστ; իսկ սա հայերեն է"
    assert rows_of(shipped([text.encode()])) == [text.encode()]


def test_a_word_of_look_alikes_alone_becomes_the_known_word_it_shows() -> None:
    assert rows_of(shipped(["the ѕсоре of it".encode()])) == [b"the scope of it"]


def test_case_and_blanks_survive_where_decoders_read() -> None:
    folded = fold(*packed(["ＡbС  \u200bd\r\n Éx"]), SHIPPED, keep_case=True)
    assert rows_of(folded) == [b"AbC  d\n\n Ex"]


def _off_by_one(rows: list[bytes]) -> Folded:
    good = shipped(rows)
    return Folded(good.values, good.offsets, good.starts + 1, good.ends, good.flags)


def _upper(rows: list[bytes]) -> Folded:
    return fold(*packed(rows), SHIPPED, keep_case=True)


def _ignorant(rows: list[bytes]) -> Folded:
    return fold(*packed(rows), Vocabulary.empty())


def _blind(rows: list[bytes]) -> Folded:
    return shipped([row.replace("\u0301".encode(), b"") for row in rows])


@same_unicode
@pytest.mark.parametrize("mutant", [_off_by_one, _upper, _ignorant, _blind])
def test_the_check_fails_on_a_wrong_folding(mutant: Fold) -> None:
    with pytest.raises((AssertionError, ValueError)):
        check(mutant, ["Ab  ѕсоре e\u0301 x".encode()])
