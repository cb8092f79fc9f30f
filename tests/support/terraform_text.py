"""What infra/terraform says, read from its text without Terraform: defaults, blocks of the network, roles of pods.

Only what tests compare with other files. A form that isn't known here is a KeyError or an empty result, never a guess.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "infra" / "terraform"
VARIABLE = re.compile(r'^variable "(\w+)" \{\n(.*?)^\}', re.M | re.S)
DEFAULT = re.compile(r'^  default += "([^"]*)"$', re.M)
OUTPUT = re.compile(r'^output "(\w+)" \{\n(.*?)^\}', re.M | re.S)
VALUE = re.compile(r'^  value += "([^"]*)"$', re.M)
POD = re.compile(r'\{ namespace = (.+?), account = "([\w-]+)", role_arn = module\.roles\.arns\["([\w-]+)"\] \}')
BLOCK = re.compile(r"^    (\w+) += cidrsubnet\(var\.cidr, (\d+), (\d+)\)$", re.M)


@dataclass(frozen=True)
class PodRole:
    """A service account of a namespace, and the role that its pods have."""

    namespace: str
    account: str
    role: str


def text(name: str) -> str:
    """Return a file below infra/terraform."""
    return (FOLDER / name).read_text(encoding="utf-8")


def defaults() -> dict[str, str]:
    """Return the root's variables with a text for a default."""
    found = ((name, DEFAULT.search(body)) for name, body in VARIABLE.findall(text("variables.tf")))
    return {name: match[1] for name, match in found if match}


def outputs(values: dict[str, str]) -> dict[str, str]:
    """Return the root's outputs that are texts, with `values` for what they refer to: `var.region`, `module.x.y`."""
    found = ((name, VALUE.search(body)) for name, body in OUTPUT.findall(text("outputs.tf")))
    return {name: filled(match[1], values) for name, match in found if match}


def filled(template: str, values: dict[str, str]) -> str:
    """Return a text with its `${...}` filled in. Raises KeyError."""
    return re.sub(r"\$\{([\w.]+)\}", lambda found: values[found[1]], template)


def pod_roles() -> set[PodRole]:
    """Return the associations of EKS Pod Identity, for the default namespace."""
    values = {f"var.{name}": value for name, value in defaults().items()}
    return {
        PodRole(filled(place.strip('"'), values) if place.startswith('"') else values[place], account, role)
        for place, account, role in POD.findall(text("main.tf"))
    }


def blocks() -> dict[str, str]:
    """Return the blocks of the network by what lies in them, of the default addresses, as cidrsubnet makes them."""
    whole = ipaddress.ip_network(defaults()["cidr"])
    found = BLOCK.findall(text("modules/network/main.tf"))
    return {name: str(list(whole.subnets(prefixlen_diff=int(bits)))[int(number)]) for name, bits, number in found}


def first_address(cidr: str) -> str:
    """Return the first address of a block, as a block of its own: the cluster's API has it among the services'."""
    return f"{next(ipaddress.ip_network(cidr).hosts())}/32"
