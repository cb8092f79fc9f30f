"""One root error for the platform and one class per kind of failure.

A message answers five questions in order: where, what was expected, what was found, what was not done
because of it, and what to do next. `found` describes (a count, a type, a size, a digest); it never holds
a value that came from a feed, so that any message may reach a log, a screen or a ticket.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar


class CloakhouseError(Exception):
    """Root of every error that the platform raises on purpose.

    Attributes:
        code: short, stable name for programs (`delivery.truncated`).
        where: file, column, object or connection that the error is about.
        expected / found: both sides of the mismatch; `found` never holds a customer's value.
        not_done: what was left undone, so that the reader knows the state of the lake.
        remedy: the next thing to do.
    """

    kind: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    passing: ClassVar[frozenset[str]] = frozenset()  # codes of faults that may pass by themselves

    def __init__(self, *, where: str, expected: str, found: str, not_done: str, remedy: str, code: str = "") -> None:
        self.code = f"{self.kind}.{code}" if code else self.kind
        self.where = where
        self.expected = expected
        self.found = found
        self.not_done = not_done
        self.remedy = remedy
        super().__init__(self.explain())

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed a while later, with nothing put right."""
        return self.code in self.passing

    def explain(self) -> str:
        """Return the message for people: one line per question."""
        return (
            f"{self.code} at {self.where}\n"
            f"  expected: {self.expected}\n"
            f"  found:    {self.found}\n"
            f"  not done: {self.not_done}\n"
            f"  to do:    {self.remedy}"
        )

    def as_dict(self) -> dict[str, str]:
        """Return the message for programs: the five answers and the code."""
        return {
            "code": self.code,
            "where": self.where,
            "expected": self.expected,
            "found": self.found,
            "not_done": self.not_done,
            "remedy": self.remedy,
        }

    def __reduce__(self) -> tuple[object, ...]:
        fields = {k: v for k, v in self.as_dict().items() if k != "code"}
        return _rebuild, (type(self), fields, self.code)


def _rebuild(cls: type[CloakhouseError], fields: dict[str, str], code: str) -> CloakhouseError:
    error = cls(**fields)
    error.code = code
    error.args = (error.explain(),)
    return error


class ContractError(CloakhouseError):
    """A data contract is malformed, contradicts itself, or changed without a new version."""

    kind = "contract"
    exit_code = 2


class ConfigurationError(CloakhouseError):
    """A setting or an argument can't be used as given."""

    kind = "configuration"
    exit_code = 2


class AccessRefused(CloakhouseError):
    """The caller may not do this."""

    kind = "access"
    exit_code = 3


class ResidencyRefused(CloakhouseError):
    """Data or keys are in another region than the contract keeps them in."""

    kind = "residency"
    exit_code = 3


class ValidationRefused(CloakhouseError):
    """Quality or privacy checks failed, or are incomplete: nothing was published."""

    kind = "validation"
    exit_code = 3


class DeliveryError(CloakhouseError):
    """A file of a feed can't be landed as it was delivered."""

    kind = "delivery"
    exit_code = 4


class IntegrityError(CloakhouseError):
    """Stored bytes are not the bytes that were written."""

    kind = "integrity"
    exit_code = 4


class TreatmentError(CloakhouseError):
    """A column treatment can't be applied to the data it was given."""

    kind = "treatment"
    exit_code = 4


class NotFound(CloakhouseError):
    """No dataset, version or file of that name."""

    kind = "not-found"
    exit_code = 5


class VersionWithdrawn(CloakhouseError):
    """A version was withdrawn: nobody reads it any more, and everyone who asks is told why."""

    kind = "withdrawn"
    exit_code = 3


class VersionGone(CloakhouseError):
    """A version was expired, or its files are collected."""

    kind = "gone"
    exit_code = 5


class KeyServiceError(CloakhouseError):
    """A key can't be used: missing, refused, unreachable, or the wrong one."""

    kind = "key"
    exit_code = 6
    passing = frozenset({"key.unreachable", "key.throttled"})


class StorageError(CloakhouseError):
    """The file system refused a write or a read (no space, no permission)."""

    kind = "storage"
    exit_code = 6

    @property
    def retryable(self) -> bool:
        """Always: somebody may free the space or put the permission right."""
        return True


class StageError(CloakhouseError):
    """A stage of the path did not finish."""

    kind = "stage"

    @property
    def retryable(self) -> bool:
        """Always."""
        return True


def internal(stage: str, fault: BaseException) -> StageError:
    """Return what may be told of an exception that nobody foresaw: its class and its place, never its text.

    Libraries quote the value they stumbled over; `raise internal(...) from None` keeps it out of every log.
    """
    trace = fault.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace is not None else "unknown"
    return StageError(
        where=f"{stage}, in {place}",
        expected="no error but the platform's own",
        found=f"{type(fault).__module__}.{type(fault).__qualname__} (its text may quote values and is not shown)",
        not_done="the stage did not finish; nothing of it became visible",
        remedy="run again; if it stays, take the input that causes it and this place to the platform's maintainers",
        code="internal",
    )


class MissingDependency(CloakhouseError):
    """A program that the platform runs on is not installed."""

    kind = "missing"
    exit_code = 6
