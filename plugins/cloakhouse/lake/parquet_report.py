"""One Parquet file of the lake, looked at from its bytes: which are in encrypted modules, and under which keys."""

from __future__ import annotations

from typing import BinaryIO

from cloakhouse.errors import CloakhouseError, IntegrityError
from cloakhouse.keys.ring import KeyRing
from cloakhouse.lake.deep import check_modules
from cloakhouse.lake.encryption import ALGORITHM, KEY_BITS, dataset_key
from cloakhouse.lake.footer import Chunk, Protection, read_crypto, read_plain_footer
from cloakhouse.lake.modules import FormatError, end_of_modules
from cloakhouse.lake.report import Finding, Kind, Report


def encrypted_parquet(stream: BinaryIO, path: str, size: int, ring: KeyRing | None, *, deep: bool) -> Report:
    crypto = read_crypto(stream, size)
    findings = []
    if crypto.algorithm != ALGORITHM:
        findings.append(Finding(path, Kind.OTHERWISE, f"{crypto.algorithm}: its pages are not authenticated"))
    if crypto.material.key != _expected(path, "footer"):
        findings.append(Finding(path, Kind.OTHERWISE, "the footer is not under the footer key of its dataset"))
    if crypto.material.bits != KEY_BITS:
        findings.append(Finding(path, Kind.OTHERWISE, f"a key of {crypto.material.bits} bits for the footer"))
    chunks, checked = None, 0
    if ring is not None:
        try:
            chunks = crypto.open_footer(ring)
            findings += _column_findings(path, chunks)
            checked = check_modules(stream, crypto, chunks, ring) + len(crypto.footer) if deep else 0
        except IntegrityError as fault:
            raise FormatError(fault.found) from None
        except CloakhouseError as fault:
            findings.append(Finding(path, Kind.UNCHECKED, f"{fault.code} at {fault.where}"))
    sealed, plain = _measured(stream, crypto.data_end, chunks or ())
    if plain and not any(finding.kind is Kind.PARTLY for finding in findings):
        findings.append(Finding(path, Kind.PARTLY, f"{plain} bytes of data are in no encrypted module"))
    return Report(
        "parquet",
        encrypted=sealed + len(crypto.footer),
        plaintext=plain,
        structure=size - sealed - plain - len(crypto.footer),
        columns=_columns(chunks or ()),
        unopened=int(chunks is None),
        checked=checked,
        findings=tuple(findings),
    )


def plain_parquet(stream: BinaryIO, path: str, size: int) -> Report:
    """Return the report of a file with a plaintext footer, of which some columns may be encrypted nevertheless."""
    end, chunks = read_plain_footer(stream, size)
    sealed = 0
    if any(chunk.protection is not Protection.NONE for chunk in chunks):
        sealed, _ = _measured(stream, end, chunks)
    kind, detail = (Kind.PARTLY, "a footer in plaintext") if sealed else (Kind.PLAINTEXT, "plain Parquet")
    return Report(
        "parquet",
        encrypted=sealed,
        plaintext=size - sealed - 12,
        structure=12,
        columns=_columns(chunks),
        findings=(Finding(path, kind, detail),),
    )


def _measured(stream: BinaryIO, end: int, chunks: tuple[Chunk, ...]) -> tuple[int, int]:
    """Return (bytes in modules, other bytes) of the data, 4 to `end`; the chunks tell which parts are plaintext."""
    at, sealed = 4, 0
    plain = [chunk.extent(chunk.metadata or {}) for chunk in chunks if chunk.protection is Protection.NONE]
    for start, stop in [*sorted(plain), (end, end)]:
        if not at <= start <= stop <= end:
            raise FormatError("the column chunks are not where the footer says")
        sealed += end_of_modules(stream, at, start) - at
        at = stop
    return sealed, end - 4 - sealed


def _columns(chunks: tuple[Chunk, ...]) -> dict[Protection, int]:
    """Return the number of columns by Protection; a column counts as the weakest of its chunks."""
    weakest: dict[str, Protection] = {}
    order = list(Protection)
    for chunk in chunks:
        weakest[chunk.column] = max(weakest.get(chunk.column, Protection.OWN), chunk.protection, key=order.index)
    found = list(weakest.values())
    return {kind: found.count(kind) for kind in Protection}


def _column_findings(path: str, chunks: tuple[Chunk, ...]) -> list[Finding]:
    columns = _columns(chunks)
    findings = []
    if columns[Protection.NONE]:
        findings.append(Finding(path, Kind.PARTLY, f"{columns[Protection.NONE]} columns are in plaintext"))
    if columns[Protection.FOOTER]:
        detail = f"{columns[Protection.FOOTER]} columns are under the footer's key"
        findings.append(Finding(path, Kind.OTHERWISE, detail))
    own = {chunk.material for chunk in chunks if chunk.material is not None}
    if any(material.key != _expected(path, [*material.key.split("/"), ""][1]) for material in own):
        findings.append(Finding(path, Kind.OTHERWISE, "a column is under the key of another dataset"))
    if any(material.bits != KEY_BITS for material in own):
        findings.append(Finding(path, Kind.OTHERWISE, f"a column has a key of another length than {KEY_BITS} bits"))
    return findings


def _expected(path: str, use: str) -> str | None:
    try:
        return dataset_key(path, use).name
    except IntegrityError:
        return None
