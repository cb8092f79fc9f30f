"""Tokens by column against the same by row: thread CPU time, interleaved, the best of several.

Peers get fewer values, since they would take minutes; rates are compared. Every way makes its tokens from what a stage
holds: an Arrow column here, a list of bytes or of text there, so that nobody pays for the other's form. The targets
are what the design promises, against the best peer of the row's kind; nothing fails on a number.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass

import fastfpe
import ff3
import numpy as np
import pyarrow as pa
import pyffx
from cryptography.hazmat.primitives import cmac
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens.aes import CHUNK_ROWS, AesPermutation, Blocks
from cloakhouse.tokens.cmac import cmac_tokens
from cloakhouse.tokens.ff1 import DIGITS, ff1_encrypt
from cloakhouse.tokens.linking import column_tokens
from cloakhouse.tokens.siv import siv_tokens

ROWS = 1_000_000
FEW = 20_000  # values for the peers that take about a microsecond
FEWEST = 500  # for those that take tens
ROUNDS = 9
KEY, OTHER, LONG_KEY = SecretKey(bytes(range(32))), SecretKey(bytes(32)), SecretKey(bytes(range(64)))
LIMIT = "AES-256-ECB, one block a value: the limit"


@dataclass(frozen=True)
class Way:
    """One way to make tokens."""

    name: str
    rows: int
    """Values a call."""
    call: Callable[[], object]
    peers: tuple[str, ...] = ()
    """Names of the ways to compare with; empty for a peer."""
    target: int = 0
    """How many times the best peer's rate is promised; 0 for no promise."""
    blocks: float = 0
    """AES blocks a value, of which the chain can't do with less; 0 where no share of the limit is given."""


def measure() -> str:
    """Return the table of rates, their ratio to the best peer beside the target, and their share of AES's own limit."""
    ways = _ways()
    best = {way.name: 0.0 for way in ways}
    for _ in range(ROUNDS):
        for way in ways:
            before = time.thread_time()
            way.call()
            best[way.name] = max(best[way.name], way.rows / (time.thread_time() - before))
    head = f"| {ROWS:,} values | million a second and core | times the best peer | target | share of the AES limit |"
    return "\n".join([head, "| --- | --- | --- | --- | --- |", *(_line(way, best) for way in ways), ""])


def _line(way: Way, best: dict[str, float]) -> str:
    rate = best[way.name]
    ratio = f"{rate / max(best[name] for name in way.peers):.0f}" if way.peers else ""
    target = f"{way.target}" if way.target else ""
    share = f"{100 * rate * way.blocks / best[LIMIT]:.0f} %" if way.blocks else ""
    return f"| {way.name} | {rate / 1e6:.3g} | {ratio} | {target} | {share} |"


def _ways() -> list[Way]:
    ids = [f"{row * 7919 % 10**12:012}" for row in range(ROWS)]
    emails = [f"client.{row * 7919 % 10 ** (2 + row % 7)}@mail{row % 10}.example" for row in range(ROWS)]
    mixed = [f"x{row * 7919 % 10**7}" * (1 + row % 5) for row in range(ROWS)]  # one to three blocks
    cards = [f"{row * 982_451_653 % 10**16:016}" for row in range(ROWS // 5)]
    source, target = Blocks(CHUNK_ROWS), Blocks(CHUNK_ROWS)
    aes = AesPermutation(KEY)
    columns = {"ids": pa.array(ids), "e-mails": pa.array(emails)}
    numbers, numerals = pa.array(np.arange(ROWS)), pa.array(cards)
    size = np.mean([len(text) for text in emails])
    chain = float(np.mean([-(-len(text) // 16) for text in emails]))
    names = {"ids": "12-character ids", "e-mails": f"e-mails, {size:.1f} B"}
    calls = ROWS // CHUNK_ROWS
    ways = [Way(LIMIT, calls * CHUNK_ROWS, lambda: [aes.apply(source, target, CHUNK_ROWS) for _ in range(calls)])]
    for kind, texts, blocks, goal in (("ids", ids, 1.0, 50), ("e-mails", emails, chain, 15)):
        ways += _keyed(names[kind], columns[kind], texts, blocks, goal)
    blocks = float(np.mean([-(-len(text) // 16) for text in mixed]))
    uneven = pa.array(mixed)
    ways.append(Way("CMAC, 2 to 40 B, mixed", ROWS, lambda: cmac_tokens(uneven, KEY), (), 0, blocks))
    peers = tuple(way.name for way in ways if names["ids"] in way.name and not way.peers)
    ways += [
        Way("CMAC, int64", ROWS, lambda: cmac_tokens(numbers, KEY), peers, 0, 1.0),
        *_formats(numerals, cards),
    ]
    return ways


def _keyed(name: str, column: pa.Array, texts: list[str], blocks: float, goal: int) -> list[Way]:
    few = [text.encode() for text in texts[:FEW]]
    started, siv, key = cmac.CMAC(algorithms.AES(KEY.reveal())), AESSIV(LONG_KEY.reveal()), KEY.reveal()

    def copied() -> None:
        for value in few:
            mac = started.copy()
            mac.update(value)
            mac.finalize()

    macs = (f"cryptography CMAC, copied: {name}", f"hmac.digest SHA-256: {name}")
    sivs = (f"cryptography AESSIV: {name}",)
    return [
        Way(f"CMAC, {name}", ROWS, lambda: cmac_tokens(column, KEY), macs, goal, blocks),
        Way(f"CMAC, domain and purpose, {name}", ROWS, lambda: column_tokens(column, KEY, OTHER), macs, 0, blocks + 1),
        Way(macs[0], FEW, copied),
        Way(macs[1], FEW, lambda: [hmac.digest(key, value, "sha256") for value in few]),
        Way(f"SIV, {name}", ROWS, lambda: siv_tokens(column, LONG_KEY), sivs, 12, 2 * blocks),
        Way(sivs[0], FEW, lambda: [siv.encrypt(value, None) for value in few]),
    ]


def _formats(column: pa.Array, cards: list[str]) -> list[Way]:
    """FF1 of all 16 digits; ff3 is FF3-1 and pyffx is FFX, the nearest things."""
    key = KEY.reveal()
    third, ffx = ff3.FF3Cipher(key.hex(), "00" * 7), pyffx.String(key, alphabet=DIGITS, length=16)
    fast, slow = "fastfpe FF1, 16-digit cards", "ff3 FF3-1, 16-digit cards"
    rust = fastfpe.ff1.encrypt
    rows, few, fewest = len(cards), cards[:FEW], cards[:FEWEST]

    def ours() -> object:
        return ff1_encrypt(column, KEY, alphabet=DIGITS)

    return [
        Way("FF1, 16-digit cards", rows, ours, (fast,), 40),
        Way("FF1 with a valid Luhn digit, of which all are valid", rows, _luhn(column), (fast,)),
        Way(fast, FEW, lambda: [rust(key.hex(), "", DIGITS, card) for card in few]),
        Way("FF1 (again), against ff3 FF3-1", rows, ours, (slow,), 500),
        Way(slow, FEWEST, lambda: [third.encrypt(card) for card in fewest]),
        Way("pyffx FFX, 16-digit cards", FEWEST, lambda: [ffx.encrypt(card) for card in fewest]),
    ]


def _luhn(column: pa.Array) -> Callable[[], object]:
    sealed = ff1_encrypt(_checked(column), KEY, alphabet=DIGITS, luhn="valid")
    return lambda: ff1_encrypt(sealed, KEY, alphabet=DIGITS, luhn="valid")


def _checked(column: pa.Array) -> pa.Array:
    """Return the numbers with their last digit put right."""
    digits = np.array([list(map(int, card)) for card in column.to_pylist()])
    doubled = digits.copy()
    doubled[:, -2::-2] = doubled[:, -2::-2] * 2 // 10 + doubled[:, -2::-2] * 2 % 10
    digits[:, -1] = -doubled[:, :-1].sum(axis=1) % 10
    return pa.array(["".join(map(str, row)) for row in digits.tolist()])
