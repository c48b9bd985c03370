"""Plausibility of contact data, addresses of machines and dates: rules of form where no check digit exists.

Every function takes the candidate as text, never raises, and answers whether it can be what its name says.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from aimds.detect.pii.check_digits import alphanumerics, digits
from aimds.detect.pii.checksums import IBAN_LENGTHS

# Endings that are files or code, not top-level domains, in the shape name@2x.png or user@module.py.
_ENDINGS = (
    "png jpg jpeg gif svg webp bmp ico pdf css js ts jsx tsx json xml html htm php py rb go rs java cpp md txt csv sh "
    "yml yaml toml"
)
_FILE_ENDINGS = frozenset(_ENDINGS.split())

# E.164 country codes (ITU-T, Operational Bulletin): one digit, two digits, three digits by their first two.
_TWO_DIGITS = (
    "20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84 86 90 "
    "91 92 93 94 95 98"
)
_THREE_DIGITS = "21 22 23 24 25 26 29 35 37 38 42 50 59 67 68 69 80 85 87 88 96 97 99"
_COUNTRY_1 = frozenset("17")
_COUNTRY_2 = frozenset(_TWO_DIGITS.split())
_COUNTRY_3 = frozenset(_THREE_DIGITS.split())

# ISO 3166-1 alpha-2, for SWIFT/BIC (ISO 9362).
_ISO_3166 = (
    "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ "
    "CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO "
    "FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE "
    "JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO "
    "MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW "
    "PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM "
    "TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW "
)
_COUNTRIES = frozenset(_ISO_3166.split())


def email(text: str) -> bool:
    """RFC 5321 lengths, no empty label, and an ending that is not a file's."""
    local, _, domain = text.rpartition("@")
    labels = domain.split(".")
    if not 0 < len(local) <= 64 or len(domain) > 253 or local[0] == "." or local[-1] == "." or ".." in local:
        return False
    if any(not 0 < len(x) <= 63 or x[0] == "-" or x[-1] == "-" for x in labels):
        return False
    return labels[-1].lower() not in _FILE_ENDINGS


def _telephone(text: str, low: int, high: int) -> bool:
    d = digits(text)
    return low <= len(d) <= high and len(set(d)) > 2


def phone_international(text: str) -> bool:
    """E.164: a country code in use, 8 to 15 digits; after 00 instead of + a separator must show the grouping."""
    number = "".join(map(str, digits(text)))
    if not text.lstrip(" (").startswith("+"):
        if not number.startswith("00") or text.isdigit():
            return False
        number = number[2:]
    known = number[:1] in _COUNTRY_1 or number[:2] in _COUNTRY_2 or number[:2] in _COUNTRY_3
    return known and 8 <= len(number) <= 15 and len(set(number)) > 2


def phone_nanp(text: str) -> bool:
    """North American Numbering Plan: area and exchange begin with 2–9 and are not N11."""
    d = digits(text.split("x")[0].split("e")[0])
    d = d[1:] if len(d) == 11 and d[0] == 1 else d
    return len(d) == 10 and d[0] > 1 and d[3] > 1 and d[1:3] != [1, 1] and d[4:6] != [1, 1] and len(set(d)) > 2


def phone_national(text: str) -> bool:
    """Seven to fifteen digits, grouped or not, that do not read as a calendar date."""
    parts = [p for p in text.replace("/", "-").replace(".", "-").split("-") if p.strip()]
    if len(parts) == 3 and any(len(p) == 4 and p[:2] in ("19", "20") for p in (parts[0], parts[2])):
        return False
    return _telephone(text, 7, 15)


def ipv4(text: str) -> bool:
    """A routable or private IPv4 address: octets up to 255 without leading zeros; no loopback, unspecified, mask."""
    octets = text.split(".")
    if len(octets) != 4 or any(not o.isdigit() or int(o) > 255 or (len(o) > 1 and o[0] == "0") for o in octets):
        return False
    return octets[0] not in ("0", "255") and octets[:3] != ["127", "0", "0"] and any(len(o) > 1 for o in octets)


def ipv6(text: str) -> bool:
    """RFC 4291 text form of a unicast address with at least three groups and a decimal digit."""
    if text.count(":") < 3 or not any(c.isdigit() for c in text):
        return False
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified or address.is_multicast)


def mac(text: str) -> bool:
    """IEEE 802 address: twelve hexadecimal digits, neither null nor broadcast."""
    s = alphanumerics(text)
    return len(s) == 12 and len(set(s)) > 1


def swift(text: str) -> bool:
    """ISO 9362: four letters, a country in use, two or five more."""
    return len(text) in (8, 11) and text[4:6].upper() in _COUNTRIES


def birth_date(text: str) -> bool:
    """A day between 1900 and 2030, in any usual order; two-digit years are accepted."""
    groups = [int(g) for g in "".join(c if "0" <= c <= "9" else " " for c in text).split()]
    if len(groups) < 3:
        return len(groups) == 2 and any(1900 <= g <= 2030 for g in groups) and min(groups) <= 31
    year = groups[0] if groups[0] > 31 else groups[2]
    rest = groups[1:3] if groups[0] > 31 else groups[:2]
    good_year = 1900 <= year <= 2030 or year < 100
    return good_year and all(1 <= g <= 31 for g in rest) and min(rest) <= 12


def coordinates(text: str) -> bool:
    """Latitude and longitude in degrees, at least three decimals each."""
    parts = [
        p for p in "".join(c if c in "+-.0123456789" else " " for c in text).split() if any(x.isdigit() for x in p)
    ]
    if len(parts) != 2:
        return False
    try:
        latitude, longitude = float(parts[0]), float(parts[1])
    except ValueError:
        return False
    return abs(latitude) <= 90 and abs(longitude) <= 180 and (latitude, longitude) != (0.0, 0.0)


def ethereum(text: str) -> bool:
    """Twenty bytes after 0x that are not a constant or a counter."""
    return len(text) == 42 and len(set(text[2:].lower())) >= 8


def iban_form(text: str) -> bool:
    """The country and roughly the length of an IBAN, check digits aside: for what the text itself calls an IBAN."""
    s = alphanumerics(text)
    return s[:2] in IBAN_LENGTHS and 14 <= len(s) <= 34 and s[2:4].isdigit()


def card_form(text: str) -> bool:
    """Twelve to nineteen digits, for a number that the text itself calls a card."""
    return _telephone(text, 12, 19)


def varied(text: str) -> bool:
    """At least three different digits or letters."""
    return len(set(alphanumerics(text))) > 2


def has_digit(text: str) -> bool:
    """At least three digits: an identifier rather than a word."""
    return len(digits(text)) >= 3


CHECKS: dict[str, Callable[[str], bool]] = {
    f.__name__: f
    for f in (
        email, phone_international, phone_nanp, phone_national, ipv4, ipv6, mac, swift, birth_date, coordinates,
        ethereum, iban_form, card_form, varied, has_digit,
    )
}  # fmt: skip
"""Every check by name, as the patterns in ``data/pii.toml`` refer to it."""
