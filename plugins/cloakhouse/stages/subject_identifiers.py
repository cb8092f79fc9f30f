"""What names a person: the columns of the customer master, from plain values to keyed tokens, a column at a time.

The customer master is the feed whose contract names other columns that name the same person (`subject.also`). A value
of the subject's column becomes a rights token (`cloakhouse.tokens.subjects`). A value of another such column becomes a
token of the same kind, of its text: it names somebody to whoever has the key, and nobody can read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.contracts.model import Column, Contract
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.contracts.subject import Subject
from cloakhouse.errors import ConfigurationError
from cloakhouse.keys.derive import KeySource
from cloakhouse.settings import Settings
from cloakhouse.stages.parsing import check_column
from cloakhouse.stages.raw_subjects import name_tokens
from cloakhouse.stages.token_roots import ensure_roots, token_keys
from cloakhouse.tokens.apply import untreatable
from cloakhouse.tokens.subjects import rights_tokens, rights_uses

Flags = npt.NDArray[np.bool_]
INTEGER = r"^-?[0-9]{1,18}$"


@dataclass(frozen=True)
class Identifiers:
    """The columns that name persons, and the keys of their tokens.

    Attributes:
        contracts: all, by name.
        master: the contract of the customer master.
        keys: at least those of rights tokens; their roots are the recorded ones.
    """

    contracts: Mapping[str, Contract]
    master: Contract
    keys: KeySource

    @classmethod
    def of(cls, settings: Settings) -> Identifiers:
        """Return those of an installation.

        Raises ConfigurationError (`configuration.subject`) unless just one feed is the customer master, ContractError,
        IntegrityError, KeyServiceError, AccessRefused.
        """
        contracts = load_contracts(settings.contracts)
        masters = [c for c in contracts.values() if c.feed and c.rights.subject and c.rights.subject.also]
        if len(masters) != 1:
            raise _no_master(len(masters))
        column = masters[0].column(_subject(masters[0]).column)
        ensure_roots(settings, [use.root for use in rights_uses(column)])
        return cls(contracts, masters[0], token_keys(settings))

    @property
    def column(self) -> Column:
        """The column of the master that names the subject."""
        return self.master.column(_subject(self.master).column)

    @property
    def also(self) -> tuple[str, ...]:
        """Names of the master's other columns that name the same person."""
        return _subject(self.master).also

    @property
    def feeds(self) -> list[Contract]:
        """The feeds whose rows are about persons, in order of their names."""
        return [c for _, c in sorted(self.contracts.items()) if c.feed is not None and c.rights.subject is not None]

    def tokens(self, values: pa.Array, name: str) -> pa.Array:
        """Return the tokens of typed values of the master's column `name`, as they name a person; null stays null."""
        if name == self.column.name:
            return rights_tokens(values, self.column, self.keys)
        return name_tokens(values.cast(pa.string()), self.master.column(name), self.column, self.keys)

    def read(self, texts: pa.Array, name: str) -> tuple[pa.Array, Flags]:
        """Return the tokens of values as a file writes them (binary), and which of them the column can't hold."""
        column = self.master.column(name)
        if column.logical_type == "integer":  # a cast that fails is halved down to its rows: not for rubbish
            texts = pc.if_else(pc.match_substring_regex(texts, INTEGER), texts, pa.scalar(None, texts.type))
        values, faults = check_column(texts, column)
        wrong = np.logical_or.reduce([np.asarray(flags, np.bool_) for flags in faults.values()])
        wrong |= untreatable(values, column)
        return self.tokens(_without(values, wrong), name), wrong


def _without(values: pa.Array, wrong: Flags) -> pa.Array:
    if not wrong.any():
        return values
    return pc.if_else(pa.array(~wrong), values, pa.scalar(None, values.type))


def _subject(contract: Contract) -> Subject:
    assert contract.rights.subject is not None
    return contract.rights.subject


def _no_master(count: int) -> ConfigurationError:
    return ConfigurationError(
        where="the contracts",
        expected="one feed that is the customer master: whose `subject` names other columns of the person (`also`)",
        found=f"{count} of them",
        not_done="no person was looked up",
        remedy="declare `subject` with `also` in the contract of the customer master",
        code="subject",
    )
