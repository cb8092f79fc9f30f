from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pytest
import yaml
from click.testing import CliRunner, Result
from tests.support.contracts import feed_text

from cloakhouse.client import treated_examples, treatments_page
from cloakhouse.client.cli import cli
from cloakhouse.client.treated_examples import ExampleKeys, contract_of, shown
from cloakhouse.client.treatment_examples import EXAMPLES, HIERARCHY, Example
from cloakhouse.contracts.parser import parse_contract
from cloakhouse.contracts.treatment_faults import fault_in
from cloakhouse.contracts.treatments import REGISTRY
from cloakhouse.keys import derive
from cloakhouse.keys.derive import CMAC, SIV, KeyUse
from cloakhouse.tokens import canonical, keyed, normalise
from cloakhouse.tokens.apply import TREATMENTS_VERSION, Around, output_type, treat
from cloakhouse.tokens.cmac import cmac_tokens
from cloakhouse.tokens.linking import pseudonyms_of
from cloakhouse.tokens.place import Place
from cloakhouse.tokens.siv import siv_tokens

Cloakhouse = Callable[..., Result]
ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "treatments.md").read_text("utf-8")
COLUMNS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def cloakhouse() -> Cloakhouse:
    """Run a command in this process, on the contracts of this checkout."""

    def run(*arguments: str, **environment: str) -> Result:
        contracts = {"CLOAKHOUSE_CONTRACTS": str(ROOT / "dags" / "contracts")}
        return CliRunner().invoke(cli, arguments, env={**contracts, **environment}, prog_name="cloakhouse")

    return run


def section(name: str) -> str:
    return PAGE.split(f"\n## {name}\n")[1].split("\n## ")[0]


def test_the_page_is_what_the_registry_and_the_code_say_now() -> None:
    assert treatments_page.page().rstrip("\n") == PAGE.rstrip("\n"), "docs/treatments.md is out of date: make docs"


def test_every_treatment_and_every_parameter_is_on_the_page_with_an_example() -> None:
    assert list(EXAMPLES) == list(REGISTRY)
    assert re.findall(r"^## (.*)$", PAGE, re.MULTILINE) == list(REGISTRY)
    for name, spec in REGISTRY.items():
        text = section(name)
        for key, parameter in spec.parameters.items():
            head = f"| `{key}`, required |" if parameter.required else f"| `{key}` |"
            assert text.count(head) == 1, (name, key)
            assert parameter.meaning in text
        used = {key for one in shown(name) for key in one.column.treatment.parameters}
        assert used == spec.parameters.keys(), name


def test_every_contract_on_the_page_is_one_that_the_parser_takes() -> None:
    assert len(COLUMNS) == sum(map(len, EXAMPLES.values()))
    for text in COLUMNS:
        [column] = yaml.safe_load(text)
        treatment = column["customProperties"][1]["value"]
        if "hierarchy" in text or "perSubject" in text:
            continue  # these need what stands beside; `contract_of` parses them so
        lines = "".join("      " + line for line in text.splitlines(keepends=True))
        head = feed_text(columns=())
        [parsed] = parse_contract(head + lines, "page").columns
        assert parsed.treatment.name == (treatment if isinstance(treatment, str) else next(iter(treatment)))


@pytest.mark.parametrize("name", list(REGISTRY))
def test_rows_are_of_the_type_that_the_page_says(name: str) -> None:
    for one in shown(name):
        assert len(one.rows) == len(one.example.values)
        if name == "drop":
            assert (one.becomes, {after for _, _, after in one.rows}) == ("", {None})
            continue
        assert one.becomes == str(output_type(one.column))
        if name != "shuffle":
            assert all(after is None for _, before, after in one.rows if before is None)


def test_tokens_on_the_page_are_of_the_domain_and_then_of_the_purpose() -> None:
    keys = ExampleKeys()
    purpose = keys.key(KeyUse.layer("customer", "analytics"))
    domain = keys.key(KeyUse.pseudonym("customer"))
    token = shown("token")[0].rows[0][2]
    assert isinstance(token, str)
    pseudonym = pseudonyms_of(pa.array([bytes.fromhex(token)], pa.binary(16)), purpose)
    assert pseudonym == cmac_tokens(pa.array([1001]), domain)
    service = shown("token")[1].rows[0][2]
    assert isinstance(service, str)
    other = keys.key(KeyUse.layer("customer", "service"))
    assert pseudonyms_of(pa.array([bytes.fromhex(service)], pa.binary(16)), other) == pseudonym


def test_the_roots_of_examples_are_zero_bytes_through_hkdf() -> None:
    use = KeyUse.pseudonym("customer")
    info = b"\0".join([b"cloakhouse/token/2", CMAC.encode(), b"customer", b"", b""])
    extracted = hmac.digest(bytes(32), bytes(32), hashlib.sha256)  # RFC 5869, no salt
    assert ExampleKeys().key(use).reveal() == hmac.digest(extracted, info + b"\1", hashlib.sha256)


def test_what_a_row_becomes_that_does_not_fit() -> None:
    asides = [
        row for one in shown("format-preserving token") for row in one.rows if row[2] == treated_examples.SET_ASIDE
    ]
    assert [before for _, before, _ in asides] == ["5200828282828211", "card", "a7k2"]
    assert "| `5200828282828211` | *set aside* |" in section("format-preserving token")


def test_one_shift_for_a_subject() -> None:
    [dates] = [one for one in shown("perturb") if one.example.subject]
    assert dates.rows[0][0] == dates.rows[1][0] == "h1"
    facts = treatments_page.facts("perturb")["examples"][1]
    assert list(facts["rows"][0]) == ["household_id", "before", "after"]
    assert facts["rows"][-1] == {"household_id": None, "before": "2026-11-05", "after": None}


def test_the_hierarchy_on_the_page_is_the_one_that_the_example_is_treated_by() -> None:
    contract = contract_of(next(e for e in EXAMPLES["generalize"] if "hierarchy" in e.treatment))
    labels = contract.column("town").treatment.parameters["hierarchy"]["labels"]
    assert labels == {line.split(";")[0]: line.split(";")[1] for line in HIERARCHY.splitlines()}


def test_signs_that_a_table_would_take_are_escaped() -> None:
    one = Example("a sign", "remark", "string", "keep", ("a|b", "a\nb", ""), "plain")
    text = "\n".join(treatments_page._example(treated_examples._shown(one)))
    assert "| `a\\|b` | `a\\|b` |" in text
    assert "| `a\\nb` | `a\\nb` |" in text
    assert "| *empty* | *empty* |" in text


def test_the_command(cloakhouse: Cloakhouse) -> None:
    page = cloakhouse("contracts", "treatments", "--output", "markdown")
    assert (page.exit_code, page.stderr, page.stdout) == (0, "", PAGE)
    one = cloakhouse("contracts", "treatments", "reversible token", "--output", "markdown")
    assert one.stdout.startswith("## reversible token\n")
    assert one.stdout in PAGE
    found = json.loads(cloakhouse("contracts", "treatments", "--output", "json").stdout)
    assert [item["name"] for item in found] == list(REGISTRY)
    [mask] = json.loads(cloakhouse("contracts", "treatments", "mask", "--output", "json").stdout)
    assert mask == next(item for item in found if item["name"] == "mask")
    assert mask["parameters"][0] == {
        "name": "keepPrefix",
        "required": False,
        "value": "a whole number from 0 to 8",
        "meaning": "characters that stay at the start",
    }
    assert mask["examples"][0]["rows"][0] == {"before": "5200828282828210", "after": "************8210"}


def test_the_command_writes_tables_of_at_most_100_columns(cloakhouse: Cloakhouse) -> None:
    assert cloakhouse("contracts", "treatments").stdout == cloakhouse("contracts", "--treatments").stdout
    for name in REGISTRY:
        result = cloakhouse("contracts", "treatments", name)
        assert (result.exit_code, result.stderr) == (0, "")
        assert max(map(len, result.stdout.splitlines())) <= 100 or "sha256" in result.stdout
        assert all(key in result.stdout for key in REGISTRY[name].parameters)


def test_a_treatment_that_there_is_not(cloakhouse: Cloakhouse) -> None:
    result = cloakhouse("contracts", "treatments", "encrypt", "--output", "json")
    assert (result.exit_code, result.stdout) == (5, "")
    assert "format-preserving token" in json.loads(result.stderr)["expected"]
    assert "encrypt" not in result.stderr


def test_contracts_show_the_treatments_that_some_contract_uses(cloakhouse: Cloakhouse, tmp_path: Path) -> None:
    found = json.loads(cloakhouse("contracts", "--output", "json").stdout)
    used = {name for item in found for name, count in item["treatments"].items() if count}
    head = "".join(cloakhouse("contracts").stdout.split("─")[0].split())
    assert "drop" in head
    assert "scrub" not in used
    assert "scrub" not in head
    (tmp_path / "empty").mkdir()
    nothing = cloakhouse("contracts", CLOAKHOUSE_CONTRACTS=str(tmp_path / "empty"))
    assert (nothing.exit_code, "drop" in nothing.stdout) == (0, False)


def test_contracts_list_treatments_that_do_not_fit_side_by_side(cloakhouse: Cloakhouse, tmp_path: Path) -> None:
    columns = [one.example.yaml for name in REGISTRY for one in shown(name)[:1] if name != "perturb"]
    text = feed_text("a_dataset_with_a_very_long_name", columns=())
    for number, column in enumerate(columns):
        numbered = re.sub(r"name: \w+", f"name: column_{number}", column, count=1)
        text += "".join("      " + line for line in numbered.splitlines(keepends=True))
    (tmp_path / "all.odcs.yaml").write_text(text)
    result = cloakhouse("contracts", CLOAKHOUSE_CONTRACTS=str(tmp_path))
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 100
    assert "1 shuffle" in " ".join(result.stdout.split())


TOKENS = (ROOT / "docs" / "tokens.md").read_text("utf-8")
CONTRACTS = (ROOT / "docs" / "contracts.md").read_text("utf-8")


@pytest.mark.parametrize("module", [canonical, normalise, derive, keyed], ids=lambda module: str(module.__name__))
def test_the_tables_about_tokens_are_those_of_the_code(module: ModuleType) -> None:
    lines = [line for line in str(module.__doc__).splitlines() if line.startswith("|")]
    assert len(lines) > 3
    assert "\n".join(lines) in TOKENS


def test_the_versions_about_tokens_are_those_of_the_code() -> None:
    text = " ".join(TOKENS.split())
    assert f"version {canonical.NORMALISATION_VERSION} of the normalisation" in text
    assert f"the treatments are version {TREATMENTS_VERSION} " in text


def test_the_lengths_of_reversible_tokens_about_tokens_are_true() -> None:
    key = ExampleKeys().key(KeyUse.reversible(SIV, "customer", "service"))
    for values, length in (
        (pa.array([1001]), 26),
        (pa.array([20_000], pa.date32()), 22),
        (pa.array(["M\u00e4rz"]), 21),
    ):
        assert [len(token) for token in siv_tokens(values, key).to_pylist()] == [length]


def test_a_corrected_delivery_draws_the_same_noise() -> None:
    column = shown("perturb")[0].column
    place = Around(Place("example", "2026-11-02"))
    before, after = (treat(pa.array([v, 50.0]), column, ExampleKeys(), place).to_pylist() for v in (20.0, 25.0))
    assert after[0] - before[0] == pytest.approx(5.0)
    elsewhere = Around(Place("example", "2026-11-02", 0, 1))
    moved = [place, elsewhere]
    drawn = [treat(pa.array([50.0] * 20), column, ExampleKeys(), there).to_pylist() for there in moved]
    assert drawn[0] != drawn[1]


def test_treatments_in_the_page_about_contracts_are_those_of_the_registry() -> None:
    for name, spec in REGISTRY.items():
        link, types = f"[`{name}`](treatments.md#{name.replace(' ', '-')})", treatments_page.types_of(name)
        assert f"| {link} | {spec.summary} | {types} |" in CONTRACTS, name
    for text in re.findall(r"^\{property: treatment, value: .*\}$", CONTRACTS, re.MULTILINE):
        treatment = yaml.safe_load(text)["value"]
        [(name, parameters)] = ({treatment: {}} if isinstance(treatment, str) else treatment).items()
        faults = [fault_in(name, parameters, kind) for kind in REGISTRY[name].types]
        assert None in faults or "..." in text, text


@pytest.mark.parametrize("file", ["contracts.md", "tokens.md", "treatments.md", "../plugins/adr/README.md"])
def test_links_of_the_pages_lead_somewhere(file: str) -> None:
    path = ROOT / "docs" / file
    for target, anchor in re.findall(r"\]\(([\w./-]*)(?:#([\w-]+))?\)", path.read_text("utf-8")):
        page = path.parent / target if target else path
        assert page.is_file(), target
        heads = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
        assert not anchor or anchor in {head.lower().replace(" ", "-") for head in heads}, anchor
