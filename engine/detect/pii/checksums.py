"""Check digits and validity rules of identifiers: each function answers whether one candidate is well formed.

Every function takes the candidate as text, separators included, ignores what is not an ASCII letter or digit, never
raises, and is False for a wrong length. The rule's source stands in its docstring.
"""

from __future__ import annotations

from collections.abc import Callable

from aimds.detect.pii.check_digits import (
    alphanumerics,
    base58check,
    bech32,
    digits,
    luhn,
    mod_11_10,
    varied,
    verhoeff,
    weighted,
)

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


# (low prefix, high prefix, lengths) of the issuers in use: ISO/IEC 7812 ranges as the card schemes publish them.
_ISSUERS = (
    (4, 4, (13, 16, 19)), (51, 55, (16,)), (2221, 2720, (16,)), (34, 34, (15,)), (37, 37, (15,)),
    (300, 305, (14, 16, 19)), (3095, 3095, (14, 16, 19)), (36, 36, (14, 16, 19)), (38, 39, (14, 16, 19)),
    (6011, 6011, (16, 17, 18, 19)), (644, 649, (16, 17, 18, 19)), (65, 65, (16, 17, 18, 19)),
    (3528, 3589, (16, 17, 18, 19)), (2131, 2131, (15,)), (1800, 1800, (15,)), (62, 62, (16, 17, 18, 19)),
    (50, 50, (12, 13, 14, 15, 16, 17, 18, 19)), (56, 58, (12, 13, 14, 15, 16, 17, 18, 19)), (60, 60, (16,)),
    (63, 63, (12, 13, 14, 15, 16, 17, 18, 19)), (67, 67, (12, 13, 14, 15, 16, 17, 18, 19)),
    (2200, 2204, (16, 17, 18, 19)), (9792, 9792, (16,)),
)  # fmt: skip


def card(text: str) -> bool:
    """A payment card number: Luhn, and an issuer range with the right length (ISO/IEC 7812)."""
    number = "".join(map(str, digits(text)))
    if not luhn(number):
        return False
    return any(
        len(number) in lengths and low <= int(number[: len(str(low))]) <= high for low, high, lengths in _ISSUERS
    )


# Length of an IBAN per country (SWIFT IBAN registry).
IBAN_LENGTHS = {
    country: int(length)
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FI FO GL NL SD FK", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK", 21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL", 24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
        29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip


def iban(text: str) -> bool:
    """ISO 13616: length of the country and ISO 7064 MOD 97-10 equal to 1."""
    s = alphanumerics(text)
    if len(s) < 15 or IBAN_LENGTHS.get(s[:2]) != len(s) or not s[2:4].isdigit():
        return False
    return int("".join(str(int(c, 36)) for c in s[4:] + s[:4])) % 97 == 1


def us_ssn(text: str) -> bool:
    """SSA rules after 2011: area not 000, 666 or 9xx, group not 00, serial not 0000; advertised numbers are out."""
    d = digits(text)
    if len(d) != 9:
        return False
    s = "".join(map(str, d))
    if s in ("078051120", "219099999", "457555462") or not varied(d):
        return False
    return s[:3] not in ("000", "666") and s[0] != "9" and s[3:5] != "00" and s[5:] != "0000"


def us_itin(text: str) -> bool:
    """IRS: 9xx, fourth and fifth digits 50–65, 70–88, 90–92 or 94–99."""
    s = "".join(map(str, digits(text)))
    if len(s) != 9 or s[0] != "9":
        return False
    group = int(s[3:5])
    return 50 <= group <= 65 or 70 <= group <= 88 or 90 <= group <= 92 or 94 <= group <= 99


def aba_routing(text: str) -> bool:
    """ABA routing number: weights 3, 7, 1, sum a multiple of 10, and a first pair in use."""
    d = digits(text)
    if len(d) != 9 or not varied(d):
        return False
    first = d[0] * 10 + d[1]
    used = first <= 12 or 21 <= first <= 32 or 61 <= first <= 72 or first == 80
    return used and weighted(d, (3, 7, 1) * 3) % 10 == 0


def nhs(text: str) -> bool:
    """NHS number: MOD 11 with weights 10 to 2; a check digit of 10 is never issued."""
    d = digits(text)
    if len(d) != 10 or not varied(d):
        return False
    check = 11 - weighted(d, (10, 9, 8, 7, 6, 5, 4, 3, 2)) % 11
    return check != 10 and check % 11 == d[9]


def nino(text: str) -> bool:
    """UK National Insurance number: HMRC prefix rules (NIM39110), suffix A–D."""
    s = alphanumerics(text)
    if len(s) != 9 or not s[2:8].isdigit() or s[8] not in "ABCD" or not s[:2].isalpha():
        return False
    return s[0] not in "DFIQUV" and s[1] not in "DFIQUVO" and s[:2] not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")


def nif(text: str) -> bool:
    """Spanish NIF and NIE: the letter is the number modulo 23 (X, Y, Z of a NIE count as 0, 1, 2)."""
    s = alphanumerics(text)
    if len(s) != 9 or not s[8].isalpha():
        return False
    body = {"X": "0", "Y": "1", "Z": "2"}.get(s[0], s[0]) + s[1:8]
    return body.isdigit() and varied([int(c) for c in s[1:8]]) and "TRWAGMYFPDXBNJZSQVHLCKE"[int(body) % 23] == s[8]


_CF_ODD = dict(
    zip(
        "0123456789" + _LETTERS,
        (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21,
         2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23),
        strict=True,
    )
)  # fmt: skip


def codice_fiscale(text: str) -> bool:
    """Italian codice fiscale of a person: D.M. 23/12/1976 check letter over odd and even places."""
    s = alphanumerics(text)
    if len(s) != 16 or not s[:6].isalpha() or s[8] not in "ABCDEHLMPRST" or not s[15].isalpha():
        return False
    total = sum(_CF_ODD[c] if i % 2 == 0 else (int(c) if c.isdigit() else ord(c) - 65) for i, c in enumerate(s[:15]))
    return _LETTERS[total % 26] == s[15]


def insee(text: str) -> bool:
    """French NIR: key = 97 − number mod 97 (Corsica 2A and 2B count as 19 and 18), sex 1 or 2, a month in use."""
    s = alphanumerics(text)
    if len(s) != 15 or s[0] not in "12":
        return False
    body = s[:13].replace("2A", "19").replace("2B", "18") if s[5:7] in ("2A", "2B") else s[:13]
    if not (body.isdigit() and s[13:].isdigit()):
        return False
    month = int(body[3:5])
    return (1 <= month <= 12 or 20 <= month <= 42 or 50 <= month <= 99) and 97 - int(body) % 97 == int(s[13:])


def steuer_id(text: str) -> bool:
    """German tax id: § 139b AO, ISO 7064 MOD 11,10; in the first ten digits one digit occurs two or three times."""
    d = digits(text)
    if len(d) != 11 or d[0] == 0:
        return False
    counts = sorted((d[:10].count(x) for x in set(d[:10])), reverse=True)
    return counts[0] in (2, 3) and counts[1] == 1 and mod_11_10(d[:10]) == d[10]


def pesel(text: str) -> bool:
    """Polish PESEL: weights 1, 3, 7, 9 and a calendar date with the century in the month."""
    d = digits(text)
    if len(d) != 11 or not varied(d):
        return False
    month, day = d[2] * 10 + d[3], d[4] * 10 + d[5]
    return 1 <= month % 20 <= 12 and 1 <= day <= 31 and weighted(d, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)) % 10 == 0


def aadhaar(text: str) -> bool:
    """Indian Aadhaar (UIDAI): twelve digits, first 2–9, Verhoeff."""
    d = digits(text)
    return len(d) == 12 and d[0] > 1 and varied(d) and verhoeff(text)


def cpf(text: str) -> bool:
    """Brazilian CPF (Receita Federal): two MOD 11 digits."""
    d = digits(text)
    if len(d) != 11 or not varied(d):
        return False
    first = weighted(d, tuple(range(10, 1, -1))) * 10 % 11 % 10
    second = weighted(d, tuple(range(11, 1, -1))) * 10 % 11 % 10
    return first == d[9] and second == d[10]


def cnpj(text: str) -> bool:
    """Brazilian CNPJ (Receita Federal): two MOD 11 digits."""
    d = digits(text)
    if len(d) != 14 or not varied(d):
        return False
    weights = (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)
    checks = [weighted(d[:12], weights[1:]) % 11, weighted(d[:13], weights) % 11]
    return [0 if c < 2 else 11 - c for c in checks] == d[12:]


def _calendar(month: int, day: int) -> bool:
    return 1 <= month <= 12 and 1 <= day <= (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month - 1]


def korean_rrn(text: str) -> bool:
    """Korean resident number: calendar date, century digit 1–8, MOD 11 check digit (issued before October 2020)."""
    d = digits(text)
    if len(d) != 13 or not _calendar(d[2] * 10 + d[3], d[4] * 10 + d[5]) or not 1 <= d[6] <= 8:
        return False
    check = (11 - weighted(d, (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)) % 11) % 10
    return d[12] in (check, (check + 2) % 10 if d[6] in (5, 6, 7, 8) else check)


def my_number(text: str) -> bool:
    """Japanese Individual Number: MOD 11 with weights 2–7, 2–6 from the right (Ministry ordinance 85 of 2014)."""
    d = digits(text)
    if len(d) != 12 or not varied(d):
        return False
    rest = weighted(list(reversed(d[:11])), (2, 3, 4, 5, 6, 7, 2, 3, 4, 5, 6)) % 11
    return d[11] == (0 if rest <= 1 else 11 - rest)


def chinese_id(text: str) -> bool:
    """Chinese resident identity number: GB 11643-1999, ISO 7064 MOD 11-2, calendar date of birth."""
    s = alphanumerics(text)
    if len(s) != 18 or not s[:17].isdigit() or s[17] not in "0123456789X" or s[0] not in "12345678":
        return False
    if s[6:8] not in ("18", "19", "20") or not _calendar(int(s[10:12]), int(s[12:14])):
        return False
    total = weighted([int(c) for c in s[:17]], (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2))
    return "10X98765432"[total % 11] == s[17]


def canadian_sin(text: str) -> bool:
    """Canadian SIN: nine digits, first not 0 or 8, Luhn."""
    d = digits(text)
    return len(d) == 9 and d[0] not in (0, 8) and luhn(text)


def australian_tfn(text: str) -> bool:
    """Australian tax file number: weights 1, 4, 3, 7, 5, 8, 6, 9, 10, sum a multiple of 11."""
    d = digits(text)
    return len(d) == 9 and varied(d) and weighted(d, (1, 4, 3, 7, 5, 8, 6, 9, 10)) % 11 == 0


def australian_medicare(text: str) -> bool:
    """Australian Medicare card: first digit 2–6, weights 1, 3, 7, 9 over eight digits give the ninth."""
    d = digits(text)
    return len(d) in (10, 11) and 2 <= d[0] <= 6 and weighted(d, (1, 3, 7, 9, 1, 3, 7, 9)) % 10 == d[8]


def vin(text: str) -> bool:
    """Vehicle identification number: 49 CFR 565 transliteration, weights and check character in place nine."""
    s = alphanumerics(text)
    if len(s) != 17 or any(c in "IOQ" for c in s) or s.isdigit() or s.isalpha():
        return False
    letters = zip("ABCDEFGHJKLMNPRSTUVWXYZ", "12345678123457923456789", strict=True)
    value = {c: int(c) for c in "0123456789"} | {c: int(d) for c, d in letters}
    total = weighted([value[c] for c in s], (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2))
    return "0123456789X"[total % 11] == s[8]


def mrz(text: str) -> bool:
    """Second line of a passport's machine-readable zone: ICAO 9303-4, weights 7, 3, 1 over number, birth and expiry."""
    s = "".join(c for c in text.upper() if c == "<" or (c.isascii() and c.isalnum()))
    if len(s) != 44:
        return False
    value = [0 if c == "<" else int(c, 36) for c in s]
    fields = ((0, 9), (13, 19), (21, 27))
    return all(
        s[end].isdigit() and weighted(value[start:end], (7, 3, 1) * 3) % 10 == value[end] for start, end in fields
    )


def imei(text: str) -> bool:
    """IMEI: fifteen digits, Luhn (3GPP TS 23.003)."""
    return len(digits(text)) == 15 and luhn(text)


CHECKS: dict[str, Callable[[str], bool]] = {
    f.__name__: f
    for f in (
        luhn, card, iban, us_ssn, us_itin, aba_routing, nhs, nino, nif, codice_fiscale, insee, steuer_id, pesel,
        aadhaar, cpf, cnpj, korean_rrn, my_number, chinese_id, canadian_sin, australian_tfn, australian_medicare, vin,
        base58check, bech32, mrz, imei,
    )
}  # fmt: skip
"""Every check by name, as the patterns in ``data/pii.toml`` refer to it."""
