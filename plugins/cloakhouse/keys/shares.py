"""Shares: dataset keys for a role that may open some datasets of a zone, and not the others.

Who may use a master key opens every dataset of its zone and class. A role that is limited to some datasets is given no
such grant. It has a master key of its own, `access/<role>`, and beneath it a dataset key for each of its datasets,
`access/<role>/<dataset>`. Under that one each version of the real dataset key is wrapped once more: a share.

    <folder>/<role>/<zone>/<class>/<dataset>.json, mode 0600, replaced in one step:

    {"format": 1, "role": "analyst", "key": "synthetic/plain/baskets", "shares": {"1": "<base64 of a CHD1>"}}

Shares are wrapped with role, key and version as context, so that none passes for another's. They are copies of keys:
whoever shreds a dataset destroys `access/<role>/<dataset>` with it, since it has the dataset's name; whoever shreds a
class removes its shares (`Shares.remove_class`), and so does the next `cloakhouse access apply`. While a master key is
disabled its shares are not used, which is this code's doing, and removed by `cloakhouse access apply`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cloakhouse.contracts.access_policy import ROLE_KEYS
from cloakhouse.keys.dataset_keys import DatasetKey, DatasetKeyFile, refused
from cloakhouse.keys.files import fsync_folder, listed, replacing, storage_error
from cloakhouse.keys.protocol import Context, KeyName, KeyState
from cloakhouse.keys.ring import KeyRing
from cloakhouse.keys.secret import SecretKey

FORMAT = 1


@dataclass(frozen=True, order=True)
class Share:
    """Role `role` (in the form of its key, with `_` for `-`) may open dataset key `key`."""

    role: str
    key: DatasetKey

    @property
    def wrapping(self) -> DatasetKey:
        """The dataset key that wraps it."""
        return DatasetKey(ROLE_KEYS, self.role, self.key.dataset)

    def context(self, version: int) -> Context:
        """Return the context under which version `version` of the dataset key is wrapped."""
        return {"use": "share", "role": self.role, "key": self.key.name, "v": str(version)}


class Shares:
    """The shares of one installation, in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def all(self) -> list[Share]:
        """Return every share, in order. Raises StorageError where they can't be listed."""
        names = (path.with_suffix("").relative_to(self._folder).parts for path in listed(self._folder, "*/*/*/*.json"))
        return sorted(Share(role, DatasetKey(*name)) for role, *name in names)

    def of(self, key: DatasetKey) -> Iterator[Share]:
        """Yield the shares of dataset key `key`. Raises StorageError where they can't be listed."""
        for path in listed(self._folder, f"*/{key.name}.json"):
            yield Share(path.relative_to(self._folder).parts[0], key)

    def read(self, share: Share) -> dict[int, bytes]:
        """Return the wrapped versions of a share; none if there is no such share. Raises KeyServiceError."""
        try:
            raw = self._path(share).read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as fault:
            raise refused(share.key, "a readable share", type(fault).__name__, "damaged") from None
        try:
            found = {int(v): base64.b64decode(text, validate=True) for v, text in json.loads(raw)["shares"].items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            found = {}
        if raw != _encoded(share, found):
            raise refused(share.key, f"a share of format {FORMAT}", "a damaged one", "damaged")
        return found

    def open(self, share: Share, version: int, ring: KeyRing) -> SecretKey | None:
        """Return a version of the dataset key, opened with `ring`; None if it isn't shared.

        Raises AccessRefused for who isn't in the role, KeyServiceError.
        """
        wrapped = self.read(share).get(version)
        return None if wrapped is None else ring.unwrap(share.wrapping, wrapped, share.context(version))

    def current(self, share: Share, file: DatasetKeyFile, newest: int) -> bool:
        """Return whether a share holds each version of `file` and no other, under version `newest` of its own key.

        Opens no key. Raises KeyServiceError for a damaged share.
        """
        found = self.read(share)
        wrapped_by = {KeyRing.version_of(wrapped) for wrapped in found.values()}
        return found.keys() == {record.version for record in file.versions} and wrapped_by == {newest}

    def up_to_date(self, share: Share, files: Mapping[DatasetKey, DatasetKeyFile]) -> bool:
        """Return whether a share is there and `current`, by the dataset keys in `files`. Raises as `current`."""
        wrapping = files.get(share.wrapping)
        return wrapping is not None and self.current(share, files[share.key], wrapping.newest)

    def write(self, share: Share, file: DatasetKeyFile, ring: KeyRing) -> None:
        """Share every version of `file`, a dataset key that `ring` opens. Raises KeyServiceError, AccessRefused."""
        wrapped = {}
        for record in file.versions:
            opened = ring.service.unwrap(file.key.master, record.wrapped, file.key.context(record.version))
            wrapped[record.version] = ring.wrap(share.wrapping, opened, share.context(record.version))
        with replacing(self._path(share)) as stream:
            stream.write(_encoded(share, wrapped))

    def renew(self, ring: KeyRing, name: KeyName) -> int:
        """Have the shares of dataset keys under master key `name` hold every version of them; return how many did not.

        A rotation ends with it, so that a role goes on opening what is written. Raises KeyServiceError, AccessRefused.
        """
        concerned = [share for share in self.all() if name in (share.key.master, share.wrapping.master)]
        if not concerned:
            return 0
        files, count = {file.key: file for file in ring.all()}, 0
        masters = {share.key.master for share in concerned}
        usable = {master for master in masters if ring.service.describe(master).state is KeyState.ENABLED}
        for share in concerned:
            file = files.get(share.key)
            if file is None or file.state is not KeyState.ENABLED or share.key.master not in usable:
                continue  # what can't be opened isn't shared
            if not self.up_to_date(share, files):
                self.write(share, file, ring)
                count += 1
        return count

    def remove(self, share: Share) -> None:
        """Remove a share; one that isn't there is removed already. Raises StorageError."""
        path = self._path(share)
        try:
            path.unlink()
            fsync_folder(path.parent)
        except FileNotFoundError:
            return
        except OSError as fault:
            raise storage_error(fault, path, "the share was not removed") from None

    def remove_class(self, name: KeyName) -> list[Share]:
        """Remove the shares of every dataset key under master key `name`, which is being shredded; return them."""
        found = [share for share in self.all() if share.key.master == name]
        for share in found:
            self.remove(share)
        return found

    def _path(self, share: Share) -> Path:
        return self._folder / share.role / f"{share.key.name}.json"


def _encoded(share: Share, wrapped: Mapping[int, bytes]) -> bytes:
    shares = {str(version): base64.b64encode(wrapped[version]).decode() for version in sorted(wrapped)}
    return json.dumps(
        {"format": FORMAT, "role": share.role, "key": share.key.name, "shares": shares}, indent=1
    ).encode()
