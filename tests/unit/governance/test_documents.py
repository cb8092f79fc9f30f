"""The documents: what they say, item by item of the law, and that no text of a contract becomes markup."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from typing import Any

import pytest
from tests.support.cards import Page
from tests.support.governing import (
    GUARANTEE,
    HOSTILE,
    activities,
    contract,
    organisation,
    release,
    shipped,
    small_organisation,
)

from cloakhouse.contracts.processing import Transfer
from cloakhouse.governance.activity import Activity
from cloakhouse.governance.document import Document, Section, Table, ToWrite
from cloakhouse.governance.documents import made, written
from cloakhouse.governance.findings import check
from cloakhouse.governance.organisation import Contact, Organisation
from cloakhouse.governance.risks import guarantee_of, risks_of

KINDS = ("record", "dpia", "transparency")
DAY = dt.date(2026, 11, 22)
EVERY = ("gdpr", "ccpa", "lgpd", "pipl")


def known(**releases: Any) -> list[Activity]:
    return activities(**releases)


def document(kind: str, found: list[Activity], by: Organisation | None = None, *profiles: str) -> Document:
    chosen = profiles or ("gdpr",)
    who = by or organisation()
    findings = check({a.contract.name: a.contract for a in found}, who, chosen)
    return made(kind, who, found, findings, chosen, DAY)


def section(found: Document, title: str) -> Section:
    (one,) = [each for each in found.sections if each.title == title]
    return one


def facts_of(one: Section) -> dict[str, str]:
    return {name: value for part in one.parts if part.kind == "facts" for name, value in part.items}  # type: ignore[union-attr]


def text_of(found: Document) -> str:
    page = Page(_html(found))
    return " ".join(page.shown.split())


def _html(found: Document) -> str:
    from cloakhouse.governance.html import html

    return html(found)


def test_the_record_has_every_point_of_article_30() -> None:
    found = document("record", known())
    assert facts_of(section(found, "Controller"))["Controller"] == organisation().controller.name
    customers = facts_of(section(found, "customers"))
    assert customers["(b) Purpose"] == "analytics: the customer master, one line a loyalty household"
    assert customers["(b) Legal basis"] == "legitimate interest, GDPR Art. 6(1)(f)"
    assert customers["(c) Data subjects"] == "holders of a loyalty card; members of their households"
    assert customers["(c) Special categories"] == "none"
    assert customers["(d) Recipients"] == "own staff in customer service; own staff in operations"
    assert customers["(e) Transfers to other countries"] == "none"
    assert customers["(f) Time limits for erasure"] == (
        "as delivered: 30 days, rows that were refused: 30 days, pseudonymized: 730 days"
    )
    text = text_of(found)
    assert "data that name a person, or reach one: household_id, name, email, phone, street, loyalty_card" in text
    assert "(g) Technical and organisational measures" in text
    assert "Encryption at rest" in text
    assert "products" not in [each.title for each in found.sections]


def test_the_record_tells_what_was_done() -> None:
    found = document("record", known(households_synthetic=release("households_synthetic")))
    done = section(found, "households_synthetic: what was done")
    assert facts_of(done) == {
        "Newest published version": "households_synthetic@3 of 2026-11-20, 1,830 rows, without a guarantee",
        "Roles that may read it": "analyst (for reporting)",
        "Approvals": "4",
        "Expired versions": "2",
        "Deletions of files": "0",
        "Published past their time limit": "old@1",
    }
    (table,) = [part for part in done.parts if isinstance(part, Table)]
    assert table.rows[0] == ("publish", "3", "1", "0", "2", "2026-11-20")


def test_what_is_not_stated_is_said_to_be_not_stated() -> None:
    bare = Activity(contract())
    found = document("record", [bare], small_organisation())
    stated = facts_of(section(found, "people"))
    assert stated["(c) Data subjects"] == stated["(d) Recipients"] == "not stated"
    assert stated["(e) Transfers to other countries"] == "not stated"
    assert facts_of(section(found, "Controller"))["Data protection officer"] == "not stated"
    assert "The audit log holds nothing on it yet." in text_of(found)
    page = text_of(document("transparency", [bare], small_organisation()))
    assert "not stated" in page
    assert "No machine decides" not in page
    assert "stay in the country" not in page


def test_findings_stand_at_the_end() -> None:
    found = document("record", [Activity(contract())], small_organisation())
    (table,) = section(found, "Findings").parts
    assert isinstance(table, Table)
    assert ("people", "missing", "GDPR Art. 30(1)(c)") in [row[:3] for row in table.rows]
    assert "No finding" in text_of(made("record", organisation(), known(), [], ["gdpr"], DAY))


def test_the_assessment_has_every_point_of_article_35_and_leaves_questions() -> None:
    found = document("dpia", known())
    clauses = {each.clause for each in found.sections}
    assert {f"GDPR Art. 35(7)({point})" for point in "abcd"} <= clauses
    asked = [part for each in found.sections for part in each.parts if isinstance(part, ToWrite)]
    assert found.to_write == len(asked)
    assert f"{len(asked)} questions are left to a person" in found.lead
    asks = {part.clause for part in asked}
    assert {f"GDPR Art. {one}" for one in ("35(2)", "35(7)(b)", "35(7)(c)", "35(7)(d)", "35(9)", "36(1)")} <= asks


def test_measured_risks_are_those_of_the_evidence() -> None:
    found = document("dpia", known(households_synthetic=release("households_synthetic")))
    (table,) = [p for p in section(found, "households_synthetic: measured risks").parts if isinstance(p, Table)]
    assert table.rows == (
        ("singling out", "2", "2", "singling out, multivariate, rows: risk", "0.11", "at most 0.12"),
        ("linkability", "1", "1", "linkability, rows: risk", "-0.01", "at most 0.2"),
        ("inference", "1", "1", "inference of age, rows: risk", "0.2", "at most 0.25"),
        ("k-anonymity of the source", "1", "1", "k-anonymity of customers", "10", "at least 5"),
        ("other figures of the gate", "1", "1", "hold-out units", "591", "at least 400"),
    )
    assert "Not released: not attacked." in text_of(found)
    assert "nothing is measured yet" in text_of(found)


def test_a_figure_that_failed_comes_before_all() -> None:
    first = risks_of(release("households_synthetic", failed=True))[0]
    assert (first.passed, first.nearest) == (1, "singling out, univariate, rows: risk")


@pytest.mark.parametrize("form", ["html", "markdown", "json-ld"])
def test_under_a_guarantee_no_figure_of_the_evidence_is_told(form: str) -> None:
    given = release("baskets_private", private=True)
    promise = guarantee_of(given)
    assert promise is not None
    assert (promise.epsilon, promise.neighbours) == (3.0, GUARANTEE["neighbours"])
    text = written("dpia", form, organisation(), known(baskets_private=given), [], ["gdpr"], DAY)
    assert "singling out" in text
    for figure in ("0.11", "0\\.11", "591", "univariate", "multivariate"):
        assert figure not in text
    shown = document("dpia", known(baskets_private=given))
    assert facts_of(section(shown, "baskets_private: measured risks"))["Guarantee"] == "epsilon 3, delta 1e-07"
    assert "counted in real rows without noise" in text_of(shown)


def test_the_page_for_persons_says_who_why_how_long_and_which_rights() -> None:
    found = document("transparency", known(), None, "ccpa", "gdpr")
    text = text_of(found)
    for said in (
        "privacy@lindenmarkt.example",
        "For analytics, on the ground of legitimate interest, GDPR Art. 6(1)(f).",
        "to know which goods sell together and when, and to plan stock and offers.",
        "We sell none of these data",
        "They stay in the country or area where we are.",
        "No machine decides about you with these data.",
        "synthetic rows: 365 days.",
        "You may object to a use that rests on our interests",
        "You may tell us not to sell or share it.",
        "Berliner Beauftragte",
        "at the till of any store",
        "What names you or reaches you (6 columns) is replaced by pseudonyms, or dropped",
    ):
        assert said in text, said
    assert "To be written" not in text
    titles = [each.title for each in found.sections]
    assert titles.index("The customer master, one line a loyalty household") < titles.index(
        "Synthetic households for model training"
    )


def test_the_page_says_what_is_sold_moved_and_decided() -> None:
    base = shipped()["customers"]
    assert base.processing is not None
    stated = replace(
        base.processing,
        sale_or_sharing="to an advertising network",
        transfers=(Transfer("US", "standard clauses"), Transfer("CN")),
        automated_decisions="prices",
        minors="none",
    )
    by = replace(organisation(), representatives={"pipl": Contact("R", "Road 2")}, authority=None, requests=())
    found = document("transparency", [Activity(replace(base, processing=stated))], by)
    text = text_of(found)
    assert "Sold or shared: to an advertising network." in text
    assert "US (standard clauses); CN (no safeguard stated)." in text
    assert "prices." in text
    assert "We hold no data about children." in text
    assert "Our representative (PIPL)" in text
    assert "You may complain to" not in facts_of(section(found, "How to use your rights"))
    record_text = text_of(document("record", [Activity(base)], by))
    assert "Representative (PIPL)" in record_text


@pytest.mark.parametrize("kind", KINDS)
def test_no_text_becomes_markup_on_the_page(kind: str) -> None:
    text = written(kind, "html", *hostile(), ["gdpr"], DAY)
    page = Page(text)
    assert "script" not in page.tags
    assert not {name for name, _ in page.attributes if name.startswith("on")}
    assert {value for name, value in page.attributes if name in ("href", "src")} == set()
    assert HOSTILE in page.shown
    assert "default-src 'none'" in dict(page.attributes)["content"] or any(
        "default-src 'none'" in value for _, value in page.attributes
    )


def hostile() -> tuple[Organisation, list[Activity], list[Any]]:
    base = shipped()["customers"]
    assert base.processing is not None
    stated = replace(base.processing, data_subjects=(HOSTILE,), recipients=(HOSTILE,), opt_out=HOSTILE, origin=HOSTILE)
    bad = replace(base, description=HOSTILE, purpose=HOSTILE, legal_basis=HOSTILE, owner=HOSTILE, processing=stated)
    who = replace(organisation(), controller=Contact(HOSTILE, HOSTILE), requests=(HOSTILE,))
    return who, [Activity(bad, roles={"r": (HOSTILE,)})], check({"customers": bad}, who, ["gdpr", "pipl"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["html", "markdown", "json-ld"])
def test_the_same_inputs_give_the_same_text(kind: str, form: str) -> None:
    one, other = (written(kind, form, organisation(), known(), [], EVERY, DAY) for _ in range(2))
    assert one == other
    assert one.endswith("\n")
    assert not one.endswith("\n\n")
    assert "2026-11-22" in one


def test_a_document_without_a_date_says_so() -> None:
    assert "Made from contracts alone" in _html(made("record", organisation(), [], [], ["gdpr"], None))
    assert "dct:date" not in written("record", "json-ld", organisation(), [], [], ["gdpr"], None)


def graph(kind: str, found: list[Activity], by: Organisation | None = None) -> Any:
    from rdflib import Graph

    who = by or organisation()
    findings = check({a.contract.name: a.contract for a in found}, who, ["gdpr"])
    text = written(kind, "json-ld", who, found, findings, ["gdpr"], DAY)
    return Graph().parse(data=text, format="json-ld")


def test_the_machine_readable_form_is_rdf_in_terms_of_dpv() -> None:
    from rdflib import RDF, Namespace, URIRef

    dpv, gdpr = Namespace("https://w3id.org/dpv#"), Namespace("https://w3id.org/dpv/legal/eu/gdpr#")
    found = graph("dpia", known(households_synthetic=release("households_synthetic")))
    process = URIRef("urn:cloakhouse:contract:customers:1.0.0")
    assert (process, RDF.type, dpv.Process) in found
    assert [str(o) for o in found.objects(process, dpv.hasDataController)] == ["urn:cloakhouse:organisation:controller"]
    basis = found.value(process, dpv.hasLegalBasis)
    assert (basis, RDF.type, gdpr["A6-1-f"]) in found
    assert len(list(found.objects(process, dpv.hasStorageCondition))) == 3
    assert dpv.Pseudonymisation in set(found.objects(process, dpv.hasTechnicalOrganisationalMeasure))
    weekly = URIRef("urn:cloakhouse:contract:weekly_sales:1.0.0")
    assert dpv.DifferentialPrivacy in set(found.objects(weekly, dpv.hasTechnicalOrganisationalMeasure))
    households = URIRef("urn:cloakhouse:contract:households_synthetic:1.0.0")
    assert len(list(found.objects(households, dpv.hasRisk))) == 5
    assert (households, dpv.hasData, dpv.SyntheticData) in found
    assert (URIRef("urn:cloakhouse:governance:dpia"), RDF.type, dpv.DPIA) in found


def test_transfers_decisions_and_representatives_are_in_the_machine_readable_form() -> None:
    base = shipped()["customers"]
    assert base.processing is not None
    stated = replace(
        base.processing,
        transfers=(Transfer("US", "standard clauses"), Transfer("CN")),
        automated_decisions="prices",
        data_subjects=(),
        recipients=None,
        origin="",
    )
    text = written(
        "record",
        "json-ld",
        replace(organisation(), officer=None, authority=None, representatives={"pipl": Contact("R", "Road 2")}),
        [Activity(replace(base, processing=stated, legal_basis="consent"))],
        [],
        ["gdpr"],
        DAY,
    )
    content = json.loads(text)
    _, controller, process = content["@graph"]
    assert controller["dpv:hasRepresentative"] == [
        {"@type": "dpv:Representative", "dpv:hasName": "R", "dpv:hasAddress": "Road 2"}
    ]
    assert "dpv:hasDataProtectionOfficer" not in controller
    assert "dpv:hasAuthority" not in controller
    assert [one["@type"] for one in process["dpv:hasProcessing"]] == [
        *(["dpv:CrossBorderTransfer"] * 2),
        "dpv:AutomatedDecisionMaking",
    ]
    assert process["dpv:hasLegalBasis"] == {"@type": ["dpv:LegalBasis"], "dct:title": "consent"}
    assert not {"dpv:hasDataSubject", "dpv:hasRecipient", "dpv:hasDataSource", "dpv:hasRisk"} & process.keys()
    assert all(value.startswith(("https://w3id.org/", "http://", "urn:")) for value in content["@context"].values())


def test_findings_are_not_for_the_public() -> None:
    found = [Activity(contract())]
    findings = check({"people": found[0].contract}, organisation(), ["gdpr"])
    for kind, told in (("record", True), ("dpia", True), ("transparency", False)):
        text = written(kind, "json-ld", organisation(), found, findings, ["gdpr"], DAY)
        assert ("cloakhouse:finding" in text) is told
    assert "Findings" not in [each.title for each in document("transparency", found).sections]


def test_a_dataset_under_approval_says_so() -> None:
    from cloakhouse.contracts.model import Approval

    base = replace(shipped()["baskets_private"], approval=Approval(("ann",), 24))
    text = text_of(document("dpia", [Activity(base)]))
    assert "A person's approval before each publication" in text
