"""The platform's log lines: as text, or as JSON lines where CLOAKHOUSE_LOG_FORMAT=json.

One object a line, names sorted: `time` (RFC 3339, UTC), `level`, `logger`, `event` (the message as it stands in the
code, without what was filled in; of progress its kind), `message` (with it), where known `stage`, `dataset` and
`counts` (numbers by name), and `dag`, `run`, `task` of the Airflow run in which it happened, in Spark jobs as well.

Only loggers of the platform are formed so; what libraries log stays with them. No line holds a value of a person:
messages are constants, filled with what a reviewed list names (tests/unit/test_logs.py). Of an exception there is the
class, never text or traceback, which may quote values.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import math
import os
import sys
from collections.abc import Mapping
from typing import IO, Any

from cloakhouse.errors import ConfigurationError
from cloakhouse.ledger.run_names import name_of, run_name

VARIABLE = "CLOAKHOUSE_LOG_FORMAT"
TEXT, JSON = "text", "json"
ROOT = "cloakhouse"
EXTRA = "cloakhouse_fields"  # of a record: what `Progress` tells beside the message
WORDS = ("event", "stage", "dataset")


class JsonLines(logging.Formatter):
    """Forms records as JSON lines; `context` stands in each of them."""

    def __init__(self, context: Mapping[str, str]) -> None:
        super().__init__()
        self._context = {name: value for name, value in context.items() if value}

    def format(self, record: logging.LogRecord) -> str:
        """Return one line without its end."""
        told: dict[str, Any] = {
            **self._context,
            "time": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat("T", "milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": str(record.msg),
            "message": record.getMessage(),
        }
        given: Mapping[str, object] = getattr(record, EXTRA, {})
        told |= {name: value for name in WORDS if isinstance(value := given.get(name), str)}
        numbers = ((k, v) for k, v in given.items() if isinstance(v, int | float) and not isinstance(v, bool))
        counts = {k: v for k, v in numbers if math.isfinite(v)}  # JSON has no others
        if counts:
            told["counts"] = counts
        if record.exc_info and record.exc_info[0] is not None:
            told["fault"] = record.exc_info[0].__qualname__
        return json.dumps(told, sort_keys=True, ensure_ascii=True)


def configure(stream: IO[str] | None = None, environment: Mapping[str, str] | None = None) -> bool:
    """Have the platform's loggers write JSON lines to `stream` (default: standard error) where the environment asks for
    it; return whether it does. Repeated, nothing changes but the stream. Raises ConfigurationError for another format.
    """
    env = os.environ if environment is None else environment
    chosen = env.get(VARIABLE) or TEXT
    if chosen not in (TEXT, JSON):
        raise ConfigurationError(
            where=VARIABLE,
            expected=f"{TEXT} or {JSON}",
            found="another text",
            not_done="nothing was started",
            remedy="correct the setting",
        )
    if chosen == TEXT:
        return False
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines(context(env)))
    logger = logging.getLogger(ROOT)
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.INFO)
    return True


def context(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the Airflow run that `environment` tells of, as the audit log names it: `dag`, `run`, `task`."""
    names = {"dag": "AIRFLOW_CTX_DAG_ID", "task": "AIRFLOW_CTX_TASK_ID"}
    found = {key: name_of(environment.get(name, "")) for key, name in names.items()}
    return {**found, "run": run_name(environment.get("AIRFLOW_CTX_DAG_RUN_ID", ""))}
