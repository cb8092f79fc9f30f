"""From an exception to a message on standard error and an exit code.

| exit code | what                                                      |
| --------- | --------------------------------------------------------- |
| 0         | done                                                      |
| 1         | a stage did not finish, or an internal error              |
| 2         | the command, a contract or a setting can't be used        |
| 3         | refused by policy                                         |
| 4         | integrity: data is not what it must be                    |
| 5         | not found                                                 |
| 6         | a service (keys, disk, database, program) is unavailable  |
| 130       | interrupted                                               |
"""

from __future__ import annotations

import errno
import json
import os
import sys
from typing import Any

import click

from cloakhouse.client.show import note
from cloakhouse.errors import CloakhouseError, MissingDependency, StorageError

DEBUG = "CLOAKHOUSE_DEBUG"
OUTPUT = "cloakhouse.output"
INTERRUPTED = 130


class CarefulGroup(click.Group):
    """A group of commands that ends with a message and a code, never with a traceback: one could show values."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Raises click's own exceptions, and anything when CLOAKHOUSE_DEBUG is set to 1."""
        try:
            return super().invoke(ctx)
        except CloakhouseError as error:
            _tell(error, ctx)
            raise click.exceptions.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            note("interrupted")
            raise click.exceptions.Exit(INTERRUPTED) from None
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as fault:
            if os.environ.get(DEBUG) == "1" or getattr(fault, "errno", None) == errno.EPIPE:
                raise
            if isinstance(fault, ModuleNotFoundError) and not (fault.name or "").startswith("cloakhouse"):
                missing = _missing(fault)
                _tell(missing, ctx)
                raise click.exceptions.Exit(missing.exit_code) from None
            if isinstance(fault, OSError) and fault.errno:
                refused = _refused(fault.errno)
                _tell(refused, ctx)
                _let_go_of_output()
                raise click.exceptions.Exit(refused.exit_code) from None
            note(f"internal error: {type(fault).__name__} (set {DEBUG}=1 for the traceback; it may show values)")
            raise click.exceptions.Exit(1) from None


def _tell(error: CloakhouseError, ctx: click.Context) -> None:
    note(json.dumps(error.as_dict(), indent=2) if ctx.meta.get(OUTPUT) == "json" else error.explain())


def _refused(number: int) -> StorageError:
    """Return what no stage explained: what the system refused, without the path, which may be somebody's name."""
    return StorageError(
        where="this command",
        expected="files, folders and streams that can be read and written",
        found=f"the system refused ({errno.errorcode.get(number, number)})",
        not_done="the command was not run to its end",
        remedy="look at CLOAKHOUSE_HOME, TMPDIR and where the answer goes: is it there, is it yours, is there room?",
        code="refused",
    )


def _let_go_of_output() -> None:
    """Where standard output takes nothing more, have Python not try again as it ends: that would be told as well."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _missing(fault: ModuleNotFoundError) -> MissingDependency:
    of_contracts = fault.name in ("open_data_contract_standard", "pydantic")
    return MissingDependency(
        where="this command",
        expected=f"the Python package `{fault.name}`",
        found="no such package",
        not_done="the command was not run to its end",
        remedy=f"pip install 'cloakhouse[{'contracts' if of_contracts else 'platform'}]'",
    )
