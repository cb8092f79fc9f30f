"""Parquet Modular Encryption under dataset keys: the one place that configures it.

Fixed here: AES_GCM_V1, data keys of 256 bits, encrypted footer, double wrapping, key material inside the file.
Parquet's "master keys" are our dataset keys, by their names (`protected/direct/transactions`). pyarrow draws a key
per file and column (DEK), wraps it under a key-encryption key that it keeps for a while (KEK, 128 bits: pyarrow has
no other), and asks us to wrap that one.

Kept KEKs would outlive a revocation, so they are dropped as soon as the ring's epoch changes, and the dataset keys
are asked for again at every file: a job in progress is refused at its next file.

Source: https://github.com/apache/parquet-format/blob/master/Encryption.md
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

import pyarrow.parquet.encryption as pe

from cloakhouse.errors import IntegrityError, KeyServiceError
from cloakhouse.keys.dataset_keys import DatasetKey
from cloakhouse.keys.protocol import FOOTER
from cloakhouse.keys.ring import KeyRing
from cloakhouse.keys.secret import SecretKey

ALGORITHM = "AES_GCM_V1"
KEY_BITS = 256
CACHE_LIFETIME = dt.timedelta(minutes=5)


def dataset_key(path: str, use: str) -> DatasetKey:
    """Return the key for `use` (a class's key name, or footer) of the dataset that `path` (zone/dataset/...) is in."""
    zone, dataset, *_ = [*path.split("/"), "", ""]
    return DatasetKey(zone, use, dataset)


def context_of(key: DatasetKey) -> dict[str, str]:
    """Return the encryption context under which Parquet's keys are wrapped."""
    return {"use": "parquet", "key": key.name}


class FileEncryption:
    """Encryption and decryption properties, fresh for each file, over one factory. One per process."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring
        self._factory = pe.CryptoFactory(lambda _config: KeyRingClient(ring))
        self._connection = pe.KmsConnectionConfig()
        self._epoch = ring.epoch()

    def properties(self, path: str, columns: Mapping[str, Sequence[str]]) -> pe.FileEncryptionProperties:
        """Return properties for writing `path`; `columns` maps a class's key name to its columns.

        Raises KeyServiceError, AccessRefused.
        """
        footer = dataset_key(path, FOOTER)
        keys = {dataset_key(path, use): list(names) for use, names in columns.items()}
        self._renew()
        for key in (footer, *keys):
            self._require_or_make(key)
        configuration = pe.EncryptionConfiguration(
            footer_key=footer.name,
            column_keys={key.name: names for key, names in keys.items()},
            encryption_algorithm=ALGORITHM,
            plaintext_footer=False,
            double_wrapping=True,
            cache_lifetime=CACHE_LIFETIME,
            internal_key_material=True,
            data_key_length_bits=KEY_BITS,
        )
        return self._factory.file_encryption_properties(self._connection, configuration)

    def opening(self, path: str) -> pe.FileDecryptionProperties:
        """Return properties for reading `path`, whose footer key this principal must have. Raises as `properties`."""
        self._renew()
        self._ring.require([dataset_key(path, FOOTER)])
        configuration = pe.DecryptionConfiguration(cache_lifetime=CACHE_LIFETIME)
        return self._factory.file_decryption_properties(self._connection, configuration)

    def require(self, keys: Iterable[DatasetKey]) -> None:
        """Open each of `keys`, or raise what refuses it: to be called before pyarrow touches their columns."""
        self._ring.require(keys)

    def _renew(self) -> None:
        epoch = self._ring.epoch()
        if epoch != self._epoch:
            self._drop()
            self._epoch = epoch

    def _drop(self) -> None:
        self._factory.remove_cache_entries_for_all_tokens()

    def _require_or_make(self, key: DatasetKey) -> None:
        """Check that `key` may be used now; a missing one is made by the wrap, which a kept KEK would skip."""
        try:
            self._ring.require([key])
        except KeyServiceError as fault:
            if fault.code != "key.missing":
                raise
            self._drop()


class KeyRingClient(pe.KmsClient):  # type: ignore[misc]
    """Parquet's view of the key ring. Only wrapped keys pass through it into files.

    What it raises comes out of pyarrow as it is, from columns that are read as a projection; see `TableStore`.
    """

    def __init__(self, ring: KeyRing) -> None:
        pe.KmsClient.__init__(self)
        self._ring = ring

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> str:
        key = DatasetKey.parse(master_key_identifier)
        return base64.b64encode(self._ring.wrap(key, SecretKey(key_bytes), context_of(key))).decode()

    def unwrap_key(self, wrapped_key: str, master_key_identifier: str) -> bytes:
        key = DatasetKey.parse(master_key_identifier)
        return self._ring.unwrap(key, decoded(wrapped_key), context_of(key)).reveal()


def decoded(text: str) -> bytes:
    """Return the bytes of strict base64 `text`. Raises IntegrityError."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise IntegrityError(
            where="the key material of a Parquet file",
            expected="base64",
            found="other text",
            not_done="no key was opened",
            remedy="restore the file from a backup of the lake",
        ) from None
