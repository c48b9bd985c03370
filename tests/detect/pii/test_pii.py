"""Personal data and secrets: exact spans in the original bytes, context, overlaps, decoded views, damaged artefacts."""

from __future__ import annotations

import base64
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimds import data
from aimds.detect.evidence import Span
from aimds.detect.normalize import Decoded, Views, normalize
from aimds.detect.pii import KINDS, Pii
from aimds.detect.texts import Texts
from aimds.errors import ArtefactError

KEY = "Zq8Xr2Vb7Nm4Kc9Ld3Fg6Hj1"  # random, belongs to nobody
PEM = "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIBogIBAAJBAKj34GkxFhD90vcNLYLInFEX6\n-----END RSA PRIVATE KEY-----"
MRZ = "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<\nL898902C36UTO7408122F1204159ZE184226B<<<<<10"


@pytest.fixture(scope="module")
def pii() -> Pii:
    return Pii.load()


def pack(rows: list[bytes]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    return np.frombuffer(b"".join(rows), np.uint8), offsets


def plain_views(rows: list[bytes], decoded: tuple[Decoded, ...] = ()) -> Views:
    """Views of depth 0 only, folded to themselves, plus ``decoded`` ones."""
    texts = [*rows, *(d.text for d in decoded)]
    values, offsets = pack(texts)
    n, total = len(rows), len(texts)
    places = [np.arange(len(t), dtype=np.int32) for t in rows]
    starts = np.concatenate([*places, *(d.starts for d in decoded)]).astype(np.int32)
    ends = np.concatenate([*(p + 1 for p in places), *(d.ends for d in decoded)]).astype(np.int32)
    return Views(
        rows=np.array([*range(n), *(d.row for d in decoded)], np.int32),
        kinds=np.zeros(total, np.uint8),
        depths=np.array([0] * n + [1] * len(decoded), np.uint8),
        values=values,
        offsets=offsets,
        starts=starts,
        ends=ends,
        decoded=decoded,
        flags=np.zeros(n, np.uint32),
        truncated=np.zeros(n, np.bool_),
    )


def scan(pii: Pii, *rows: str | bytes) -> list[Span]:
    raw = [r.encode() if isinstance(r, str) else r for r in rows]
    values, offsets = pack(raw)
    return pii.scan((values, offsets), normalize(values, offsets))


def found(pii: Pii, text: str) -> list[tuple[str, str]]:
    raw = text.encode()
    return [(s.kind, raw[s.start : s.end].decode()) for s in scan(pii, text)]


FOUND = [
    ("EMAIL", "write to ", "anna.b+x@mail.example.com", ", please"),
    ("EMAIL", "an jürgen: ", "jürgen.m@example.org", "."),
    ("PHONE", "call ", "+1 (202) 555-0143", " today"),
    ("PHONE", "ring ", "+44 20 7946 0958", ""),
    ("PHONE", "or ", "(202) 555-0143", " x"),
    ("PHONE", "Desk: ", "202-555-0143x0139", "\n"),
    ("PHONE", "Fax: ", "259.735.7502x459", ""),
    ("PHONE", "Phone: ", "555 0143 22", ""),
    ("PHONE", "我的手机号码是", "13800138000", "。"),
    ("CREDIT_CARD", "card ", "4111 1111 1111 1111", " exp 10/27"),
    ("CREDIT_CARD", "paid with ", "378282246310005", ""),
    ("IBAN", "to ", "GB82 WEST 1234 5698 7654 32", " now"),
    ("IBAN", "to ", "DE89370400440532013000", "."),
    ("SWIFT_BIC", "SWIFT: ", "DEUTDEFF500", ""),
    ("BANK_ACCOUNT", "Account: ", "10371982", " |"),
    ("US_ROUTING_NUMBER", "routing number ", "021000021", ""),
    ("US_SSN", "SSN: ", "123-45-6789", ""),
    ("US_SSN", "social security number ", "123456789", ""),
    ("US_ITIN", "ITIN ", "912-70-1234", ""),
    ("US_EIN", "EIN: ", "12-3456789", ""),
    ("US_PASSPORT", "US passport ", "A12345678", ""),
    ("PASSPORT", "Passport: ", "C01X00T47", ""),
    ("PASSPORT_MRZ", "", MRZ, ""),
    ("DRIVER_LICENSE", "driver's license number is ", "D61014070", ""),
    ("UK_NHS", "NHS number ", "943 476 5919", ""),
    ("UK_NINO", "NI number ", "AB 12 34 56 C", ""),
    ("ES_NIF", "DNI ", "12345678Z", ""),
    ("ES_NIF", "NIE ", "X1234567L", ""),
    ("IT_CODICE_FISCALE", "cf ", "RSSMRA85T10A562S", ""),
    ("FR_INSEE", "sécu ", "2 55 08 14 168 025 38", ""),
    ("DE_STEUER_ID", "Steuer-ID: ", "86 095 742 719", ""),
    ("PL_PESEL", "PESEL ", "44051401359", ""),
    ("IN_AADHAAR", "Aadhaar ", "2341 2341 2346", ""),
    ("IN_PAN", "PAN ", "ABCPE1234F", ""),
    ("BR_CPF", "CPF ", "111.444.777-35", ""),
    ("BR_CNPJ", "CNPJ ", "11.222.333/0001-81", ""),
    ("KR_RRN", "주민등록번호 ", "900101-1234568", ""),
    ("JP_MY_NUMBER", "マイナンバー ", "1234 5678 9018", ""),
    ("CN_RESIDENT_ID", "身份证号", "11010519491231002X", "。"),
    ("CA_SIN", "SIN: ", "130 692 544", ""),
    ("AU_TFN", "TFN ", "123 456 782", ""),
    ("AU_MEDICARE", "Medicare ", "2123 45670 1", ""),
    ("DATE_OF_BIRTH", "DOB: ", "1982-03-11", ""),
    ("DATE_OF_BIRTH", "born on ", "8 August 1981", " in"),
    ("IP_ADDRESS", "from ", "198.51.100.23", "."),
    ("IP_ADDRESS", "via ", "2001:db8:85a3::8a2e:370:7334", " ok"),
    ("MAC_ADDRESS", "mac ", "02:00:5e:10:00:01", ""),
    ("IMEI", "IMEI ", "490154203237518", ""),
    ("VIN", "VIN ", "1M8GDM9AXKP042788", ""),
    ("COORDINATES", "GPS ", "52.52000, 13.40500", ""),
    ("CRYPTO_WALLET", "pay ", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", ""),
    ("CRYPTO_WALLET", "pay ", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", ""),
    ("CRYPTO_WALLET", "pay ", "0x52908400098527886E0F7030069857D2E4169EE7", ""),
    ("URL_CREDENTIALS", "postgres://", "app:s3cret-9", "@db.example.com/x"),
    ("PASSWORD", "password: ", "hunter2", ""),
    ("PASSWORD", "dbPass: '", "RSKkykwP", "'"),
    ("PASSWORD", "IDENTIFIED BY '", "KTy%PrKPs9", "';"),
    ("GENERIC_SECRET", "api_key = '", KEY, "'"),
    ("BEARER_TOKEN", "Authorization: Bearer ", KEY, ""),
    ("AWS_ACCESS_KEY", "", "AKIA" + "IOSFODNN7EXAMPLE", ""),
    ("AWS_SECRET_KEY", "aws_secret_access_key = ", "Zq8Xr2Vb7Nm4Kc9Ld3Fg6Hj1/Ty5Wp0Us+AeBiCo", "\n"),
    ("GCP_API_KEY", "", "AIza" + "Sy" + KEY + "bWdYfUhSj", ""),
    ("AZURE_KEY", "AccountKey=", KEY * 2 + "==", ";"),
    ("GITHUB_TOKEN", "", "ghp" + "_" + KEY + "bWdYfUhSjQkL", ""),
    ("GITLAB_TOKEN", "", "glpat" + "-" + KEY, ""),
    ("SLACK_TOKEN", "", "xoxb" + "-210987654321-" + KEY, ""),
    ("STRIPE_KEY", "", "sk" + "_live_" + KEY, ""),
    ("OPENAI_KEY", "", "sk" + "-proj-" + KEY, ""),
    ("ANTHROPIC_KEY", "", "sk" + "-ant-api03-" + KEY + "AA", ""),
    ("VENDOR_KEY", "", "npm" + "_" + KEY + "bWdYfUhSjQkL", ""),
    ("JWT", "", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl", ""),
    ("PRIVATE_KEY", "k ", PEM, " x"),
    ("MEDICAL_RECORD_NUMBER", "MRN: ", "MRN-1027667", ")"),
    ("NATIONAL_ID", "National ID: ", "NID-284464804", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "before", "value", "after"), FOUND, ids=[f"{k}-{i}" for i, (k, *_) in enumerate(FOUND)]
)
def test_a_value_is_found_with_its_exact_ends(pii: Pii, kind: str, before: str, value: str, after: str) -> None:
    text = before + value + after
    spans = [s for s in scan(pii, text) if s.kind == kind]
    assert [text.encode()[s.start : s.end].decode() for s in spans] == [value]


@pytest.mark.parametrize("prefix", ["日本語 🎉 ", "ñandú — ", "\u200b\u200b"])
def test_offsets_are_bytes_of_the_original_behind_multi_byte_text(pii: Pii, prefix: str) -> None:
    text = prefix + "mail anna@example.com"
    raw = text.encode()
    spans = [s for s in scan(pii, text) if s.kind == "EMAIL"]
    assert [(s.start, s.end) for s in spans] == [(raw.index(b"anna"), len(raw))]


def test_every_kind_is_found_by_some_example() -> None:
    assert {kind for kind, *_ in FOUND} == set(KINDS)


@pytest.mark.parametrize(
    "text",
    [
        "call me at 5 pm on 2024-05-06 or 12/11/2023",
        "version 1.2.3.4 of the library, see RFC 5322 and ISO 8601-1:2019",
        "pi is 3.14159265358979323846 and e is 2.718281828459045",
        "4111 1111 1111 1112 was mistyped",
        "loopback 127.0.0.1, mask 255.255.255.0, any 0.0.0.0",
        "def f(self, password): return self.password",
        "password = os.environ['PASSWORD']",
        "api_key = 'YOUR_API_KEY_GOES_HERE'",
        "the token is a word in a sentence",
        "@decorator and std::vector<int> and a[::2] and 10:30:45",
        "icon@2x.png",
        "order 123456789, part 987-65-432",
        "SELECT * FROM t WHERE id = 1234567890123",
        "the passport office opens at nine",
        "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16",
    ],
)
def test_look_alikes_are_left_alone(pii: Pii, text: str) -> None:
    assert found(pii, text) == []


def test_a_number_without_context_needs_its_checksum_and_one_with_context_may_fail_it(pii: Pii) -> None:
    assert found(pii, "see 666-12-3456") == []
    assert found(pii, "my SSN is 666-12-3456") == [("US_SSN", "666-12-3456")]
    bare, named = scan(pii, "see 123-45-6789", "my SSN is 123-45-6789")
    assert bare.score < named.score


def test_context_must_be_near_and_a_whole_word(pii: Pii) -> None:
    assert found(pii, "passport" + " word" * 20 + " 123456789") == []
    assert found(pii, "mypassportish 123456789") == []
    assert found(pii, "Passport: 123456789") == [("PASSPORT", "123456789")]


def test_a_birth_date_is_the_first_date_behind_its_context_only(pii: Pii) -> None:
    assert found(pii, "DOB: 1964-07-27\n2025-01-15: statement") == [("DATE_OF_BIRTH", "1964-07-27")]


def test_spans_do_not_overlap_and_the_more_specific_kind_stays(pii: Pii) -> None:
    text = "postgres://bob:pa55word@db.example.com and IBAN GB82 WEST 1234 5698 7654 32"
    assert found(pii, text) == [("URL_CREDENTIALS", "bob:pa55word"), ("IBAN", "GB82 WEST 1234 5698 7654 32")]


def test_neighbours_that_share_one_separator_are_both_found(pii: Pii) -> None:
    assert found(pii, "a@example.com b@example.com,c@example.com") == [
        ("EMAIL", "a@example.com"), ("EMAIL", "b@example.com"), ("EMAIL", "c@example.com"),
    ]  # fmt: skip


def test_a_span_in_a_decoded_view_maps_back_to_the_encoded_bytes(pii: Pii) -> None:
    inner = b"ssn 123-45-6789"
    text = b"run " + base64.b64encode(inner)
    begins = np.array([4 + i * 4 // 3 for i in range(len(inner))], np.int32)
    decoded = Decoded(view=1, row=0, kind="base64", depth=1, text=inner, starts=begins, ends=begins + 2)
    spans = pii.scan(pack([text]), plain_views([text], (decoded,)))
    assert [(s.kind, s.start, s.end) for s in spans] == [("US_SSN", int(begins[4]), int(begins[14]) + 2)]


def test_a_number_hidden_behind_full_width_digits_is_found(pii: Pii) -> None:
    value = "".join(chr(ord(c) + 0xFEE0) for c in "4111111111111111")
    assert found(pii, f"card {value} ok") == [("CREDIT_CARD", value)]


def test_a_row_never_depends_on_its_neighbours_or_its_place(pii: Pii) -> None:
    rows = [before + value + after for _, before, value, after in FOUND]
    alone = {row: [(s.start, s.end, s.kind, s.score) for s in scan(pii, row)] for row in rows}
    for order in (rows, rows[::-1], rows[1::2] + rows[::2]):
        spans = scan(pii, *order)
        assert [s.row for s in spans] == sorted(s.row for s in spans)
        for i, row in enumerate(order):
            assert [(s.start, s.end, s.kind, s.score) for s in spans if s.row == i] == alone[row]


def test_no_match_crosses_from_one_row_into_the_next(pii: Pii) -> None:
    assert scan(pii, "anna@exam", "ple.com", "SSN: 123-45", "-6789") == []


def test_a_batch_of_nothing_and_empty_rows_has_no_spans(pii: Pii) -> None:
    assert scan(pii) == []
    assert scan(pii, "", "", "") == []


def test_invalid_utf8_does_not_hide_what_stands_beside_it(pii: Pii) -> None:
    raw = b"\xff\xfe\x80 mail anna@example.com \xc3("
    (span,) = scan(pii, raw)
    assert raw[span.start : span.end] == b"anna@example.com"


@settings(max_examples=80)
@given(st.lists(st.binary(max_size=120), max_size=5))
def test_arbitrary_bytes_never_raise_and_spans_lie_in_their_row(rows: list[bytes]) -> None:
    pii = Pii.load()
    values, offsets = pack(rows)
    spans = pii.scan((values, offsets), normalize(values, offsets))
    assert all(0 <= s.start < s.end <= len(rows[s.row]) and s.kind in KINDS and 0 < s.score <= 1 for s in spans)


@settings(max_examples=60)
@given(st.lists(st.sampled_from([v for _, _, v, _ in FOUND] + [" ", "ssn ", "card ", ", ", "é", "\n"]), max_size=8))
def test_spans_of_one_row_are_ordered_and_disjoint(parts: list[str]) -> None:
    spans = scan(Pii.load(), "".join(parts))
    assert all(a.end <= b.start for a, b in itertools.pairwise(spans))


def test_kinds_say_which_are_secrets() -> None:
    assert KINDS["AWS_ACCESS_KEY"].secret
    assert not KINDS["EMAIL"].secret
    assert all(kind.name == name and kind.title for name, kind in KINDS.items())


def write(tmp_path: Path, old: str, new: str) -> Path:
    text = data.read_bytes("pii.toml").decode()
    assert old in text
    path = tmp_path / "pii.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('check = "email"', 'check = "emial"', "unknown check 'emial'"),
        ("needs = [{ at = 1 }]", "needs = [{ att = 1 }]", "unknown feature"),
        ('context = "phone"', 'context = "fone"', "unknown context 'fone'"),
        ("score = 0.99", "score = 0.99\nscroe = 1", "unknown field scroe"),
        ("(?i)(\\b[A-Z]{2}\\d{2}", "(?i)((\\b[A-Z]{2}\\d{2}", "broken regex"),
        ('[[kind]]\nname = "PHONE"', '[[kind]]\nname = "EMAIL"', "EMAIL is there twice"),
        ('version = "1"', "version = ", "not TOML"),
    ],
)
def test_a_damaged_file_is_refused_and_the_row_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(ArtefactError, match=r"pii\.toml") as caught:
        Pii.load(write(tmp_path, old, new))
    assert said in str(caught.value)


def test_the_version_is_that_of_the_bytes(tmp_path: Path, pii: Pii) -> None:
    assert Pii.load().version == pii.version
    assert Pii.load(write(tmp_path, "score = 0.99", "score = 0.98")).version != pii.version


def test_an_arrow_column_scans_like_its_rows(pii: Pii) -> None:
    texts = Texts.from_arrow(
        pa.array(["x", "mail anna@example.com", json.dumps({"ip": "198.51.100.23"})], pa.large_string())
    )
    spans = pii.scan((texts.values, texts.offsets), normalize(texts.values, texts.offsets))
    assert [(s.row, s.kind) for s in spans] == [(1, "EMAIL"), (2, "IP_ADDRESS")]
