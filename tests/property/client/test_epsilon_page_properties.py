from __future__ import annotations

from math import exp

from hypothesis import given, settings
from hypothesis import strategies as st

from cloakhouse.client.epsilon_page import CurvePoint, epsilon_page
from cloakhouse.report.charts import posterior

TEXTS = st.text(st.sampled_from("<>&\"'/ab=\x00\u202e"), max_size=12)
POINTS = st.builds(CurvePoint, st.floats(1e-3, 1e3), st.floats(0, 1), st.none() | st.floats(0, 1))


@given(prior=st.sampled_from([0.0, 1.0]) | st.floats(1e-12, 1 - 1e-12), epsilon=st.floats(0, 1e4))
def test_a_belief_stays_within_its_bounds_and_nothing_is_learnt_at_zero(prior: float, epsilon: float) -> None:
    least, most = posterior(prior, -epsilon), posterior(prior, epsilon)
    assert 0 <= least <= prior * (1 + 1e-9)
    assert prior * (1 - 1e-9) <= most <= 1
    assert most <= prior * exp(min(epsilon, 700)) * (1 + 1e-9)  # never more than e^epsilon times as likely


@settings(max_examples=60)
@given(
    texts=st.lists(TEXTS, min_size=6, max_size=6),
    epsilon=st.floats(1e-3, 1e3),
    delta=st.floats(0, 0.999),
    curve=st.lists(POINTS, max_size=5),
)
def test_any_texts_and_figures_make_a_page_without_markup_of_their_own(
    texts: list[str], epsilon: float, delta: float, curve: list[CurvePoint]
) -> None:
    title, unit, neighbours, mechanism, name, value = texts

    def page(title: str, unit: str, neighbours: str, mechanism: str, name: str, value: str) -> str:
        guarantee = {"epsilon": epsilon, "delta": delta, "unit": unit, "neighbours": neighbours, "mechanism": mechanism}
        card = {"title": title, "privacy": {"guarantee": guarantee, "parameters": {name: value}}, "limits": value}
        return epsilon_page(card, None, curve)

    found = page(title, unit, neighbours, mechanism, name, value)
    limits = bool(value)
    plain = page("t", "u", "n", "m", "p", "v" if limits else "")
    assert found.count("<") == plain.count("<")
    assert found.count(">") == plain.count(">")
    assert "nan" not in plain
