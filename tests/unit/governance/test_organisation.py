"""Who the controller is: read, or refused at line and column."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.governing import SMALL_ORGANISATION, organisation, small_organisation

from cloakhouse.errors import ContractError
from cloakhouse.governance.organisation import MAX_BYTES, Contact, load_organisation, parse_organisation

NAME, AND = "organisation.yaml", "country: DE"
LONG = "x" * 301


def test_the_shipped_organisation_is_whole() -> None:
    found = organisation()
    assert found.profiles == ("gdpr",)
    assert found.officer is not None
    assert found.authority is not None
    assert len(found.requests) == 3
    assert "example" in found.controller.name


def test_the_least_and_the_rest() -> None:
    least = small_organisation()
    assert least.controller == Contact("Shop", "Street 1", "DE", "a@shop.example")
    assert (least.officer, least.authority, least.requests, dict(least.representatives)) == (None, None, (), {})
    more = small_organisation("representatives: [{for: pipl, name: R, address: Road 2}]\nrequests: [by post]\n")
    assert dict(more.representatives) == {"pipl": Contact("R", "Road 2")}
    assert more.requests == ("by post",)


FAULTS = {
    "no_controller": ("controller:", "owner:", "1:1", "a mapping"),
    "another_version": ("organisation/v1", "organisation/v2", "1:13", "cloakhouse.organisation/v1"),
    "no_name": ("name: Shop, ", "", "2:", "`name`"),
    "no_address": ("address: Street 1, ", "", "2:", "`address`"),
    "country_in_words": ("DE", "Germany", "2:", "two letters"),
    "no_mail_address": ("a@shop.example", "shop", "2:", "an e-mail address"),
    "website_of_another_scheme": (AND, f"{AND}, website: 'javascript:alert(1)'", "2:", "https://"),
    "unknown_key": (AND, f"{AND}, fax: '1'", "2:", "one of"),
    "name_too_long": ("name: Shop", f"name: {LONG}", "2:", "printable"),
    "name_of_two_lines": ("name: Shop", 'name: "Sh\\nop"', "2:", "printable"),
    "unknown_profile": ("[gdpr]", "[hipaa]", "3:", "gdpr, ccpa, lgpd, pipl"),
    "no_profile": ("[gdpr]", "[]", "3:", "distinct names"),
    "representatives_no_list": ("profiles", "representatives: {}\nprofiles", "3:", "a list"),
    "representative_twice": (
        "profiles",
        "representatives: [{for: pipl, name: R, address: A}, {for: pipl, name: S, address: A}]\nprofiles",
        "3:",
        "one representative for each law",
    ),
    "representative_without_address": (
        "profiles",
        "representatives: [{for: pipl, name: R}]\nprofiles",
        "3:",
        "`address`",
    ),
    "requests_of_many_words": ("profiles", f"requests: [{LONG}]\nprofiles", "3:", "printable"),
    "unknown_part": ("profiles", "lawyer: x\nprofiles", "3:", "one of"),
    "no_yaml": ("profiles:", "profiles: [", "4:", "well-formed YAML"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_refused_at_its_place(fault: str) -> None:
    old, new, place, expected = FAULTS[fault]
    assert SMALL_ORGANISATION.count(old) == 1
    with pytest.raises(ContractError) as caught:
        parse_organisation(SMALL_ORGANISATION.replace(old, new), NAME)
    assert caught.value.where.startswith(f"{NAME}:{place}")
    assert expected in caught.value.expected
    assert caught.value.not_done == "nothing was checked or written"
    assert LONG not in caught.value.explain()


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, "a readable file"), (b"\xff\xfe", "a readable file"), (b"#" * (MAX_BYTES + 1), "at most")],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None, expected: str) -> None:
    path = tmp_path / NAME
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ContractError, match=expected) as caught:
        load_organisation(path)
    assert caught.value.code == "contract.file"
