"""YAML with positions: plain values, and the line and column of each, so that an error can point at its cause."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from cloakhouse.errors import ContractError

Path = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """SafeLoader with the booleans of YAML 1.2: `on`, `off`, `yes` and `no` (Norway) are texts."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


@dataclass(frozen=True)
class Position:
    """One place in a YAML file; both numbers start at 1, as editors show them."""

    line: int
    column: int


@dataclass(frozen=True)
class Source:
    """A parsed YAML document together with the position of every node.

    Attributes:
        name: file name, for messages.
        data: plain dicts, lists and scalars (safe types; booleans as in YAML 1.2).
        positions: position of each node by its path of keys and indices.
    """

    name: str
    data: Any
    positions: dict[Path, Position]

    def where(self, path: Path) -> str:
        """Return `file:line:column` of the node at `path`, or of its nearest existing ancestor."""
        while path and path not in self.positions:
            path = path[:-1]
        position = self.positions.get(path, Position(1, 1))
        return f"{self.name}:{position.line}:{position.column}"

    def error(self, path: Path, *, expected: str, found: str, remedy: str, code: str = "") -> ContractError:
        """Return the refusal of this contract that points at `path`."""
        return ContractError(
            where=self.where(path),
            expected=expected,
            found=found,
            not_done="the contract was not loaded; no DAG was made from it and no data was read",
            remedy=remedy,
            code=code,
        )


def parse_yaml(text: str, name: str) -> Source:
    """Return `text` as a Source. Raises ContractError on broken YAML, a duplicate key or an empty document."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        empty = Source(name, None, {})
        if node is None:
            raise empty.error((), expected="one YAML document", found="an empty file", remedy="restore the file")
        positions: dict[Path, Position] = {}
        _walk(node, (), positions, name)
        data = loader.construct_document(node)
    except yaml.YAMLError as fault:
        raise _broken(fault, name) from None
    finally:
        loader.dispose()
    return Source(name, data, positions)


def _broken(fault: yaml.YAMLError, name: str) -> ContractError:
    mark = getattr(fault, "problem_mark", None)
    at = Position(mark.line + 1, mark.column + 1) if mark is not None else Position(1, 1)
    problem = getattr(fault, "problem", None) or "not YAML"
    return Source(name, None, {(): at}).error(
        (),
        expected="well-formed YAML",
        found=str(problem),
        remedy="correct the indentation, quotes or brackets there",
        code="yaml",
    )


def _walk(node: yaml.Node, path: Path, positions: dict[Path, Position], name: str) -> None:
    positions[path] = Position(node.start_mark.line + 1, node.start_mark.column + 1)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key_node, value_node in node.value:
            key = key_node.value
            if key in seen:
                at = Position(key_node.start_mark.line + 1, key_node.start_mark.column + 1)
                raise Source(name, None, {(): at}).error(
                    (),
                    expected="each key once",
                    found=f"`{key}` a second time",
                    remedy="remove one of the two",
                    code="yaml",
                )
            seen.add(key)
            _walk(value_node, (*path, key), positions, name)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _walk(item, (*path, index), positions, name)
