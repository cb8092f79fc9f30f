"""The notifiers that are told of alerts, from the file `alerts.yaml` beside the folder of the contracts.

    notifiers:
      - name: mail                       # a-z, 0-9, _; its state is kept by this name
        class: airflow.providers.smtp.notifications.smtp.SmtpNotifier
        arguments: {to: [privacy-office@shop.example], from_email: cloakhouse@shop.example, smtp_conn_id: smtp_alerts}
        title: subject                   # the argument that takes the alert's title; may be left out
        text: html_content               # the argument that takes its text
        form: html                       # html: the text is escaped; plain: it isn't
        severities: [high]               # left out: all

Secrets stay in Airflow's connections: an argument is a text, a number, a boolean or a list of them, taken as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cloakhouse.contracts.fields import Fields
from cloakhouse.contracts.source import parse_yaml
from cloakhouse.settings import Settings

FILE = "alerts.yaml"
NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
ARGUMENT = re.compile(r"[a-z_][a-z0-9_]{0,60}")
CLASS = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)+")
SEVERITIES = ("low", "medium", "high", "critical")
HTML, PLAIN = "html", "plain"


@dataclass(frozen=True)
class Channel:
    """One notifier of the file; see the module."""

    name: str
    path: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    title: str | None = None
    text: str = "text"
    form: str = PLAIN
    severities: tuple[str, ...] = ()


def channels_of(settings: Settings) -> tuple[Channel, ...]:
    """Return the notifiers of the file, empty when there is none. Raises ContractError, ConfigurationError."""
    file = settings.contracts.parent / FILE
    return parse_channels(file.read_text("utf-8"), file.name) if file.is_file() else ()


def parse_channels(text: str, name: str) -> tuple[Channel, ...]:
    """Return the notifiers in `text`. Raises ContractError with the line, ConfigurationError for one name twice."""
    source = parse_yaml(text, name)
    root = Fields(source, ())
    listed = root.data.get("notifiers")
    if not isinstance(listed, list) or not listed:
        raise root.fault("notifiers", "a list of notifiers", "none", "add one, or remove the file")
    root.nothing_else("notifiers")
    channels = tuple(_channel(Fields(source, ("notifiers", number))) for number in range(len(listed)))
    if len({one.name for one in channels}) != len(channels):
        raise root.fault("notifiers", "each name once", "one twice", "rename one of the two")
    return channels


def _channel(fields: Fields) -> Channel:
    arguments = fields.child("arguments").data if "arguments" in fields.data else {}
    if any(not ARGUMENT.fullmatch(str(key)) or not _plain(value) for key, value in arguments.items()):
        raise fields.fault("arguments", "texts, numbers, booleans and lists of them, by name", "another", "correct it")
    severities = fields.names("severities") if "severities" in fields.data else ()
    if set(severities) - set(SEVERITIES):
        raise fields.fault("severities", "of " + ", ".join(SEVERITIES), "another", "correct it")
    channel = Channel(
        name=fields.text("name", NAME, "lower-case letters, digits and _"),
        path=fields.text("class", CLASS, "the path of a class"),
        arguments=arguments,
        title=fields.text("title", ARGUMENT, "the name of an argument") if "title" in fields.data else None,
        text=fields.text("text", ARGUMENT, "the name of an argument"),
        form=fields.choice("form", (HTML, PLAIN)),
        severities=severities,
    )
    fields.nothing_else("arguments", "severities", "title")
    return channel


def _plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(one, (str, int, float, bool)) for one in value)
    return isinstance(value, (str, int, float, bool))
