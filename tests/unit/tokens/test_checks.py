"""Check digits: examples that standards, registries and authorities publish, each altered in every character too."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cloakhouse.tokens import checks

PUBLISHED: list[tuple[Callable[[str], bool], str]] = [
    (checks.luhn, "79927398713"),  # the example of US patent 2950048's method in common use
    (checks.luhn, "378282246310005"),  # card networks' test numbers
    (checks.luhn, "4012888888881881"),
    (checks.gs1, "9780306406157"),
    (checks.gs1, "036000291452"),
    (checks.gs1, "4006381333931"),
    (checks.mod97_10, "79444"),  # ISO/IEC 7064: the check characters of 794, 0794 and 079
    (checks.mod11_10, "07945"),
    (checks.mod11_2, "07940"),
    (checks.mod11_2, "079X"),
    (checks.iban, "GB29NWBK60161331926819"),  # SWIFT IBAN registry
    (checks.iban, "DE89370400440532013000"),
    (checks.iban, "FR1420041010050500013M02606"),
    (checks.iban, "ES9121000418450200051332"),
    (checks.iban, "IT60X0542811101000000123456"),
    (checks.iban, "NL91ABNA0417164300"),
    (checks.iban, "BR1800360305000010009795493C1"),
    (checks.iban, "MT84MALT011000012345MTLCAST001S"),
    (checks.iban, "NO9386011117947"),
    (checks.de_steuer_id, "86095742719"),  # a digit twice
    (checks.de_steuer_id, "65929970489"),  # a digit three times
    (checks.fr_nir, "255081416802538"),
    (checks.fr_nir, "253072B07300470"),  # Corsica
    (checks.es_dni, "12345678Z"),
    (checks.es_dni, "54362315K"),
    (checks.es_dni, "X2482300W"),
    (checks.it_codice_fiscale, "RSSMRA85T10A562S"),
    (checks.it_codice_fiscale, "MRTMTT25D09F205Z"),
    (checks.br_cpf, "11144477735"),
    (checks.br_cpf, "12345678909"),
    (checks.cn_resident_id, "11010519491231002X"),  # GB 11643-1999
    (checks.cn_resident_id, "440524188001010014"),
    (checks.nl_bsn, "111222333"),
    (checks.nl_bsn, "123456782"),
]


@pytest.mark.parametrize(("check", "number"), PUBLISHED)
def test_published_examples(check: Callable[[str], bool], number: str) -> None:
    assert check(number)


@pytest.mark.parametrize(("check", "number"), PUBLISHED)
def test_one_digit_misread(check: Callable[[str], bool], number: str) -> None:
    """Every one of these checks finds every single wrong digit; CPF's 10 and 0 share a check digit, so most."""
    wrong = [
        number[:at] + digit + number[at + 1 :]
        for at, there in enumerate(number)
        if there.isdigit()
        for digit in "0123456789"
        if digit != there
    ]
    accepted = sum(check(text) for text in wrong)
    assert accepted == 0 or (check is checks.br_cpf and accepted <= 2)


@pytest.mark.parametrize(
    ("check", "number"),
    [
        (checks.iban, "DE8937040044053201300"),  # a digit short
        (checks.iban, "ZZ89370400440532013000"),
        (checks.iban, "DEX9370400440532013000"),
        (checks.de_steuer_id, "01234567899"),  # leading 0
        (checks.de_steuer_id, "12345678903"),  # no digit twice
        (checks.de_steuer_id, "11111111111"),
        (checks.de_steuer_id, "11223456786"),  # two digits twice
        (checks.br_cpf, "11111111111"),
        (checks.cn_resident_id, "110105194913310021"),  # month 13
        (checks.cn_resident_id, "110105184912310028"),
        (checks.nl_bsn, "000000000"),
    ],
)
def test_refused(check: Callable[[str], bool], number: str) -> None:
    assert not check(number)


@pytest.mark.parametrize(
    ("digits", "accepted"),
    [
        ("219099999", True),
        ("899010001", True),
        ("000010001", False),
        ("666010001", False),
        ("900010001", False),
        ("123000001", False),
        ("123010000", False),
    ],
)
def test_structure_of_an_ssn(digits: str, accepted: bool) -> None:
    assert checks.us_ssn(digits) is accepted


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("AB123456C", True),
        ("QQ123456C", False),  # the authority's own example of a number that is never issued
        ("GB123456A", False),
        ("AO123456A", False),
        ("AB123456E", False),
        ("AB12345C", False),
    ],
)
def test_structure_of_a_nino(text: str, accepted: bool) -> None:
    assert checks.uk_nino(text) is accepted
