"""YAML with positions: plain values, and the line and column of each, so that an error can point at its cause."""

from __future__ import annotations

import pathlib
import re
from dataclasses import dataclass
from typing import Any

import yaml

from cloakhouse.errors import ContractError

Path = tuple[str | int, ...]


MAX_NODES = 100_000  # of a document with its aliases written out
PLAIN_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp", "seq", "map")
)
KEY_TAGS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")


class _Loader(yaml.SafeLoader):
    """SafeLoader with the booleans of YAML 1.2: `on`, `off`, `yes` and `no` (Norway) are texts."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return the value of `node`; a date or number that is none (2017-02-30) is an error with a position."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError, OverflowError):
            kind = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(None, None, f"a value that is no {kind}", node.start_mark) from None


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


def read_text(path: pathlib.Path, longest: int, what: str, *, not_done: str, remedy: str) -> str:
    """Return the text of the file `path`, of at most `longest` bytes; `what` it has to be, for the message.

    Raises ContractError (`contract.file`).
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(longest + 1)
        found = "more" if len(raw) > longest else ""
        text = raw.decode("utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        found = "no such file" if isinstance(fault, FileNotFoundError) else type(fault).__name__
    if found:
        raise ContractError(
            where=f"{path.name}:1:1",
            expected=f"{what}, of at most {longest} bytes",
            found=found,
            not_done=not_done,
            remedy=remedy,
            code="file",
        ) from None
    return text


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
        folder: where files that the document names are; None for a text that lies in none.
    """

    name: str
    data: Any
    positions: dict[Path, Position]
    folder: pathlib.Path | None = None

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
    """Return `text` as a Source. Raises ContractError on broken YAML, a duplicate key or an empty document.

    So that every position and digest is well defined, keys are texts, tags are those of plain data, and a
    document that grows beyond bounds by nesting or aliases is refused.
    """
    loader = None
    try:
        loader = _Loader(text)
        node = _compose(loader)
        if node is None:
            empty = Source(name, None, {})
            raise empty.error((), expected="one YAML document", found="an empty file", remedy="restore the file")
        positions: dict[Path, Position] = {}
        _walk(node, (), positions, name)
        data = loader.construct_document(node)
    except yaml.reader.ReaderError as fault:
        raise _unprintable(fault, text, name) from None
    except yaml.YAMLError as fault:
        raise _broken(fault, name) from None
    except RecursionError:
        raise _too_much(name, Position(1, 1)) from None
    finally:
        if loader is not None:
            loader.dispose()
    return Source(name, data, positions)


def _compose(loader: _Loader) -> yaml.Node | None:
    try:
        return loader.get_single_node()
    except (ValueError, OverflowError):  # an escape such as "\UFFFFFFFF", which is no code point
        raise yaml.scanner.ScannerError(None, None, "no such character", loader.get_mark()) from None


def _refused(name: str, at: Position, expected: str, found: str, remedy: str) -> ContractError:
    return Source(name, None, {(): at}).error((), expected=expected, found=found, remedy=remedy, code="yaml")


def _unprintable(fault: yaml.reader.ReaderError, text: str, name: str) -> ContractError:
    before = text[: fault.position]
    at = Position(before.count("\n") + 1, len(before) - before.rfind("\n"))
    return _refused(name, at, "printable text", "a control character", "remove the character there")


def _too_much(name: str, at: Position) -> ContractError:
    return _refused(
        name,
        at,
        f"a document of at most {MAX_NODES} values, a few levels deep",
        "more, by deep nesting or repeated aliases",
        "write the contract out flat",
    )


def _broken(fault: yaml.YAMLError, name: str) -> ContractError:
    mark = getattr(fault, "problem_mark", None)
    at = Position(mark.line + 1, mark.column + 1) if mark is not None else Position(1, 1)
    problem = getattr(fault, "problem", None) or "not YAML"
    return _refused(name, at, "well-formed YAML", str(problem), "correct the indentation, quotes or brackets there")


def _at(node: yaml.Node) -> Position:
    return Position(node.start_mark.line + 1, node.start_mark.column + 1)


def _walk(node: yaml.Node, path: Path, positions: dict[Path, Position], name: str) -> None:
    positions[path] = _at(node)
    if len(positions) > MAX_NODES:
        raise _too_much(name, _at(node))
    if node.tag not in PLAIN_TAGS:
        raise _refused(name, _at(node), "plain texts, numbers, dates, lists and mappings", "a tag", "remove the tag")
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key_node, value_node in node.value:
            key = _key(key_node, name)
            if key in seen:
                raise _refused(name, _at(key_node), "each key once", f"`{key}` a second time", "remove one of the two")
            seen.add(key)
            _walk(value_node, (*path, key), positions, name)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _walk(item, (*path, index), positions, name)
    else:
        _check_characters(node, name)


def _key(node: yaml.Node, name: str) -> str:
    if not isinstance(node, yaml.ScalarNode) or node.tag not in KEY_TAGS:
        kind = node.tag.rpartition(":")[2]
        raise _refused(name, _at(node), "a text as key", f"a key of type {kind}", "put the key in quotes")
    _check_characters(node, name)
    return str(node.value)


def _check_characters(node: yaml.Node, name: str) -> None:
    if any("\ud800" <= sign <= "\udfff" for sign in node.value):
        raise _refused(name, _at(node), "Unicode text", "half of a surrogate pair", "correct the escape there")
