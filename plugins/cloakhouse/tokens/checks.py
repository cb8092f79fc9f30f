"""Check digits and structure rules of numbers that name a person, a card or an account, one value at a time.

Every function takes the bare characters (no separators; ASCII digits, capital letters) and tells whether they can be
such a number. A number that passes need not have been issued; one that fails is misspelt or is no such number. By
chance a random number passes Luhn in 1 of 10 cases, BSN in 1 of 11, a DNI's letter in 1 of 23, IBAN and NIR in 1 of 97,
CPF in 1 of 100.
"""

from __future__ import annotations

import datetime as dt
import re

_IBAN_REGISTRY = (  # ISO 13616-2, SWIFT IBAN registry: country and length (characters)
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 "
    "ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 "
    "LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 "
    "QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30"
)
IBAN_LENGTHS = {entry[:2]: int(entry[2:]) for entry in _IBAN_REGISTRY.split()}
"""Length of an IBAN (characters) by its country's ISO 3166-1 code."""

_DOUBLED = str.maketrans("0123456789", "0246813579")  # twice the digit, and its two digits added
_DNI_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"
_NINO = re.compile(r"(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]\d{6}[A-D]", re.ASCII)
_CF_ODD = dict(zip("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", (
    1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22,
    25, 24, 23,
), strict=True))  # fmt: skip


def luhn(digits: str) -> bool:
    """Tell whether the last of `digits` is their Luhn check digit (ISO/IEC 7812-1:2017 annex B)."""
    return (sum(map(int, digits[::-2])) + sum(map(int, digits[-2::-2].translate(_DOUBLED)))) % 10 == 0


def gs1(digits: str) -> bool:
    """Tell whether the last of `digits` is their GS1 check digit: EAN, UPC, GTIN (GS1 General Specifications 7.9)."""
    return (sum(map(int, digits[::-2])) + 3 * sum(map(int, digits[-2::-2]))) % 10 == 0


def mod97_10(text: str) -> bool:
    """Tell whether `text` (digits, and letters as 10 to 35) has remainder 1 modulo 97 (ISO/IEC 7064, MOD 97-10)."""
    return int("".join(str(int(character, 36)) for character in text)) % 97 == 1


def mod11_2(text: str) -> bool:
    """Tell whether `text` (digits, the last may be X for 10) passes ISO/IEC 7064, MOD 11-2."""
    rest = 0
    for digit in text[:-1]:
        rest = (rest + int(digit)) * 2 % 11
    return (rest + (10 if text[-1] == "X" else int(text[-1]))) % 11 == 1


def mod11_10(digits: str) -> bool:
    """Tell whether `digits` pass the hybrid system of ISO/IEC 7064, MOD 11,10."""
    product = 10
    for digit in digits[:-1]:
        product = ((product + int(digit)) % 10 or 10) * 2 % 11
    return (product + int(digits[-1])) % 10 == 1


def iban(text: str) -> bool:
    """Tell whether `text` is an IBAN: a registered country, its length, and MOD 97-10 (ISO 13616-1)."""
    return IBAN_LENGTHS.get(text[:2]) == len(text) and text[2:4].isdigit() and mod97_10(text[4:] + text[:4])


def us_ssn(digits: str) -> bool:
    """Tell whether 9 digits can be a US social security number (SSA, POMS RM 10201.035); it has no check digit."""
    return digits[:3] not in ("000", "666") and digits[0] != "9" and digits[3:5] != "00" and digits[5:] != "0000"


def uk_nino(text: str) -> bool:
    """Tell whether `text` can be a UK National Insurance number (HMRC, NIM39110); it has no check digit."""
    return _NINO.fullmatch(text) is not None


def de_steuer_id(digits: str) -> bool:
    """Tell whether 11 digits can be a German tax number (Steuer-ID): MOD 11,10, and of the first ten digits exactly
    one occurs twice or three times (BZSt; section 139b AO)."""
    repeats = sorted(digits.count(digit, 0, 10) for digit in set(digits[:10]))
    return digits[0] != "0" and repeats[-1] in (2, 3) and repeats[-2] == 1 and mod11_10(digits)


def fr_nir(text: str) -> bool:
    """Tell whether 15 characters can be a French NIR: the last two are 97 - number mod 97 (INSEE); the Corsican
    departments 2A and 2B count as 19 and 18."""
    number = text[:13].replace("2A", "19").replace("2B", "18")
    return (number + text[13:]).isdigit() and int(text[13:]) == 97 - int(number) % 97


def es_dni(text: str) -> bool:
    """Tell whether 9 characters can be a Spanish DNI, or a NIE (X, Y, Z stand for 0, 1, 2): letter by the number
    modulo 23 (Real Decreto 1553/2005)."""
    number = str("XYZ".index(text[0])) + text[1:8] if text[0] in "XYZ" else text[:8]
    return _DNI_LETTERS[int(number) % 23] == text[8]


def it_codice_fiscale(text: str) -> bool:
    """Tell whether the last of 16 characters is the control character of an Italian codice fiscale (DM 23 December
    1976)."""
    total = sum(_CF_ODD[character] for character in text[0:15:2])
    total += sum(int(c) if c.isdigit() else ord(c) - ord("A") for c in text[1:15:2])
    return chr(ord("A") + total % 26) == text[15]


def br_cpf(digits: str) -> bool:
    """Tell whether 11 digits can be a Brazilian CPF: two check digits modulo 11 (Receita Federal), not one digit
    throughout."""
    if len(set(digits)) == 1:
        return False
    for size in (9, 10):
        total = sum(int(digit) * weight for digit, weight in zip(digits, range(size + 1, 1, -1), strict=False))
        if total * 10 % 11 % 10 != int(digits[size]):
            return False
    return True


def cn_resident_id(text: str) -> bool:
    """Tell whether 18 characters can be a Chinese resident number: a date of birth, and MOD 11-2 (GB 11643-1999)."""
    try:
        dt.date(int(text[6:10]), int(text[10:12]), int(text[12:14]))
    except ValueError:
        return False
    return 1850 <= int(text[6:10]) <= 2100 and mod11_2(text)


def nl_bsn(digits: str) -> bool:
    """Tell whether 9 digits pass the 11-test of a Dutch BSN (Logisch ontwerp BSN, RvIG)."""
    total = sum(int(digit) * weight for digit, weight in zip(digits, (9, 8, 7, 6, 5, 4, 3, 2, -1), strict=True))
    return total % 11 == 0 and any(digit != "0" for digit in digits)
