"""Every refusal of the parser. Each case is a sound contract with one fault; `§` stands before the node pointed at."""

# ruff: noqa: E501  # one case a line, so that the table can be read across

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from tests.support.contracts import SHIPPED, column, feed_text

from cloakhouse.contracts.parser import MAX_CONTRACT_BYTES, load_contract, load_contracts, parse_contract
from cloakhouse.contracts.treatments import REGISTRY
from cloakhouse.errors import ContractError

FEED = feed_text(
    columns=(
        "{name: id, logicalType: integer, customProperties: [{property: class, value: direct identifier}, "
        "{property: treatment, value: {token: {domain: customer, purpose: analytics}}}]}",
        "{name: code, logicalType: string, logicalTypeOptions: {maxLength: 9}, customProperties: "
        "[{property: class, value: plain}, {property: treatment, value: keep}]}",
        "{name: day, logicalType: date, customProperties: "
        "[{property: class, value: plain}, {property: treatment, value: keep}]}",
    )
)
SYNTHETIC = (SHIPPED / "baskets_synthetic.odcs.yaml").read_text()
PRIVATE = (SHIPPED / "baskets_private.odcs.yaml").read_text()
BUDGET = FEED.replace(
    "schema:\n",
    "  - property: privacyBudget\n    value: {unit: household, epsilon: {default: 12}, delta: 1.0e-6, renewal: year}\nschema:\n",
)
TOKEN = "{token: {domain: customer, purpose: analytics}}"
CODE = "logicalTypeOptions: {maxLength: 9}, customProperties: [{property: class, value: plain}, "
KEEP_CODE = CODE + "{property: treatment, value: keep}]}"

# fault: (text, replaced, by, expected, found, remedy)
CASES: dict[str, tuple[str, str, str, str, str, str]] = {
    # not YAML, or not YAML that a contract may be written in
    "broken_brackets": (FEED, "kind: DataContract\n", "kind: [DataContract\nid§: x\n", "well-formed YAML", "expected", "brackets"),
    "tab_as_indent": (FEED, "  purpose: made", "§\tpurpose: made", "well-formed YAML", "token", "indentation"),
    "duplicate_key": (FEED, "status: active", "status: active\n§version: 2.0.0", "each key once", "`version` a second time", "remove one"),
    "two_documents": (FEED, "apiVersion: v3", "a: 1\n§---\napiVersion: v3", "well-formed YAML", "another document", "correct"),
    "control_character": (FEED, "made for", "made §\x07for", "printable text", "control character", "remove"),
    "half_a_surrogate_pair": (FEED, "owner: tests", 'owner: §"\\uD800"', "Unicode text", "surrogate", "escape"),
    "escape_of_no_character": (FEED, "owner: tests", 'owner: "\\U§FFFFFFFF"', "well-formed YAML", "no such character", "correct"),
    "number_as_key": (FEED, "status: active", "status: active\n§7: seven", "a text as key", "type int", "quotes"),
    "list_as_key": (FEED, "status: active", "status: active\n§[a, b]: c", "a text as key", "type seq", "quotes"),
    "null_as_key": (FEED, "status: active", "status: active\n§~: c", "a text as key", "type null", "quotes"),
    "python_tag": (FEED, "status: active", "status: §!!python/object/apply:os.getcwd []", "plain texts", "a tag", "remove"),
    "set_tag": (FEED, "owner: tests", "owner: §!!set {a, b}", "plain texts", "a tag", "remove"),
    "binary_tag": (FEED, "owner: tests", "owner: §!!binary aGVsbG8=", "plain texts", "a tag", "remove"),
    "bool_tag_on_text": (FEED, "owner: tests", "owner: §!!bool perhaps", "well-formed YAML", "no bool", "correct"),
    "int_tag_on_text": (FEED, "owner: tests", "owner: §!!int many", "well-formed YAML", "no int", "correct"),
    "impossible_date": (FEED, "firstPartition: 2016-12-26", "firstPartition: §2016-02-30", "well-formed YAML", "no timestamp", "correct"),
    "alias_of_itself": (FEED, "status: active", "status: &a [*a]", "a document of at most", "nesting", "flat"),
    # not ODCS
    "not_a_mapping": (FEED, FEED, "§- a\n- b\n", "a mapping", "list", "template"),
    "just_a_text": (FEED, FEED, "§hello\n", "a mapping", "str", "template"),
    "unknown_odcs_key": (FEED, "status: active", "status: active\nkeeper: §me", "ODCS v3 model", "keeper", "correct that key"),
    "version_as_number": (FEED, "version: 1.0.0", "version: §1.5", "ODCS v3 model", "version", "correct that key"),
    "schema_as_text": (FEED, "apiVersion: v3.1.0", "apiVersion: v3.1.0\ntags: §all", "ODCS v3 model", "tags", "correct that key"),
    "another_kind": (FEED, "kind: DataContract", "kind: §DataProduct", "one of DataContract", "`DataProduct`", "correct"),
    "odcs_v2": (FEED, "apiVersion: v3.1.0", "apiVersion: §v2.2.2", "ODCS v3", "another version", "ODCS v3"),
    "no_name": (FEED, "\nname: people\n", "\n", "`name`", "nothing", "add `name`"),
    "name_with_capitals": (FEED, "\nname: people\n", "\nname: §People\n", "lower-case", "str that is not", "correct"),
    "version_of_two_parts": (FEED, "version: 1.0.0", 'version: §"1.0"', "MAJOR.MINOR.PATCH", "that is not", "correct"),
    "no_description": (FEED, "description:\n  purpose: made for a test\n", "", "mapping", "nothing", "key: value"),
    "description_without_purpose": (FEED, "purpose: made for a test", "usage: x", "`purpose`", "nothing", "add `purpose`"),
    # the privacy part
    "no_dataset_property": (FEED, "property: dataset", "property: §dtaset", "dataset", "`dtaset`", "spelling"),
    "unknown_custom_property": (FEED, "  - property: feed", "  - property: §colour\n    value: red\n  - property: feed", "each of", "`colour`", "spelling"),
    "property_twice": (FEED, "schema:\n", "  - property: §feed\n    value: {}\nschema:\n", "once", "`feed`", "remove"),
    "gate_in_a_feed": (FEED, "schema:\n", "  - §property: gate\n    value: {}\nschema:\n", "of a feed contract", "`gate`", "kind"),
    "feed_in_a_synthetic": (SYNTHETIC, "schema:\n", "  - §property: feed\n    value: {}\nschema:\n", "of a synthetic contract", "`feed`", "kind"),
    "kind_of_dataset": (FEED, "kind: feed", "kind: §stream", "one of feed, synthetic", "`stream`", "correct"),
    "no_legal_basis": (FEED, "      legalBasis: consent\n", "", "`legalBasis`", "nothing", "add `legalBasis`"),
    "owner_as_list": (FEED, "owner: tests", "owner: §[a, b]", "`owner` as a text", "a list", "correct"),
    "misspelt_dataset_key": (FEED, "      owner: tests\n", "      owner: tests\n      legalbasis: §x\n", "one of", "`legalbasis`", "spelling"),
    "retention_of_an_unknown_zone": (FEED, "{landing: 30", "{landng: §30", "landing", "`landng`", "spelling"),
    "retention_of_no_zone": (FEED, "{landing: 30, protected: 730}", "§{}", "at least one zone", "none", "landing: 30"),
    "retention_zero": (FEED, "landing: 30", "landing: §0", "1 to 36500", "another value", "correct"),
    "retention_true": (FEED, "landing: 30", "landing: §true", "1 to 36500", "another value", "correct"),
    # the feed
    "no_feed": (FEED, FEED[FEED.index("  - property: feed") : FEED.index("schema:")], "", "a property `feed`", "none", "firstPartition"),
    "misspelt_feed_key": (FEED, "      afterLanding:", "      maxLineByte: §80\n      afterLanding:", "one of", "`maxLineByte`", "spelling"),
    "file_name_without_partition": (FEED, "people-{partition}.csv", "§people.csv", "one {partition}", "another form", "e.g."),
    "file_name_with_folder": (FEED, "files: people-", "files: §../people-", "a file name", "another form", "e.g."),
    "unknown_format": (FEED, "format: csv", "format: §xml", "csv, jsonl", "`xml`", "correct"),
    "no_format": (FEED, "      format: csv\n", "", "one of csv, jsonl", "nothing", "add `format`"),
    "delimiter_of_two": (FEED, 'delimiter: ","', 'delimiter: §",,"', "one of", "another", "delimiter"),
    "delimiter_a_quote": (FEED, 'delimiter: ","', "delimiter: §'\"'", "one of", "another", "delimiter"),
    "delimiter_a_list": (FEED, 'delimiter: ","', "delimiter: §[',']", "one of", "another", "delimiter"),
    "unknown_period": (FEED, "period: day", "period: §month", "day, week, snapshot", "`month`", "correct"),
    "week_not_from_monday": (FEED.replace("period: day", "period: week"), "2016-12-26", "§2016-12-27", "a Monday", "another day", "ISO 8601"),
    "first_partition_a_time": (FEED, "2016-12-26", "§2016-12-26T00:00:00", "YYYY-MM-DD", "datetime", "first day"),
    "first_partition_a_text": (FEED, "firstPartition: 2016-12-26", "firstPartition: §soon", "YYYY-MM-DD", "str", "first day"),
    "line_length_too_large": (FEED, "maxLineBytes: 65536", "maxLineBytes: §999999999", "64 to 67108864", "another value", "correct"),
    "after_landing_unknown": (FEED, "afterLanding: delete", "afterLanding: §archive", "delete, keep", "`archive`", "correct"),
    # columns
    "no_schema": (FEED, FEED[FEED.index("schema:") :], "", "one schema object", "0 objects", "schema[0]"),
    "two_schema_objects": (FEED, "schema:\n", "schema:\n  §- name: other\n", "one schema object", "2 objects", "one dataset"),
    "no_columns": (FEED, FEED[FEED.index("    properties:\n      - {") :], "", "with properties", "1 objects", "columns"),
    "column_twice": (FEED, "{name: code", "{name: §id", "each column once", "`id` a second time", "remove one"),
    "column_name_with_comma": (FEED, "{name: code", "{name: §'a,b'", "lower-case", "that is not", "correct"),
    "unknown_logical_type": (FEED, "logicalType: date", "logicalType: §money", "string, integer", "`money`", "correct"),
    "column_without_class": (FEED, "§", "", "a class for column `code`", "none", "add customProperties `class`"),
    "unknown_class": (FEED, "class, value: direct identifier", "class, value: §secret", "direct identifier, indirect", "`secret`", "correct"),
    "class_without_value": (FEED, "class, value: direct identifier", "class", "direct identifier", "nothing", "add `value`"),
    "column_without_treatment": (FEED, "§", "", "a treatment", "none", "add customProperties `treatment`"),
    "unknown_column_property": (FEED, "{property: class, value: plain}, {property: treatment, value: keep}]}\n      - {name: day", "{property: §klass, value: plain}]}\n      - {name: day", "class, keptFor, treatment", "`klass`", "spelling"),
    "misspelt_column_key": (FEED, "{name: code, ", "{name: code, requred: §true, ", "required", "`requred`", "spelling"),
    "required_as_text": (FEED, "{name: code, ", "{name: code, required: §no, ", "true or false", "str", "correct"),
    "unknown_option": (FEED, "{maxLength: 9}", "{maxlength: §9}", "pattern, maxLength", "`maxlength`", "correct"),
    "length_zero": (FEED, "{maxLength: 9}", "{maxLength: §0}", "a whole number", "another value", "correct"),
    "bound_on_a_string": (FEED, "{maxLength: 9}", "{minimum: §9}", "type string", "`minimum`", "remove"),
    "pattern_broken": (FEED, "{maxLength: 9}", "{pattern: §'[0-9'}", "RE2", "another text", "Syntax"),
    "pattern_looks_around": (FEED, "{maxLength: 9}", "{pattern: §'(?=a)b'}", "RE2", "another text", "look-around"),
    "bound_of_another_type": (FEED, "logicalType: date,", "logicalType: date, logicalTypeOptions: {minimum: §12},", "YYYY-MM-DD", "int that is not", "correct"),
    "bound_with_zone": (FEED, "logicalType: date,", "logicalType: timestamp, logicalTypeOptions: {maximum: §2017-01-01T00:00:00Z},", "without zone", "datetime that is not", "correct"),
    "bound_over_64_bits": (FEED, "logicalType: date,", "logicalType: integer, logicalTypeOptions: {maximum: §9223372036854775808},", "64 bits", "int that is not", "correct"),
    "bound_not_finite": (FEED, "logicalType: date,", "logicalType: number, logicalTypeOptions: {maximum: §.nan},", "finite", "float that is not", "correct"),
    "bounds_crossed": (FEED, "logicalType: date,", "logicalType: number, logicalTypeOptions: {minimum: 2, maximum: §1},", "not below the minimum", "smaller", "swap"),
    "relationship_without_column": (FEED, "{name: code, ", "{name: code, relationships: §[{to: customers}], ", "`dataset.column`", "another form", "customers.id"),
    "two_relationships": (FEED, "{name: code, ", "{name: code, relationships: §[{to: a.b}, {to: c.d}], ", "one relationship", "another form", "customers.id"),
    # treatments
    "unknown_treatment": (FEED, TOKEN, "§encrypt", "a treatment: drop, keep", "`encrypt`", "--treatments"),
    "unknown_parameter": (FEED, TOKEN, "{token: {domain: a, purpose: b, key: §x}}", "domain, purpose", "`key`", "--treatments"),
    "missing_parameter": (FEED, TOKEN, "§{token: {domain: a}}", "token with `purpose`", "no such parameter", "--treatments"),
    "domain_with_nul": (FEED, TOKEN, '{token: {domain: §"a\\0b", purpose: b}}', "letters", "str that is not", "--treatments"),
    "parameters_as_text": (FEED, TOKEN, "{token: §customer}", "as a mapping", "str", "write e.g."),
    "parameters_as_list": (FEED, TOKEN, "{token: §[a, b]}", "as a mapping", "list", "write e.g."),
    "two_treatments": (FEED, TOKEN, "§{drop: {}, keep: {}}", "one treatment", "dict", "write e.g."),
    "treatment_a_number": (FEED, TOKEN, "§7", "one treatment", "int", "write e.g."),
    "direct_identifier_kept": (FEED, TOKEN, "§keep", "direct identifier to be dropped", "keep", "`drop`"),
    "payment_kept": (FEED, KEEP_CODE, KEEP_CODE.replace("plain", "payment").replace("keep", "§keep"), "payment to be dropped", "keep", "`drop`"),
    "token_on_a_number": (FEED.replace("logicalType: integer", "logicalType: number"), TOKEN, "§" + TOKEN, "token on date, integer, string", "type number", "--treatments"),
    "ff1_domain_too_small": (FEED, KEEP_CODE, CODE + "{property: treatment, value: {format-preserving token: {domain: a, purpose: b, length: §16, keepPrefix: 6, keepSuffix: 5}}}]}", "1,000,000", "5 free places", "--treatments"),
    "ff1_length_missing": (FEED, KEEP_CODE, CODE + "{property: treatment, value: §{format-preserving token: {domain: a, purpose: b}}}]}", "with `length`", "no such", "--treatments"),
    "ff1_alphabet_unknown": (FEED, KEEP_CODE, CODE + "{property: treatment, value: {format-preserving token: {domain: a, purpose: b, length: 9, alphabet: §runes}}}]}", "digits, hex, letters, base36", "str that is not", "--treatments"),
    "generalize_without_a_way": (FEED, KEEP_CODE, CODE + "{property: treatment, value: §generalize}]}", "one of ageBands, bins", "0 of them", "--treatments"),
    "generalize_two_ways": (FEED, KEEP_CODE, CODE + "{property: treatment, value: §{generalize: {prefix: 1, groups: {a: [b]}}}}]}", "one of ageBands, bins", "2 of them", "--treatments"),
    "generalize_on_a_wrong_type": (FEED, KEEP_CODE, CODE + "{property: treatment, value: {generalize: {to: §hour}}}]}", "`to` on date, timestamp", "type string", "--treatments"),
    "age_bands_without_day": (FEED, "logicalType: date, customProperties: [{property: class, value: plain}, {property: treatment, value: keep}", "logicalType: date, customProperties: [{property: class, value: plain}, {property: treatment, value: §{generalize: {ageBands: [35]}}}", "`ageBands` with `on`", "otherwise", "--treatments"),
    "age_bands_falling": (FEED, "logicalType: date, customProperties: [{property: class, value: plain}, {property: treatment, value: keep}", "logicalType: date, customProperties: [{property: class, value: plain}, {property: treatment, value: {generalize: {ageBands: §[55, 35], on: 2017-01-01}}}", "rising list", "list that is not", "--treatments"),
    "age_bands_on_a_time": (FEED, "logicalType: date, customProperties: [{property: class, value: plain}, {property: treatment, value: keep}", "logicalType: date, customProperties: [{property: class, value: plain}, {property: treatment, value: {generalize: {ageBands: [35], on: §2017-01-01T00:00:00}}}", "YYYY-MM-DD", "datetime that is not", "--treatments"),
    "group_of_numbers": (FEED, KEEP_CODE, CODE + "{property: treatment, value: {generalize: {groups: §{few: [1, 2]}}}}]}", "list of texts", "dict that is not", "--treatments"),
    "member_of_two_groups": (FEED, KEEP_CODE, CODE + "{property: treatment, value: {generalize: {groups: §{a: [x], b: [x]}}}}]}", "each text once", "dict that is not", "--treatments"),
    "mask_with_a_word": (FEED, KEEP_CODE, CODE + "{property: treatment, value: {mask: {sign: §xyz}}}]}", "one character", "str that is not", "--treatments"),
    # synthesis and gate
    "no_synthesis": (SYNTHETIC, SYNTHETIC[SYNTHETIC.index("  - property: synthesis") : SYNTHETIC.index("  - property: gate")], "", "`synthesis`", "none", "engine"),
    "no_gate": (SYNTHETIC, SYNTHETIC[SYNTHETIC.index("  - property: gate") : SYNTHETIC.index("schema:")], "", "`gate`", "none", "maxCopyExcess"),
    "unknown_engine": (SYNTHETIC, "engine: gaussian copula", "engine: §magic", "gaussian copula", "`magic`", "correct"),
    "holdout_of_everything": (SYNTHETIC, "holdoutShare: 0.45", "holdoutShare: §1", "between 0 and 1", "another value", "correct"),
    "misspelt_synthesis_key": (SYNTHETIC, "      seed: 2017\n", "      seed: 2017\n      holdoutshare: §0.1\n", "one of", "`holdoutshare`", "spelling"),
    "misspelt_gate_key": (SYNTHETIC, "      minHoldoutUnits: 400\n", "      minHoldoutUnits: 400\n      maxCopyExces: §0.5\n", "one of", "`maxCopyExces`", "spelling"),
    "gate_threshold_missing": (SYNTHETIC, "      maxCopyExcess: 0.01\n", "", "`maxCopyExcess`", "nothing", "add `maxCopyExcess`"),
    "k_of_one": (SYNTHETIC, "k: 5}", "k: §1}", "2 to 1000000", "another value", "correct"),
    "misspelt_k_anonymity_key": (SYNTHETIC, "k: 5}", "k: 5, l: §2}", "one of", "`l`", "spelling"),
    "quasi_identifier_twice": (SYNTHETIC, "over: [birth_date, age,", "over: §[age, age,", "distinct names", "list", "correct"),
    "view_lacks_a_column": (SYNTHETIC, "          hour: {hour: transaction_timestamp}\n", "", "a measure for each declared column", "10 measures for 11", "agree"),
    "view_in_another_order": (SYNTHETIC, "          month: {month: transaction_timestamp}\n          weekday: {weekday: transaction_timestamp}\n", "          weekday: {weekday: transaction_timestamp}\n          month: {month: transaction_timestamp}\n", "same order", "11 measures for 11", "agree"),
    "misspelt_view_key": (SYNTHETIC, "        unit: household_id\n", "        unit: household_id\n        lookup: §{}\n", "one of", "`lookup`", "spelling"),
    "misspelt_lookup_key": (SYNTHETIC, "{on: product_id, ", "{on: product_id, column: §a, ", "one of", "`column`", "spelling"),
    "measure_as_text": (SYNTHETIC, "{hour: transaction_timestamp}", "§hour", "{measure: column}", "str", "{sum: quantity}"),
    "measure_unknown": (SYNTHETIC, "{hour: transaction_timestamp}", "§{minute: transaction_timestamp}", "one measure of", "0", "just one"),
    "two_measures": (SYNTHETIC, "{sum: quantity, cap: 200}", "§{sum: quantity, first: quantity}", "one measure of", "2", "just one"),
    "any_without_equals": (SYNTHETIC, "{any: department, equals: MEAT}", "§{any: department}", "`equals` with `any`", "otherwise", "e.g."),
    "cap_of_zero": (SYNTHETIC, "{sum: quantity, cap: 200}", "{sum: quantity, cap: §0}", "1 to 1000000000", "another value", "correct"),
    "number_of_another_level": (SYNTHETIC, "{hour: transaction_timestamp}", "{number: §group}", "one of unit", "`group`", "correct"),
    "level_of_lines_in_groups": (SYNTHETIC, "{hour: transaction_timestamp}", "{hour: transaction_timestamp, level: §group}", "one of unit, row", "`group`", "correct"),
    "count_of_lines": (SYNTHETIC, "        groupBy: basket_id\n", "        groupBy: basket_id\n        rows: lines\n", "one measure of first, month", "0", "just one"),
    "values_twice": (SYNTHETIC, "{first: store_id}", "{first: store_id, values: §[1, 1]}", "distinct", "otherwise", "list"),
    "values_of_fractions": (SYNTHETIC, "{first: store_id}", "{first: store_id, values: §[1.5]}", "whole numbers", "otherwise", "list"),
    "no_values": (SYNTHETIC, "{first: store_id}", "{first: store_id, values: §[]}", "distinct", "otherwise", "list"),
    "task_without_a_class": (SYNTHETIC, "{target: value, above: 20}", "§{target: value}", "`above` or `equals`", "both or none", "e.g."),
    "task_of_no_column": (SYNTHETIC, "{target: value, above: 20}", "{target: §size, above: 20}", "one of store_id", "`size`", "correct"),
    "segment_of_no_column": (SYNTHETIC, "segments: [month, weekday]", "segments: §[month, size]", "declared columns", "another name", "correct"),
    "parameter_as_text": (SYNTHETIC, "      seed: 2017\n", "      seed: 2017\n      parameters: {epochs: §many}\n", "a number", "str", "correct"),
    "threshold_of_nothing": (SYNTHETIC, "      maxCopyExcess: 0.01\n", "      maxCopyExcess: 0.01\n      risks: {copies: §0}\n", "above 0", "another value", "correct"),
    # the guarantee
    "a_guarantee_of_the_copula": (PRIVATE, "engine: dp-marginals", "maxTrainingRows: 9\n      engine: gaussian copula", "gives a guarantee", "another", "dp-marginals"),
    "epsilon_of_zero": (PRIVATE, "epsilon: 3", "epsilon: §0", "above 0", "another value", "correct"),
    "epsilon_below_zero": (PRIVATE, "epsilon: 3", "epsilon: §-1", "above 0", "another value", "correct"),
    "epsilon_not_a_number": (PRIVATE, "epsilon: 3", "epsilon: §.nan", "above 0", "another value", "correct"),
    "epsilon_infinite": (PRIVATE, "epsilon: 3", "epsilon: §.inf", "at most 20", "another value", "correct"),
    "epsilon_that_says_nothing": (PRIVATE, "epsilon: 3", "epsilon: §25", "at most 20", "another value", "correct"),
    "delta_of_zero": (PRIVATE, "delta: 1.0e-7", "delta: §0.0", "above 0", "another value", "correct"),
    "delta_too_large": (PRIVATE, "delta: 1.0e-7", "delta: §0.01", "at most 9.99e-05", "another value", "correct"),
    "no_consumer": (PRIVATE, ", consumer: model training", "", "`consumer`", "nothing", "add `consumer`"),
    "misspelt_cap": (PRIVATE, "consumer: model training", "consumer: model training, maxRow: §9", "one of", "`maxRow`", "spelling"),
    "no_unit_of_privacy": (PRIVATE, "      unitOfPrivacy: household\n", "", "`unitOfPrivacy`", "nothing", "add `unitOfPrivacy`"),
    "no_unit": (PRIVATE, "        unit: household_id\n", "", "`unit`", "nothing", "add `unit`"),
    "budget_of_a_synthetic_dataset": (PRIVATE, "  - property: gate", "  - §property: privacyBudget\n    value: {}\n  - property: gate", "of a synthetic contract", "`privacyBudget`", "kind"),
    "budget_without_an_epsilon": (BUDGET, "epsilon: {default: 12}", "epsilon: §{}", "by consumer", "none", "e.g."),
    "budget_below_zero": (BUDGET, "epsilon: {default: 12}", "epsilon: {default: §-12}", "above 0", "another value", "correct"),
    "budget_that_renews_daily": (BUDGET, "renewal: year", "renewal: §day", "one of never, year", "`day`", "correct"),
    "treatment_of_a_synthetic_column": (SYNTHETIC, "          - {property: class, value: sensitive}\n      - name: has_meat", "          - {property: class, value: sensitive}\n          - {property: treatment, value: keep}\n      - name: has_meat", "synthetic columns without treatment", "a treatment", "remove"),
    "synthetic_direct_identifier": (SYNTHETIC, "value: plain}", "value: direct identifier}", "none of class direct identifier or payment", "direct identifier", "leave the column out"),
}  # fmt: skip
# where the node pointed at is no node of the replacement
PLACES = {
    "alias_of_itself": (FEED, "apiVersion"),
    "no_name": (FEED, "apiVersion"),
    "no_description": (FEED, "apiVersion"),
    "no_legal_basis": (FEED, "kind: feed"),
    "no_feed": (FEED, "- property: dataset"),
    "no_format": (FEED, "files: people"),
    "no_schema": (FEED, "apiVersion"),
    "no_columns": (FEED, "- name: people"),
    "class_without_value": (FEED, "{property: class"),
    "no_synthesis": (SYNTHETIC, "- property: dataset"),
    "no_gate": (SYNTHETIC, "- property: dataset"),
    "gate_threshold_missing": (SYNTHETIC, "maxCopyExcess"),
    "no_consumer": (PRIVATE, "{epsilon: 3"),
    "no_unit_of_privacy": (PRIVATE, "kind: synthetic"),
    "no_unit": (PRIVATE, "from: transactions"),
    "a_guarantee_of_the_copula": (
        PRIVATE.replace("engine: dp-marginals", "maxTrainingRows: 9\n      engine: gaussian copula"),
        "{epsilon: 3",
    ),
    "count_of_lines": (
        SYNTHETIC.replace("        groupBy: basket_id\n", "        groupBy: basket_id\n        rows: lines\n"),
        "{count: product_id, cap",
    ),
    "view_lacks_a_column": (SYNTHETIC, "store_id: {first"),
    "view_in_another_order": (SYNTHETIC, "store_id: {first"),
    "treatment_of_a_synthetic_column": (SYNTHETIC, "name: has_produce"),
    "synthetic_direct_identifier": (SYNTHETIC, "name: store_id"),
    "description_without_purpose": (FEED, "purpose: made"),
}
REWRITTEN = {
    "column_without_class": "logicalTypeOptions: {maxLength: 9}, customProperties: [{property: treatment, value: keep}]}",
    "column_without_treatment": "logicalTypeOptions: {maxLength: 9}, customProperties: [{property: class, value: plain}]}",
}


def place(text: str, needle: str) -> str:
    before = text[: text.index(needle)]
    return f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


@pytest.mark.parametrize("fault", CASES)
def test_refusal_points_at_the_fault_and_says_what_to_do(fault: str) -> None:
    text, old, new, expected, found, remedy = CASES[fault]
    if fault in REWRITTEN:
        text, old, new = text.replace("{name: code", "§{name: code"), KEEP_CODE, REWRITTEN[fault]
    assert text.count(old) >= 1, "the case no longer fits the contract"
    broken = text.replace(old, new, 1)
    at = place(broken, "§") if "§" in broken else place(*PLACES[fault])
    with pytest.raises(ContractError) as refusal:
        parse_contract(broken.replace("§", ""), f"{fault}.odcs.yaml")
    error = refusal.value
    assert error.where == f"{fault}.odcs.yaml:{at}"
    assert expected in error.expected
    assert found in error.found
    assert remedy in error.remedy
    assert "no data was read" in error.not_done
    assert error.code.startswith("contract")


def test_the_contracts_that_the_cases_start_from_are_sound() -> None:
    assert parse_contract(FEED, "feed").name == "people"
    assert parse_contract(SYNTHETIC, "synthetic").name == "baskets_synthetic"


def refused(path: Path) -> ContractError:
    with pytest.raises(ContractError) as refusal:
        load_contract(path)
    return refusal.value


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.odcs.yaml"
    for content in ("", "\n\n", "# a comment alone\n"):
        path.write_text(content)
        error = refused(path)
        assert (error.where, error.expected, error.found) == (
            "empty.odcs.yaml:1:1",
            "one YAML document",
            "an empty file",
        )
        assert "restore" in error.remedy


def test_a_file_of_2_mb(tmp_path: Path) -> None:
    path = tmp_path / "large.odcs.yaml"
    path.write_text(FEED + "# " + "x" * (2 << 20))
    error = refused(path)
    assert error.where == "large.odcs.yaml:1:1"
    assert str(MAX_CONTRACT_BYTES) in error.expected
    assert error.found == "more"
    assert "split" in error.remedy


def test_a_file_just_within_the_bound_loads(tmp_path: Path) -> None:
    path = tmp_path / "large.odcs.yaml"
    path.write_text(FEED + "#" * (MAX_CONTRACT_BYTES - len(FEED)))
    assert load_contract(path).name == "people"


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "latin1.odcs.yaml"
    path.write_bytes(FEED.replace("made for", "für").encode("latin-1"))
    error = refused(path)
    assert error.where == "latin1.odcs.yaml:" + place(FEED.replace("made for", "für"), "ür")
    assert (error.expected, error.found) == ("a UTF-8 file", "a byte that is not")
    assert "UTF-8" in error.remedy


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    assert refused(tmp_path / "gone.odcs.yaml").found == "FileNotFoundError"
    error = refused(tmp_path)
    assert (error.where, error.found) == (f"{tmp_path.name}:1:1", "IsADirectoryError")


@pytest.mark.parametrize(
    "text",
    ["[" * 50_000, "{a: " * 20_000, "- " * 30_000, "&a [*a, *a]", "a: &a [&b [*b, *a], *a]"],
    ids=["brackets", "mappings", "dashes", "alias", "two aliases"],
)
def test_nesting_without_end_is_refused(text: str) -> None:
    with pytest.raises(ContractError) as refusal:
        parse_contract(text, "deep.odcs.yaml")
    assert refusal.value.code == "contract.yaml"


def test_aliases_that_multiply_are_refused_at_once() -> None:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for i in range(1, 12):
        text += f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n"
    with pytest.raises(ContractError) as refusal:
        parse_contract(text, "laughs.odcs.yaml")
    assert "aliases" in refusal.value.found


# one treatment of a column `value` of a type, its fault with § before the node: (type, treatment, expected, found)
PIN = "sha256: " + "a" * 64
TREATED: dict[str, tuple[str, str, str, str]] = {
    "capitals_in_a_domain": ("string", "{token: {domain: §Customer, purpose: b}}", "small letters, digits and _", "str that is not"),
    "unknown_period": ("string", "{token: {domain: a, purpose: b, period: §week}}", "one of month, quarter, year", "str that is not"),
    "unknown_form": ("string", "{token: {domain: a, purpose: b, form: §base64}}", "one of binary, hex, base32", "str that is not"),
    "form_of_a_format_preserving_token": ("string", "{format-preserving token: {domain: a, purpose: b, length: 9, form: §hex}}", "parameters of format-preserving token", "`form`"),
    "unknown_normalisation": ("string", "{token: {domain: a, purpose: b, normalise: §soundex}}", "one of exact, digits, email, phone, name", "str that is not"),
    "normalised_integers": ("integer", "{token: {domain: a, purpose: b, normalise: §digits}}", "`normalise` on string", "type integer"),
    "normalised_dates": ("date", "{reversible token: {domain: a, purpose: b, normalise: §name}}", "`normalise` on string", "type date"),
    "normalised_bucket_of_integers": ("integer", "{bucket: {buckets: 2, domain: a, purpose: b, normalise: §phone}}", "`normalise` on string", "type integer"),
    "normalised_substitute_of_integers": ("integer", "{substitute: {as: name, domain: a, purpose: b, normalise: §name}}", "`normalise` on string", "type integer"),
    "reversible_token_of_a_number": ("number", "§{reversible token: {domain: a, purpose: b}}", "reversible token on date, integer, string", "type number"),
    "reversible_token_without_purpose": ("string", "§{reversible token: {domain: a}}", "reversible token with `purpose`", "no such parameter"),
    "ff1_of_999999_values": ("string", "{format-preserving token: {domain: a, purpose: b, length: §7, keepPrefix: 2}}", "at least 1,000,000 values", "5 free places"),
    "ff1_of_few_letters": ("string", "{format-preserving token: {domain: a, purpose: b, length: §6, alphabet: letters, keepSuffix: 2}}", "at least 1,000,000 values", "4 free places"),
    "ff1_of_fewer_than_none": ("string", "{format-preserving token: {domain: a, purpose: b, length: §6, keepPrefix: 8, keepSuffix: 8}}", "at least 1,000,000 values", "-10 free places"),
    "ff1_of_few_beside_the_check_digit": ("string", "{format-preserving token: {domain: a, purpose: b, length: §6, luhn: valid}}", "at least 1,000,000 values", "5 free places, the check digit not counted"),
    "luhn_of_letters": ("string", "{format-preserving token: {domain: a, purpose: b, length: 9, alphabet: §letters, luhn: valid}}", "digits, with `luhn`", "letters"),
    "luhn_by_another_word": ("string", "{format-preserving token: {domain: a, purpose: b, length: 9, luhn: §yes}}", "one of valid, invalid", "str that is not"),
    "digits_of_base36": ("string", "{format-preserving token: {domain: a, purpose: b, length: 9, alphabet: §base36, normalise: digits}}", "or `normalise: digits`", "base36"),
    "ff1_of_names": ("string", "{format-preserving token: {domain: a, purpose: b, length: 9, normalise: §name}}", "one of exact, digits", "str that is not"),
    "mask_with_a_text_and_a_prefix": ("string", '{mask: {with: §"[NAME]", keepPrefix: 1}}', "`with` alone", "other parameters"),
    "mask_with_an_empty_text": ("string", '{mask: {with: §""}}', "at most 64 characters", "str that is not"),
    "mask_with_a_long_text": ("string", "{mask: {with: §" + "x" * 65 + "}}", "at most 64 characters", "str that is not"),
    "substitute_of_what": ("string", "{substitute: {as: §dog, domain: a, purpose: b}}", "one of name, given name", "str that is not"),
    "substitute_without_as": ("string", "§{substitute: {domain: a, purpose: b}}", "substitute with `as`", "no such parameter"),
    "substitute_of_another_country": ("string", "{substitute: {as: city, locale: §sv_SE, domain: a, purpose: b}}", "one of en_US", "str that is not"),
    "substitute_of_a_date": ("date", "§{substitute: {as: name, domain: a, purpose: b}}", "substitute on integer, string", "type date"),
    "shuffle_with_a_key": ("string", "{shuffle: {domain: §a}}", "parameters of shuffle: none", "`domain`"),
    "generalize_to_a_decade": ("date", "{generalize: {to: §decade}}", "one of hour, day, week, month, quarter, year", "str that is not"),
    "age_bands_of_an_integer": ("integer", "{generalize: {ageBands: §[35], on: 2026-01-01}}", "`ageBands` on date", "type integer"),
    "a_day_without_age_bands": ("date", "§{generalize: {to: year, on: 2026-01-01}}", "`ageBands` with `on`", "otherwise"),
    "bins_of_texts": ("string", "{generalize: {bins: §[1, 2]}}", "`bins` on integer, number", "type string"),
    "fill_without_prefix": ("string", '{generalize: {groups: {a: [b]}, fill: §"*"}}', "`fill` with `prefix`", "`groups`"),
    "fill_with_two_signs": ("string", '{generalize: {prefix: 2, fill: §"**"}}', "one character", "str that is not"),
    "prefix_of_nothing": ("string", "{generalize: {prefix: §0}}", "whole number from 1 to 32", "int that is not"),
    "other_without_groups": ("string", "{generalize: {prefix: 2, other: §rest}}", "`other` with `groups` or `hierarchy`", "`prefix`"),
    "clamp_of_texts": ("string", "{generalize: {clamp: §{top: 9}}}", "`clamp` on date, integer, number", "type string"),
    "clamp_without_an_end": ("integer", "{generalize: {clamp: §{}}}", "`bottom`, `top` or both", "dict that is not"),
    "clamp_of_a_middle": ("integer", "{generalize: {clamp: §{middle: 9}}}", "`bottom`, `top` or both", "dict that is not"),
    "clamp_out_of_order": ("integer", "{generalize: {clamp: §{bottom: 9, top: 9}}}", "in order", "dict that is not"),
    "clamp_of_a_date_and_a_number": ("date", "{generalize: {clamp: §{bottom: 1930-01-01, top: 9}}}", "as numbers or as dates", "dict that is not"),
    "clamp_by_words": ("integer", "{generalize: {clamp: §{top: ninety}}}", "as numbers or as dates", "dict that is not"),
    "clamp_of_integers_by_a_fraction": ("integer", "{generalize: {clamp: §{top: 9.5}}}", "ends that a column of type integer", "others"),
    "clamp_of_integers_by_a_date": ("integer", "{generalize: {clamp: §{top: 2010-01-01}}}", "ends that a column of type integer", "others"),
    "clamp_of_dates_by_numbers": ("date", "{generalize: {clamp: §{top: 9}}}", "ends that a column of type date", "others"),
    "clamp_of_numbers_by_a_date": ("number", "{generalize: {clamp: §{top: 2010-01-01}}}", "ends that a column of type number", "others"),
    "hierarchy_of_dates": ("date", "{generalize: {hierarchy: §{file: a.csv, level: 1, " + PIN + "}}}", "`hierarchy` on integer, string", "type date"),
    "hierarchy_without_a_pin": ("string", "{generalize: {hierarchy: §{file: a.csv, level: 1}}}", "sha256: \"its digest", "dict that is not"),
    "hierarchy_in_another_folder": ("string", "{generalize: {hierarchy: §{file: ../a.csv, level: 1, " + PIN + "}}}", "file: NAME.csv", "dict that is not"),
    "hierarchy_of_level_0": ("string", "{generalize: {hierarchy: §{file: a.csv, level: 0, " + PIN + "}}}", "level: 1 or more", "dict that is not"),
    "hierarchy_without_a_folder": ("string", "{generalize: {hierarchy: §{file: a.csv, level: 1, " + PIN + "}}}", "its hierarchy beside it", "without a folder"),
    "perturb_without_bound": ("integer", "§{perturb: {perSubject: subject}}", "perturb with `bound`", "no such parameter"),
    "perturb_by_nothing": ("integer", "{perturb: {bound: §0}}", "a number above 0", "int that is not"),
    "perturb_by_true": ("integer", "{perturb: {bound: §true}}", "a number above 0", "bool that is not"),
    "perturb_dates_by_half_a_day": ("date", "{perturb: {bound: §0.5}}", "whole number for a column of type date", "another number"),
    "perturb_integers_in_steps": ("integer", "{perturb: {bound: 5, step: §5}}", "`step` on number", "type integer"),
    "perturb_by_less_than_a_step": ("number", "{perturb: {bound: §0.5, step: 1}}", "at least the step", "a smaller one"),
    "perturb_by_less_than_a_cent": ("number", "{perturb: {bound: §0.001}}", "at least the step", "a smaller one"),
    "perturb_by_too_many_steps": ("number", "{perturb: {bound: §100000000, step: 0.01}}", "at most 2,147,483,647 steps", "a larger one"),
    "perturb_by_too_many_seconds": ("timestamp", "{perturb: {bound: §2147483648}}", "at most 2,147,483,647 steps", "a larger one"),
    "perturb_a_text": ("string", "§{perturb: {bound: 1}}", "perturb on date, integer, number, timestamp", "type string"),
    "round_integers_to_a_half": ("integer", "{round: {to: §0.5}}", "a whole number for a column of integers", "another number"),
    "round_to_a_negative_number": ("number", "{round: {to: §-5}}", "a number above 0", "int that is not"),
    "one_bucket": ("string", "{bucket: {buckets: §1, domain: a, purpose: b}}", "whole number from 2 to 65536", "int that is not"),
    "bucket_of_numbers": ("number", "§{bucket: {buckets: 2, domain: a, purpose: b}}", "bucket on date, integer, string", "type number"),
    "rare_below_two": ("string", "{suppress rare: {atLeast: §1}}", "whole number from 2 to 1000000", "int that is not"),
    "rare_integers_as_a_text": ("integer", "{suppress rare: {atLeast: 5, other: §rest}}", "`other` on string", "type integer"),
    "rare_numbers": ("number", "§{suppress rare: {atLeast: 5}}", "suppress rare on integer, string", "type number"),
    "scrub_of_an_unknown_kind": ("string", "{scrub: {kinds: §[email, name]}}", "some of email, phone, card, iban, national id", "list that is not"),
    "scrub_of_nothing": ("string", "{scrub: {kinds: §[]}}", "a list of some of", "list that is not"),
    "scrub_of_a_kind_twice": ("string", "{scrub: {kinds: §[email, email]}}", "a list of some of", "list that is not"),
}  # fmt: skip


def treated(kind: str, how: str, cls: str = "indirect identifier") -> str:
    """Return a contract with the columns `subject` (text) and `value` under the treatment `how`."""
    return feed_text(columns=[column("subject"), column("value", kind, cls=cls, how=how)])


@pytest.mark.parametrize("fault", TREATED)
def test_a_parameter_of_a_treatment(fault: str) -> None:
    kind, how, expected, found = TREATED[fault]
    text = treated(kind, how)
    with pytest.raises(ContractError) as refusal:
        parse_contract(text.replace("§", ""), "a.odcs.yaml")
    error = refusal.value
    assert error.where == "a.odcs.yaml:" + place(text, "§")
    assert expected in error.expected
    assert found in error.found
    assert error.code in ("contract.treatment", "contract.hierarchy")


def test_every_parameter_of_the_registry_refuses_something_that_is_none() -> None:
    for name, spec in REGISTRY.items():
        for key, parameter in spec.parameters.items():
            assert parameter.check(object()), (name, key)
            assert parameter.check(None), (name, key)


@pytest.mark.parametrize(
    "how", ["keep", "shuffle", "{perturb: {bound: 5}}", "{round: {to: 5}}", "{suppress rare: {atLeast: 5}}"]
)
@pytest.mark.parametrize("cls", ["direct identifier", "payment"])
def test_what_leaves_an_identifier_what_it_is(how: str, cls: str) -> None:
    with pytest.raises(ContractError) as refusal:
        parse_contract(treated("integer", how, cls), "a.odcs.yaml")
    assert refusal.value.expected == f"a {cls} to be dropped, tokenized, substituted, generalized or masked"
    assert refusal.value.found in how
    assert parse_contract(treated("integer", how), "a.odcs.yaml").column("value").treatment.name in how


@pytest.mark.parametrize(
    "how", ["{perturb: {bound: 5, perSubject: %s}}", "{suppress rare: {atLeast: 5, perSubject: %s}}"]
)
@pytest.mark.parametrize(
    ("subject", "found"),
    [
        ("household", "no column `household`"),
        ("weight", "`weight`, of type number"),
        ("bought_at", "`bought_at`, of type timestamp"),
    ],
)
def test_a_subject_that_cannot_tell_subjects(how: str, subject: str, found: str) -> None:
    columns = [
        "§" + column("value", "integer", how=how % subject),
        column("weight", "number"),
        column("bought_at", "timestamp"),
    ]
    text = feed_text(columns=columns)
    with pytest.raises(ContractError) as refusal:
        parse_contract(text.replace("§", ""), "a.odcs.yaml")
    error = refusal.value
    assert error.where == "a.odcs.yaml:" + place(text, "§")
    assert error.expected == "`perSubject` of `value` as a column of type date or integer or string"
    assert error.found == found
    assert "whose row" in error.remedy


def test_a_subject_may_be_a_column_that_is_dropped() -> None:
    columns = [
        column("id", "date", how="drop"),
        column("value", "integer", how="{perturb: {bound: 5, perSubject: id}}"),
    ]
    assert parse_contract(feed_text(columns=columns), "a").column("value").treatment.parameters["perSubject"] == "id"


TOWNS = "Adelhof;North;*\nBirkensee;North;*\nLindholm;South;*\n"


def with_hierarchy(folder: Path, content: bytes | None, level: int = 1, digest: str = "") -> Path:
    """Write a contract with a hierarchy, and the file beside it unless `content` is None; return its path."""
    name = "towns.csv"
    digest = digest or hashlib.sha256(content or b"").hexdigest()
    how = f"{{generalize: {{hierarchy: {{file: §{name}, level: {level}, sha256: §{digest}}}}}}}"
    path = folder / "people.odcs.yaml"
    path.write_text(treated("string", how.replace("§", "")))
    if content is not None:
        (folder / name).write_bytes(content)
    return path


def test_a_hierarchy_beside_its_contract(tmp_path: Path) -> None:
    wanted = load_contract(with_hierarchy(tmp_path, TOWNS.encode())).column("value").treatment.parameters["hierarchy"]
    assert wanted["labels"] == {"Adelhof": "North", "Birkensee": "North", "Lindholm": "South"}
    again = load_contract(with_hierarchy(tmp_path, TOWNS.encode(), level=2)).column("value").treatment
    assert set(again.parameters["hierarchy"]["labels"].values()) == {"*"}


def test_a_hierarchy_that_is_missing(tmp_path: Path) -> None:
    path = with_hierarchy(tmp_path, None)
    error = refused(path)
    assert error.where == "people.odcs.yaml:" + place(path.read_text(), "towns.csv")
    assert (error.code, error.found) == ("contract.hierarchy", "FileNotFoundError")
    assert "towns.csv beside the contract" in error.expected
    assert "restore the file" in error.remedy


def test_a_hierarchy_that_was_changed(tmp_path: Path) -> None:
    digest = hashlib.sha256(TOWNS.encode()).hexdigest()
    changed = TOWNS.replace("Birkensee;North", "Birkensee;South").encode()
    path = with_hierarchy(tmp_path, changed, digest=digest)
    error = refused(path)
    assert error.where == "people.odcs.yaml:" + place(path.read_text(), digest)
    assert error.found == f"a file with the digest {hashlib.sha256(changed).hexdigest()}"
    assert "raise the contract's version" in error.remedy


@pytest.mark.parametrize(
    ("content", "level", "where", "expected"),
    [
        (b"Adelhof;North;*\nAdelhof;South;*\n", 1, "towns.csv:2", "each value once"),
        (b"Adelhof;North;*\nLindholm;*\n", 1, "towns.csv:2", "3 fields"),
        (b"Adelhof;North;A\nLindholm;North;B\n", 1, "towns.csv:2", "the label of line 1"),
        (b"", 1, "towns.csv:1", "one line for each value"),
        (TOWNS.encode(), 3, "towns.csv:1", "a level from 1 to 2"),
        (b"Adelhof;N\xff", 1, "people.odcs.yaml:", "a UTF-8 file"),
    ],
)  # fmt: skip
def test_a_hierarchy_that_is_damaged(content: bytes, level: int, where: str, expected: str, tmp_path: Path) -> None:
    error = refused(with_hierarchy(tmp_path, content, level))
    assert error.where.startswith(where)
    assert expected in error.expected
    assert error.code == "contract.hierarchy"


def test_a_hierarchy_above_1_mib(tmp_path: Path) -> None:
    content = b"".join(b"town %07d;North\n" % number for number in range(60_000))
    assert len(content) > 1 << 20
    error = refused(with_hierarchy(tmp_path, content))  # what was read is cut there, so it has another digest
    assert error.code == "contract.hierarchy"


# relationships: both sides are treated alike, and their tokens are of no period
JOINED = {
    "another_purpose": ("domain: customer, purpose: analytics", "domain: customer, purpose: service", "another treatment"),
    "another_domain": ("domain: customer, purpose: analytics", "domain: household, purpose: analytics", "another treatment"),
    "another_form": ("domain: customer, purpose: analytics", "domain: customer, purpose: analytics, form: hex", "another treatment"),
    "of_a_period": ("domain: customer, purpose: analytics", "domain: customer, purpose: analytics, period: year", "another treatment"),
}  # fmt: skip


@pytest.mark.parametrize("fault", JOINED)
def test_a_relationship_whose_sides_are_treated_differently(fault: str, tmp_path: Path) -> None:
    old, new, found = JOINED[fault]
    for path in SHIPPED.glob("*.odcs.yaml"):
        (tmp_path / path.name).write_text(path.read_text())
    path = tmp_path / "transactions.odcs.yaml"
    text = path.read_text()
    assert old in text[text.index("name: household_id") :][:600]
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ContractError) as refusal:
        load_contracts(tmp_path)
    error = refusal.value
    assert error.where == "transactions.odcs.yaml:" + place(text, "customers.household_id")
    assert "the treatment of `customers.household_id` on `household_id`, and without a period" in error.expected
    assert error.found == found
    assert "no value would be found" in error.remedy


def test_a_relationship_between_tokens_of_a_period(tmp_path: Path) -> None:
    old = "domain: customer, purpose: analytics}"
    for path in SHIPPED.glob("*.odcs.yaml"):
        (tmp_path / path.name).write_text(path.read_text().replace(old, old[:-1] + ", period: year}", 1))
    with pytest.raises(ContractError) as refusal:
        load_contracts(tmp_path)
    assert refusal.value.found == "tokens of a period"


# references across contracts: the whole folder is sound but for one name
ACROSS = {
    "missing_dataset": ("transactions", "to: customers.household_id", "to: §clients.household_id", "no contract of `clients`"),
    "missing_column": ("transactions", "to: customers.household_id", "to: §customers.household", "no such column"),
    "dropped_column": ("transactions", "to: customers.household_id", "to: §customers.phone", "no such column"),
    "view_of_missing_dataset": ("baskets_synthetic", "from: transactions", "from: receipts", "no contract of `receipts`"),
    "missing_group": ("baskets_synthetic", "groupBy: basket_id", "groupBy: §basket", "no such column"),
    "missing_unit": ("baskets_synthetic", "unit: household_id", "unit: §household", "no such column"),
    "missing_lookup_dataset": ("baskets_synthetic", "products: {on: product_id", "goods: {on: §product_id", "no contract of `goods`"),
    "missing_lookup_column": ("baskets_synthetic", "columns: [department]", "columns: §[section]", "no such column"),
    "missing_join_column": ("baskets_synthetic", "{on: product_id, columns", "{on: §department, columns", "no such column"),
    "missing_measured_column": ("baskets_synthetic", "{sum: quantity, cap", "{sum: §quantitty, cap", "no such column"),
    "missing_quasi_identifier": ("baskets_synthetic", "over: [birth_date,", "over: §[phone,", "no such column"),
    "missing_gate_dataset": ("baskets_synthetic", "{dataset: customers, over: [", "{dataset: people, over: §[", "no contract of `people`"),
}  # fmt: skip


@pytest.mark.parametrize("fault", ACROSS)
def test_reference_to_nothing(fault: str, tmp_path: Path) -> None:
    name, old, new, found = ACROSS[fault]
    for path in SHIPPED.glob("*.odcs.yaml"):
        (tmp_path / path.name).write_text(path.read_text())
    text = (tmp_path / f"{name}.odcs.yaml").read_text()
    assert text.count(old) == 1
    broken = text.replace(old, new)
    at = place(broken, "§") if "§" in broken else place(text, "basket_id\n        unit")
    (tmp_path / f"{name}.odcs.yaml").write_text(broken.replace("§", ""))
    with pytest.raises(ContractError) as refusal:
        load_contracts(tmp_path)
    error = refusal.value
    assert error.where == f"{name}.odcs.yaml:{at}"
    assert "in the protected zone" in error.expected
    assert error.found == found
    assert "correct the name" in error.remedy


def test_two_files_for_one_dataset(tmp_path: Path) -> None:
    (tmp_path / "a.odcs.yaml").write_text(FEED)
    (tmp_path / "b.odcs.yaml").write_text("# the same again\n" + FEED)
    with pytest.raises(ContractError) as refusal:
        load_contracts(tmp_path)
    error = refusal.value
    assert error.where == "b.odcs.yaml:5:7"
    assert error.expected == "one contract per dataset"
    assert "a.odcs.yaml" in error.found
    assert "rename" in error.remedy
