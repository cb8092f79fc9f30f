"""From a policy file (YAML) to a checked AccessPolicy, or one refusal that lists every fault with line and column.

    apiVersion: cloakhouse.access/v1
    roles:
      analyst:
        purposes: [reporting]
        reviewBy: 2027-03-31
        reads:
          - {zones: [synthetic], datasets: ["baskets_*"], classes: [plain], masking: {sensitive: redact}}
    principals:
      ann: {roles: [analyst], reviewBy: 2027-01-31}

No wildcard stands for zones, classes or purposes: a zone that is made later on is nobody's. Landed files hold plain
identities under one key for all columns, so a rule on `landing` is about nothing else and names every class.
"""

from __future__ import annotations

from pathlib import Path

from cloakhouse.contracts.access_policy import AccessPolicy
from cloakhouse.contracts.access_reader import PolicyReader
from cloakhouse.contracts.source import parse_yaml, read_text
from cloakhouse.errors import ContractError

MAX_BYTES = 1 << 20
NOT_DONE = "the policy was not loaded: nobody but the platform reads, and no grant was changed"


def load_policy(path: Path) -> AccessPolicy:
    """Return the policy in the file `path`. Raises ContractError as `parse_policy`, and for an unreadable file."""
    what = "a readable file in UTF-8 (CLOAKHOUSE_POLICY)"
    remedy = "restore the file, or correct CLOAKHOUSE_POLICY; `cloakhouse access check` looks at it"
    text = read_text(path, MAX_BYTES, what, not_done=NOT_DONE, remedy=remedy)
    return parse_policy(text, path.name)


def parse_policy(text: str, name: str) -> AccessPolicy:
    """Return the policy in `text`; `name` is the file's, for messages. Raises ContractError, one for all faults."""
    try:
        source = parse_yaml(text, name)
    except ContractError as fault:
        raise _together([fault]) from None
    reader = PolicyReader(source)
    policy = reader.policy()
    if reader.faults:
        raise _together(reader.faults) from None
    return policy


def _together(faults: list[ContractError]) -> ContractError:
    """Return `faults` as one error at the place of the first."""
    first, more = faults[0], faults[1:]
    listed = "".join(f"\n    {f.where}: expected {f.expected}; found {f.found}; {f.remedy}" for f in more)
    return ContractError(
        where=first.where,
        expected=first.expected,
        found=first.found + (f"; and {len(more)} more:{listed}" if more else ""),
        not_done=NOT_DONE,
        remedy=first.remedy,
        code="access",
    )
