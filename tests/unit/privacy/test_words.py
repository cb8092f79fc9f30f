"""A guarantee and a gate in lines for people."""

from __future__ import annotations

from typing import Any

from cloakhouse.privacy.words import gate_in_words, in_words


def figure(name: str, value: float | None, threshold: float, *, passed: bool, at_most: bool = True) -> dict[str, Any]:
    return {"name": name, "value": value, "threshold": threshold, "passed": passed, "at_most": at_most}


def test_a_guarantee_is_told_with_its_neighbours_and_words_stay_words() -> None:
    said = in_words({"epsilon": 3.0, "delta": 1e-7, "neighbours": "add or remove one household"})
    assert said == "epsilon 3, delta 1e-07 (add or remove one household)"
    assert in_words("none: not differentially private") == "none: not differentially private"


def test_a_gate_names_what_failed_and_what_came_near() -> None:
    lines = gate_in_words(
        [
            figure("copies", 0.001, 0.02, passed=True),
            figure("membership", 0.09, 0.1, passed=True),
            figure("k", 11.0, 5.0, passed=True, at_most=False),
            figure("linkability", 0.3, 0.2, passed=False),
            figure("inference", None, 0.2, passed=False),
        ]
    )
    assert lines == [
        "3 of 5 figures within their thresholds",
        "FAILED: linkability 0.3 (at most 0.2)",
        "FAILED: inference not computed (at most 0.2)",
        "nearest to its threshold: membership 0.09 (at most 0.1)",
    ]


def test_figures_whose_values_are_withheld_are_counted_only() -> None:
    assert gate_in_words([figure("copies", None, 0.02, passed=True)]) == ["1 of 1 figures within their thresholds"]
