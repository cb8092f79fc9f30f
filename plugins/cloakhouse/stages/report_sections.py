"""The parts of a validation report that follow from contract, evidence, synthesis and release alone.

Value-free by construction: each field of the report is named here, once, and goes through a function of
`cloakhouse.stages.report_fields`. Names are those of the contract in force and of the platform's own checks and
attacks; texts are the contract's. Labels of groups, notes and messages stay behind. A pure function, so that an auditor
makes the same parts again from a bundle.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

from cloakhouse.contracts.model import Contract, Privacy
from cloakhouse.lake.releases import Release
from cloakhouse.privacy.attacks.battery import figure_names, threshold_of
from cloakhouse.privacy.copies import MATCHES_HOLDOUT, MATCHES_TRAINING
from cloakhouse.stages import report_fields as take
from cloakhouse.stages.gate import Figure, attack_columns
from cloakhouse.stages.gate_check import Recomputed, recomputed
from cloakhouse.stages.report_utility import utility_part

Facts = Mapping[str, Any]
CHECKS = (
    "one row a cell",
    "expect_column_distinct_values_to_be_in_set",
    "expect_column_distinct_values_to_contain_set",
    "expect_column_distinct_values_to_equal_set",
    "expect_column_kl_divergence_to_be_less_than",
    "expect_column_max_to_be_between",
    "expect_column_mean_to_be_between",
    "expect_column_median_to_be_between",
    "expect_column_min_to_be_between",
    "expect_column_most_common_value_to_be_in_set",
    "expect_column_pair_values_a_to_be_greater_than_b",
    "expect_column_pair_values_to_be_equal",
    "expect_column_pair_values_to_be_in_set",
    "expect_column_proportion_of_non_null_values_to_be_between",
    "expect_column_proportion_of_unique_values_to_be_between",
    "expect_column_quantile_values_to_be_between",
    "expect_column_stdev_to_be_between",
    "expect_column_sum_to_be_between",
    "expect_column_to_exist",
    "expect_column_unique_value_count_to_be_between",
    "expect_column_value_lengths_to_be_between",
    "expect_column_value_lengths_to_equal",
    "expect_column_value_z_scores_to_be_less_than",
    "expect_column_values_to_be_between",
    "expect_column_values_to_be_in_set",
    "expect_column_values_to_be_in_type_list",
    "expect_column_values_to_be_null",
    "expect_column_values_to_be_of_type",
    "expect_column_values_to_be_unique",
    "expect_column_values_to_match_like_pattern",
    "expect_column_values_to_match_like_pattern_list",
    "expect_column_values_to_match_regex",
    "expect_column_values_to_match_regex_list",
    "expect_column_values_to_not_be_in_set",
    "expect_column_values_to_not_be_null",
    "expect_column_values_to_not_match_like_pattern",
    "expect_column_values_to_not_match_like_pattern_list",
    "expect_column_values_to_not_match_regex",
    "expect_column_values_to_not_match_regex_list",
    "expect_compound_columns_to_be_unique",
    "expect_copy_excess_to_be_at_most",
    "expect_multicolumn_sum_to_equal",
    "expect_select_column_values_to_be_unique_within_record",
    "expect_table_column_count_to_be_between",
    "expect_table_column_count_to_equal",
    "expect_table_columns_to_match_ordered_list",
    "expect_table_columns_to_match_set",
    "expect_table_k_anonymity_to_be_at_least",
    "expect_table_row_count_to_be_between",
    "expect_table_row_count_to_equal",
    "expect_table_row_count_to_equal_other_table",
    "expect_table_to_hold_no_direct_identifier",
)


def derived(contract: Contract, evidence: Facts, synthesis: Facts, release: Release | None) -> dict[str, Any]:
    """Return the parts by name, JSON-ready: verdict, contract, lineage, quality, gate, privacy, utility.

    `synthesis` is empty for the answer to a query; `release` is None for evidence that nothing was published from.
    """
    gate = recomputed(contract, evidence, synthesis)
    return {
        "verdict": {
            "passed": gate.passed,
            "stated": gate.stated,
            "agrees": gate.agrees,
            "figures": len(gate.figures),
            "figures_passed": sum(figure.passed for figure in gate.figures),
            "checks": gate.checks,
            "checks_passed": gate.checks_passed,
        },
        "contract": _contract(contract),
        "lineage": _lineage(contract, evidence, synthesis, release),
        "quality": _quality(contract, evidence),
        "gate": [_figure(figure) for figure in gate.figures],
        "privacy": {**_privacy(contract, evidence), "attacks": _attacks(contract, evidence, gate)},
        "utility": utility_part(contract, evidence),
    }


def _contract(contract: Contract) -> dict[str, Any]:
    return {
        "name": contract.name,
        "version": contract.version,
        "digest": contract.digest,
        "title": contract.description,
        "owner": contract.owner,
        "purpose": contract.purpose,
        "legal_basis": contract.legal_basis,
        "retention_days": dict(contract.retention_days),
        "unit_of_privacy": contract.unit_of_privacy,
        "columns": [{"name": column.name, "class": column.column_class.value} for column in contract.columns],
    }


def _lineage(contract: Contract, evidence: Facts, synthesis: Facts, release: Release | None) -> dict[str, Any]:
    made = synthesis or evidence
    engine = take.mapping(synthesis.get("engine"))
    own = contract.synthesis.engine if contract.synthesis else ""
    sources = take.mapping(made.get("sources"))
    run = release.run if release else {}
    return {
        "sources": [_source(name, take.items(sources.get(name))) for name in contract.sources],
        "engine": take.one_of(engine.get("engine"), (own,)),
        "libraries": take.libraries(engine.get("library")),
        "rows": take.whole(made.get("rows")),
        "training": _side(synthesis.get("training")),
        "holdout": _side(synthesis.get("holdout")),
        "suppressed_rows": take.whole(synthesis.get("suppressed_rows")),
        "run": {
            "dag": take.one_of(run.get("dag"), (f"publish_{contract.name}",)),
            "run": take.run_id(run.get("run")),
        },
        "code": take.code_version(release.code.get("cloakhouse") if release else made.get("code")),
    }


def _source(name: str, partitions: Any) -> dict[str, Any]:
    days = sorted(filter(None, (take.day(take.mapping(part).get("partition")) for part in partitions)))
    return {
        "dataset": name,
        "partitions": len(partitions),
        "first": days[0] if days else None,
        "last": days[-1] if days else None,
    }


def _side(found: Any) -> dict[str, Any]:
    side = take.mapping(found)
    return {"rows": take.whole(side.get("rows")), "units": take.whole(side.get("units"))}


def _quality(contract: Contract, evidence: Facts) -> dict[str, Any]:
    quality, suite = take.mapping(evidence.get("quality")), take.mapping(evidence.get("suite"))
    known = [*(column.name for column in contract.columns), MATCHES_TRAINING, MATCHES_HOLDOUT]
    return {
        "suite": take.one_of(suite.get("name"), (f"{contract.name}-{contract.version}", contract.name)),
        "digest": take.digest(suite.get("digest")),
        "rows": take.whole(quality.get("rows")),
        "expectations": [
            {
                "type": take.one_of(item.get("type"), CHECKS),
                "columns": take.names(item.get("columns"), known),
                "success": take.flag(item.get("success")),
                "rows": take.whole(item.get("element_count")),
                "unexpected": take.whole(item.get("unexpected_count")),
                "error": item.get("exception_class") is not None,
            }
            for item in map(take.mapping, take.items(quality.get("expectations")))
        ],
    }


def _figure(figure: Figure) -> dict[str, Any]:
    return dict(figure.as_dict())


def _privacy(contract: Contract, evidence: Facts) -> dict[str, Any]:
    stated = take.mapping(evidence.get("privacy_guarantee"))
    promise = _promise(contract)
    guarantee = None
    if promise is not None:
        guarantee = {
            "epsilon": promise.epsilon,
            "delta": promise.delta,
            "rho": take.number(stated.get("rho")),
            "unit": contract.unit_of_privacy,
            "consumer": promise.consumer,
        }
    account = take.mapping(evidence.get("account"))
    return {
        "guarantee": guarantee,
        "account": {
            "dataset": take.one_of(account.get("dataset"), contract.sources),
            "consumer": promise.consumer if promise else None,
            "spent_epsilon": take.number(account.get("spent_epsilon")),
            "left_epsilon": take.number(account.get("left_epsilon")),
            "renews": take.day(account.get("renews")),
        }
        if account
        else None,
        "anonymity": _anonymity(contract, take.mapping(evidence.get("anonymity"))),
        "curve": [
            {"epsilon": epsilon, "tvd": tvd}
            for point in map(take.mapping, take.items(evidence.get("curve")))
            if (epsilon := take.number(point.get("epsilon"))) and (tvd := take.number(point.get("tvd"))) is not None
        ],
    }


def _promise(contract: Contract) -> Privacy | None:
    if contract.query is not None:
        return contract.query.privacy
    return contract.synthesis.privacy if contract.synthesis is not None else None


def _anonymity(contract: Contract, found: Facts) -> dict[str, Any] | None:
    gate = contract.gate
    if gate is None:
        return None
    known = {column.name for column in contract.columns} | set(gate.quasi_identifiers)
    numbered = count(1)
    return {
        "dataset": gate.k_dataset,
        "over": list(gate.quasi_identifiers),
        "k": take.whole(found.get("k")),
        "diversity": [
            {
                "column": take.one_of(item.get("column"), known) or f"sensitive column {next(numbered)}",
                **{name: take.number(item.get(name)) for name in ("l", "entropy_l", "t")},
            }
            for item in map(take.mapping, take.items(found.get("diversity")))
        ],
    }


def _attacks(contract: Contract, evidence: Facts, gate: Recomputed) -> list[dict[str, Any]]:
    if contract.gate is None or contract.synthesis is None:
        return []
    found = {str(item.get("name")): item for item in map(take.mapping, take.items(evidence.get("risks")))}
    figures = {figure.name: figure for figure in gate.figures}
    own = contract.gate.risks
    return [
        {
            "name": name,
            "value": take.number(found.get(name, {}).get("value")),
            "bound": take.number(found.get(name, {}).get("bound")),
            "threshold": take.number(figures[name].threshold),
            "by": "contract" if threshold_of(name, own) is not None else "platform",
            "rows": take.whole(found.get(name, {}).get("rows")),
            "units": take.whole(found.get(name, {}).get("units")),
            "passed": figures[name].passed,
        }
        for name in figure_names(attack_columns(contract))
    ]
