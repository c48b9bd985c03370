"""Check digits: documented vectors, and every single-digit change of a valid number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimds.detect.pii import checksums
from aimds.detect.pii.checksums import CHECKS

VALID = {
    "luhn": ["79927398713", "4111 1111 1111 1111"],
    "card": ["4111111111111111", "4111-1111-1111-1111", "378282246310005", "5555555555554444", "6011111111111117",
             "3530111333300000",             "30569309025904"],
    "iban": ["GB82 WEST 1234 5698 7654 32", "DE89370400440532013000", "FR1420041010050500013M02606", "NO9386011117947",
             "BR1800360305000010009795493C1", "mt84malt011000012345mtlcast001s"],
    "us_ssn": ["123-45-6789", "001-01-0001", "899-99-9999"],
    "us_itin": ["912-70-1234", "900-50-0000", "999999999"],
    "aba_routing": ["021000021", "011401533", "0910-0001-9"],
    "nhs": ["943 476 5919", "9434765919"],
    "nino": ["AB123456C", "ab 12 34 56 c"],
    "nif": ["12345678Z", "X1234567L", "x-1234567-l"],
    "codice_fiscale": ["RSSMRA85T10A562S", "MRTMTT91D08F205J"],
    "insee": ["255081416802538", "2 55 08 14 168 025 38"],
    "steuer_id": ["86095742719", "47036892816", "65929970489"],
    "pesel": ["44051401359", "02070803628"],
    "aadhaar": ["2341 2341 2346", "234567890124"],
    "cpf": ["111.444.777-35", "52998224725"],
    "cnpj": ["11.222.333/0001-81", "11444777000161"],
    "korean_rrn": ["900101-1234568"],
    "my_number": ["123456789018", "1234-5678-9018"],
    "chinese_id": ["11010519491231002X", "11010519491231002x", "440524188001010014"],
    "canadian_sin": ["130 692 544"],
    "australian_tfn": ["123 456 782", "123456782"],
    "australian_medicare": ["2123 45670 1"],
    "vin": ["1M8GDM9AXKP042788", "1HGCM82633A004352"],
    "base58check": ["1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy"],
    "bech32": ["bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
               "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0"],
    "mrz": ["L898902C36UTO7408122F1204159ZE184226B<<<<<10"],
    "imei": ["490154203237518", "49-015420-323751-8"],
}  # fmt: skip

INVALID = {
    "luhn": ["79927398710", "0000000000", "4", ""],
    "card": ["4111111111111112", "411111111111116", "9999999999999995", "1234567890123452"],
    "iban": ["GB82 WEST 1234 5698 7654 33", "GB82WEST123456987654", "XX82WEST12345698765432", "GBAAWEST12345698765432"],
    "us_ssn": ["000-12-3456", "666-12-3456", "900-12-3456", "123-00-4567", "123-45-0000", "078-05-1120", "111-11-1111",
               "12-345-678"],
    "us_itin": ["912-10-1234", "812-70-1234", "912-93-1234"],
    "aba_routing": ["021000022", "990000000", "000000000"],
    "nhs": ["943 476 5918", "0000000000", "94347659190"],
    "nino": ["QQ123456C", "GB123456A", "AO123456A", "AB123456E", "AB12345C"],
    "nif": ["12345678A", "X1234567A", "00000000T", "1234567Z"],
    "codice_fiscale": ["RSSMRA85T10A562T", "RSSMRA85Z10A562S", "RSSMRA85T10A562"],
    "insee": ["255081416802539", "355081416802538", "255151416802538"],
    "steuer_id": ["86095742710", "06095742719", "12345678901", "11111111111"],
    "pesel": ["44051401358", "44135401359", "44054001359"],
    "aadhaar": ["2341 2341 2347", "1341 2341 2346", "222222222222"],
    "cpf": ["111.444.777-36", "111.111.111-11"],
    "cnpj": ["11.222.333/0001-82", "00000000000000"],
    "korean_rrn": ["900101-1234567", "901301-1234568", "900101-9234568"],
    "my_number": ["123456789019", "000000000000"],
    "chinese_id": ["110105194912310021", "11010519491331002X", "11010517491231002X"],
    "canadian_sin": ["130 692 545", "046 454 286", "830692544"],
    "australian_tfn": ["123 456 783", "000 000 000"],
    "australian_medicare": ["2123 45671 1", "1123 45670 1"],
    "vin": ["1M8GDM9AXKP042789", "1M8GDM9AXKPO42788", "11111111111111111"],
    "base58check": ["1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb", "1A1zP1eP5QGefi2DMPTfTL5SLmv7Divf", "0OIl", ""],
    "bech32": ["bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5", "bc1Qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "bc1"],
    "mrz": ["L898902C36UTO7408122F1204158ZE184226B<<<<<10", "L898902C36UTO7408122F1204159"],
    "imei": ["490154203237519", "49015420323751"],
}  # fmt: skip

# Rules of form, not check digits: some single-digit changes stay valid.
FORM_ONLY = {"us_ssn", "us_itin", "nino"}
# Change only these characters: the rest of the number is outside the check.
CHECKED = {"mrz": range(10), "australian_medicare": range(9)}


def test_every_check_has_valid_and_invalid_vectors() -> None:
    assert set(VALID) == set(INVALID) == set(CHECKS)


@pytest.mark.parametrize(("name", "number"), [(n, v) for n, vs in VALID.items() for v in vs])
def test_a_documented_number_passes(name: str, number: str) -> None:
    assert CHECKS[name](number)


@pytest.mark.parametrize(("name", "number"), [(n, v) for n, vs in INVALID.items() for v in vs])
def test_a_wrong_number_fails(name: str, number: str) -> None:
    assert not CHECKS[name](number)


@pytest.mark.parametrize("name", sorted(set(VALID) - FORM_ONLY))
def test_any_change_of_one_digit_is_caught(name: str) -> None:
    number = VALID[name][0]
    places = [i for i, c in enumerate(number) if c.isdigit() and i in CHECKED.get(name, range(len(number)))]
    assert len(places) >= 7
    survived = [
        mutant
        for i in places
        for d in "0123456789"
        if d != number[i] and CHECKS[name](mutant := number[:i] + d + number[i + 1 :])
    ]
    assert survived == []


@pytest.mark.parametrize("name", ["aadhaar", "iban", "cpf", "nhs"])
def test_a_swap_of_neighbours_is_caught(name: str) -> None:
    number = VALID[name][-1 if name in ("aadhaar", "cpf", "nhs") else 1]
    swaps = [
        number[:i] + number[i + 1] + number[i] + number[i + 2 :]
        for i in range(len(number) - 1)
        if number[i] != number[i + 1]
    ]
    assert [s for s in swaps if CHECKS[name](s)] == []


def test_an_iban_of_the_wrong_length_for_its_country_fails_even_with_good_check_digits() -> None:
    body = "DE00" + "1" * 19
    value = int("".join(str(int(c, 36)) for c in body[4:] + body[:4]))
    wrong = f"DE{98 - value % 97:02d}" + "1" * 19
    assert int("".join(str(int(c, 36)) for c in wrong[4:] + wrong[:4])) % 97 == 1
    assert not checksums.iban(wrong)


@given(st.integers(2, 10**18))
def test_luhn_accepts_exactly_one_last_digit(body: int) -> None:
    good = [d for d in range(10) if checksums.luhn(f"{body}{d}")]
    assert len(good) <= 1
    assert good or len(set(str(body))) == 1


@given(st.text(max_size=60))
def test_no_check_raises_on_any_text(text: str) -> None:
    for check in CHECKS.values():
        assert check(text) in (True, False)
