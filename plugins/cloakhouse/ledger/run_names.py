"""Names from Airflow as the audit log may hold them.

Whoever starts a run may type its id, and whoever writes a DAG its id and those of its tasks: a name of another form
than is expected here is told by its digest, so that nothing typed gets into a log that nobody can edit.
"""

from __future__ import annotations

import hashlib
import re

_TIME = r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?(?:\+00:00|Z)"
_TYPE = "(?:manual|scheduled|backfill|operator_triggered|asset_triggered|asset_materialization)"
_RUN = re.compile(rf"{_TYPE}__{_TIME}(?:_[A-Za-z0-9]{{8}})?")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")
_USER = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,62}")


def run_name(run_id: str) -> str:
    """Return `run_id` where it has the form that Airflow itself gives, else its digest; empty for none."""
    return _or_digest(run_id, _RUN)


def name_of(name: str) -> str:
    """Return the id of a DAG or task where it is made of lower-case letters, digits and `_`, else its digest."""
    return _or_digest(name, _NAME)


def user_of(name: str | None) -> str:
    """Return the name of an Airflow user where it is no e-mail address and no number, else its digest."""
    return _or_digest(name or "", _USER)


def _or_digest(text: str, form: re.Pattern[str]) -> str:
    return text if not text or form.fullmatch(text) else digest_of(text)


def digest_of(text: str) -> str:
    """Return `sha256-` and the first 16 hex digits of the SHA-256 of `text`."""
    return "sha256-" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
