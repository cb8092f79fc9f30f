"""The contract that a release was made under, found by its digest."""

from __future__ import annotations

import pathlib

from cloakhouse.contracts.model import Contract, content_digest
from cloakhouse.contracts.parser import MAX_CONTRACT_BYTES, parse_contract
from cloakhouse.contracts.source import parse_yaml
from cloakhouse.errors import ContractError, NotFound
from cloakhouse.settings import Settings


def contract_of(settings: Settings, dataset: str, digest: str) -> Contract:
    """Return the contract of `dataset` with this digest. Raises NotFound (`not-found.contract`), ContractError."""
    return parse_contract(contract_text(settings.contracts, digest, dataset), dataset, accepted=True)


def contract_text(folder: pathlib.Path, digest: str, name: str) -> str:
    """Return the text of the file in `folder` (`*.odcs.yaml`) whose content has this digest.

    Raises NotFound (`not-found.contract`) when there is none.
    """
    found = find_text(folder, digest)
    if found is None:
        raise NotFound(
            where=f"contract of {name}",
            expected=f"a file in {folder} whose content has the digest {digest[:16]}, as the release says",
            found="none: the contract was changed since",
            not_done="no report and no bundle was made",
            remedy="set CLOAKHOUSE_CONTRACTS to a folder with the contract as it was, from version control",
            code="contract",
        )
    return found


def find_text(folder: pathlib.Path, digest: str) -> str | None:
    """Return the text of the contract with this digest, or None; files that aren't contracts are passed over."""
    for path in sorted(folder.glob("*.odcs.yaml")):
        try:
            with path.open("rb") as stream:
                text = stream.read(MAX_CONTRACT_BYTES).decode()
            if digest_of(text, path.name) == digest:
                return text
        except (OSError, UnicodeDecodeError, ContractError):
            continue
    return None


def digest_of(text: str, name: str) -> str:
    """Return the digest of a contract's text: SHA-256 (hex) of its parsed content. Raises ContractError."""
    return content_digest(parse_yaml(text, name).data)
