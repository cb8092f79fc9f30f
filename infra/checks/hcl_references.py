"""References within Terraform: each leads to something, each variable is given and used, and none goes in a circle.

What `terraform validate` would say first, where there is no provider. Pure: it takes what hcl2 made of the files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

Node = tuple[str, str, str]  # the module's name ("" for the root), kind, name
Block = Mapping[str, Any]
REFERENCE = re.compile(
    r"(?<![\w.\"-])(?:(var|local)\.(\w+)|module\.(\w+)(?:\[\d+\])?\.(\w+)|(data\.)?(aws_\w+)\.(\w+))"
)


def graph(modules: Mapping[str, Block]) -> dict[Node, set[Node]]:
    """Return each thing of `modules` (parsed files by the module's name) with what it refers to."""
    nodes: dict[Node, set[Node]] = {}
    for module, parsed in modules.items():
        for node, body in _things(module, parsed):
            nodes[node] = nodes.get(node, set()) | set(_references(module, body))
        for name, arguments in _calls(parsed):
            for argument, value in arguments.items():
                if not _is_meta(argument):
                    nodes.setdefault((name, "var", argument), set()).update(_references(module, value))
    return nodes


def faults(modules: Mapping[str, Block]) -> list[str]:
    """Return a line for each reference, argument or circle that is wrong, in order."""
    nodes = graph(modules)
    found = [f"{_named(n)} refers to {_named(t)}, which isn't there" for n in nodes for t in nodes[n] if t not in nodes]
    used = {target for targets in nodes.values() for target in targets}
    declared = {(m, n): b for m, parsed in modules.items() for n, b in _blocks(parsed, "variable")}
    found += [
        f"var.{name} of {module or 'the root'} is used by nothing"
        for module, name in declared
        if (module, "var", name) not in used
    ]
    for parsed in modules.values():
        for name, arguments in _calls(parsed):
            given = {argument for argument in arguments if not _is_meta(argument)}
            known = {n: "default" in body for (module, n), body in declared.items() if module == name}
            found += [f"module.{name} is given {a}, which it doesn't know" for a in sorted(given - set(known))]
            found += [f"module.{name} isn't given {n}" for n, has in known.items() if not has and n not in given]
    return sorted(found) + _circles(nodes)


def _circles(nodes: Mapping[Node, set[Node]]) -> list[str]:
    state: dict[Node, int] = {}

    def visit(node: Node, path: tuple[Node, ...]) -> list[str]:
        if state.get(node) == 1:
            return ["a circle: " + " -> ".join(map(_named, (*path[path.index(node) :], node)))]
        if state.get(node) == 2:
            return []
        state[node] = 1
        found = [line for target in sorted(nodes.get(node, ())) for line in visit(target, (*path, node))]
        state[node] = 2
        return found

    return [line for node in sorted(nodes) for line in visit(node, ())]


def _things(module: str, parsed: Block) -> Iterator[tuple[Node, Any]]:
    for kind, node_kind in (("variable", "var"), ("output", "output")):
        for name, body in _blocks(parsed, kind):
            yield (module, node_kind, name), body.get("value") if kind == "output" else None
    for body in parsed.get("locals", ()):
        yield from (((module, "local", _plain(name)), value) for name, value in body.items() if not _is_meta(name))
    for kind, prefix in (("resource", ""), ("data", "data.")):
        for outer in parsed.get(kind, ()):
            for of, inner in outer.items():
                for name, body in inner.items():
                    yield (module, prefix + _plain(of), _plain(name)), body


def _blocks(parsed: Block, kind: str) -> Iterator[tuple[str, Block]]:
    for outer in parsed.get(kind, ()):
        yield from ((_plain(name), body) for name, body in outer.items())


def _calls(parsed: Block) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, body in _blocks(parsed, "module"):
        yield name, {_plain(key): value for key, value in body.items()}


def _references(module: str, body: Any) -> Iterator[Node]:
    if isinstance(body, Mapping):
        for key, value in body.items():
            yield from _references(module, key)
            yield from _references(module, value)
    elif isinstance(body, list):
        for value in body:
            yield from _references(module, value)
    elif isinstance(body, str):
        for simple, name, called, output, data, of, own in REFERENCE.findall(body):
            if simple:
                yield module, simple, name
            elif called:
                yield called, "output", output
            else:
                yield module, data + of, own


def _is_meta(argument: str) -> bool:
    return _plain(argument) in ("source", "count", "for_each", "depends_on", "providers") or argument.startswith("__")


def _plain(name: str) -> str:
    return name.strip('"')


def _named(node: Node) -> str:
    module, kind, name = node
    return f"{module or 'root'}: {kind}.{name}"
