"""Key material in memory, held so that it can't be printed, logged, compared by accident or pickled."""

from __future__ import annotations

from typing import NoReturn


class SecretKey:
    """Symmetric key bytes. Only `reveal()` gives them back, at the one call that needs them.

    `repr`, `str` and formatting show the length only; pickling and copying are refused, so that no key
    reaches an XCom, a Spark closure, a log line or a traceback's rendering of locals.
    """

    __slots__ = ("_material",)

    def __init__(self, material: bytes) -> None:
        if len(material) not in (16, 24, 32, 48, 64):
            raise ValueError("a secret key has 16, 24, 32, 48 or 64 bytes")
        self._material = bytes(material)

    def reveal(self) -> bytes:
        """Return the raw key (bytes). Never store, log or send what this returns."""
        return self._material

    def __len__(self) -> int:
        return len(self._material)

    def __repr__(self) -> str:
        return f"SecretKey({8 * len(self._material)} bits)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("key material can't be pickled or copied; pass the key's URI instead")

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return self is other
