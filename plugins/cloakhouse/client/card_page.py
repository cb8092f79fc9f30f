"""The readable page of a dataset card, for a model team: what it is, whether they may use it, how private and how good
it is, where it comes from, how it is opened.

One HTML page without script or anything from outside; every text of the card is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cloakhouse.client.card_lineage import columns_section, lineage_section, open_section
from cloakhouse.client.card_quality import quality_section
from cloakhouse.client.epsilon_promise import Promise, summary
from cloakhouse.privacy.words import gate_in_words
from cloakhouse.report.parts import bullets, document, facts, number, paragraph, section, table, text

Facts = Mapping[str, Any]
NEAREST = 5  # gate figures shown


def card_page(card: Facts) -> str:
    """Return the page as HTML, of a card as `cloakhouse.client.card.dataset_card` gives it.

    Raises ContractError when the card's guarantee or its curve holds no usable number.
    """
    promise = Promise.of(card["privacy"])
    title = str(card.get("title") or card["name"])
    return document(
        f"{card['name']}@{card['version']}: dataset card",
        f'<p class="kicker">Dataset card of {text(card["name"])}@{text(card["version"])}</p>',
        f"<h1>{text(title[:1].upper() + title[1:])}</h1>",
        _summary(card, promise),
        _warning(card),
        _use(card, promise),
        quality_section(card, promise),
        _privacy(card, promise),
        columns_section(card),
        lineage_section(card),
        open_section(card),
        f'<p class="foot">{text(card["identifier"])}, fingerprint {text(card["provenance"]["fingerprint"])}.</p>',
    )


def _summary(card: Facts, promise: Promise | None) -> str:
    standing = card["standing"]
    state = "not told" if standing is None else standing["state"]
    tags = ", ".join(standing["tags"]) if standing else ""
    return facts(
        [
            ("rows", f"{card['rows']:,}", "big"),
            ("epsilon", "none" if promise is None else number(promise.epsilon), "big"),
            ("published", str(card["published"]), ""),
            ("owner", str(card.get("owner") or "not stated"), ""),
            ("zone", str(card["zone"]), ""),
            ("state", f"{state}; {tags}" if tags else state, ""),
            ("licence", str(card["licence"]), "wide"),
        ]
    )


def _warning(card: Facts) -> str:
    """Return what a reader must not miss: that the version isn't published any more, or is deprecated."""
    standing = card["standing"]
    if standing is None:
        return ""
    if standing["state"] != "published":
        said = f"<strong>This version is {text(standing['state'])}.</strong> {text(standing['reason'])}"
        return paragraph(said, kind="lead warn")
    if "deprecated" in standing["tags"]:
        return paragraph("<strong>This version is deprecated.</strong> Take a newer one.", kind="lead warn")
    return ""


def _use(card: Facts, promise: Promise | None) -> str:
    purpose = text(card.get("purpose") or "not stated")
    owner = text(card.get("owner") or "the owner")
    unit = text(card["privacy"].get("unit_of_privacy") or "person")
    yes, no = _questions(card)
    answers = [
        (f"Use it for {card.get('purpose') or 'its purpose'}.", "Yes: this is its purpose."),
        *((question, f"Yes. {answer}") for question, answer in yes),
        *((question, f"No. {answer}") for question, answer in no),
        *([] if promise else [("Pass it on as anonymous.", f"No. Its rows may tell something about a real {unit}.")]),
        ("Use it for another purpose.", f"Ask {owner} first: purpose and legal basis are part of the contract."),
    ]
    days = (card.get("retention_days") or {}).get(card["zone"])
    kept = f" It is kept {text(number(days, 9))} days." if days else ""
    return section(
        "use",
        "May I use it?",
        paragraph(
            f"Its purpose is <strong>{purpose}</strong>, on the legal basis: {text(card.get('legal_basis') or '–')}.",
            f"Licence: {text(card['licence'])}.{kept}",
        ),
        bullets(answers),
        "<h3>Limits</h3>",
        paragraph(text(card.get("limits") or "No limits are stated.")),
    )


def _questions(card: Facts) -> tuple[Sequence[tuple[str, str]], Sequence[tuple[str, str]]]:
    """Return what any dataset of this kind may and may not be used for, with a sentence on each (HTML)."""
    if card["zone"] == "aggregates":
        return (
            [("Report a figure.", "Name its interval, low to high, with it.")],
            [
                ("Add up cells.", "Their noise adds up as well: ask for the sum in a query of its own."),
                ("Rely on small cells.", "They may be mostly noise, or negative."),
            ],
        )
    return (
        [
            ("Explore it, and train and tune models.", "Name the version in what you train: a version never changes."),
            ("Compare shares.", "Differences as small as the distances below are none."),
        ],
        [
            ("Read totals from it.", "How many rows there are was chosen."),
            ("Look at outliers or small groups.", "They are imitated worst, or not at all."),
            ("Judge a final model by it.", "The last test is on real rows, by those who may see them."),
        ],
    )


def _privacy(card: Facts, promise: Promise | None) -> str:
    privacy = card["privacy"]
    gate: Sequence[Facts] = privacy.get("gate") or ()
    first, *others = privacy["statement"]
    parts = [summary(promise) if promise else paragraph(f"<strong>{text(first)}</strong>", kind="lead warn")]
    parts += [paragraph(text(sentence)) for sentence in (others[1:] if promise else others)]  # neighbours are told
    if gate:
        counted = gate_in_words(gate)[0]
        parts += ["<h3>What the release had to pass</h3>", paragraph(f"{text(counted[:1].upper() + counted[1:])}.")]
    near = sorted(filter(_bounded, gate), key=lambda f: -f["value"] / f["threshold"])[:NEAREST]
    if near:
        caption = "The figures nearest to their thresholds, of those that may not exceed one"
        rows = [(str(f["name"]), number(f["value"]), number(f["threshold"])) for f in near]
        parts.append(table(caption, ("figure", "value", "limit"), rows))
    return section("privacy", "How private is it?", *parts)


def _bounded(figure: Facts) -> bool:
    return figure["value"] is not None and figure["at_most"] and figure["threshold"] > 0
