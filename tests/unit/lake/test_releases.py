"""Releases as files: what they are byte for byte, what openssl says of them, and that no byte of one can change."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.support.versions import AT, NAME, REF, release

from cloakhouse.errors import IntegrityError
from cloakhouse.keys.secret import SecretKey
from cloakhouse.keys.signing import PublicKey, SigningKey, _public_of
from cloakhouse.lake import releases
from cloakhouse.lake.dsse import opened_envelope, sealed_envelope
from cloakhouse.lake.releases import PAYLOAD_TYPE, Release, read_release, write_release
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.lake.sums import FileEntry
from cloakhouse.ledger.catalogue import ManifestRef

ADR = Path(__file__).parents[3] / "plugins" / "adr" / "0027-signed-releases.md"


def signer(seed: int = 1) -> SigningKey:
    secret = SecretKey(bytes([seed]) * 32)
    return SigningKey(_public_of(secret), secret)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "lake")


def read(store: FolderStore, ref: ManifestRef, trusted: PublicKey | None = None, **named: Any) -> Release:
    wanted = {"dataset": NAME, "version": 1, "zone": "synthetic"} | named
    return read_release(store, trusted or signer().public, ref, **wanted)


def put(store: FolderStore, text: bytes) -> ManifestRef:
    """Write `text` where a release is, and return a reference that its digest fits."""
    digest = hashlib.sha256(text).hexdigest()
    path = f"synthetic/{NAME}/releases/00000001-{digest[:16]}.json"
    store.create(path, text)
    return ManifestRef(path, digest)


def forged(
    store: FolderStore, change: Callable[[dict[str, Any]], object], key: SigningKey | None = None
) -> ManifestRef:
    """Return a release whose payload was changed and signed again by whoever holds the key."""
    content = release().as_dict()
    change(content)
    payload = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return put(store, sealed_envelope(signer(), PAYLOAD_TYPE, payload))


def test_a_release_comes_back_as_it_was_written(store: FolderStore) -> None:
    made = release()
    ref = write_release(store, signer(), made)
    assert read(store, ref) == made
    assert re.fullmatch(rf"synthetic/{NAME}/releases/00000001-{ref.sha256[:16]}\.json", ref.path)
    assert write_release(store, signer(), made) == ref
    again = write_release(store, signer(), replace(made, replaces=ref))
    assert again != ref
    assert read(store, again).replaces == ref


def test_the_bytes_are_those_of_the_decision_record(store: FolderStore) -> None:
    """Another program can be written after ADR 0027 alone."""
    ref = write_release(store, signer(), release())
    blocks = re.findall(r"```text\n(.*?)\n```", ADR.read_text(), re.DOTALL)
    payload, envelope = (block.replace("\n", "").encode() for block in blocks[:2])
    assert payload == base64.b64decode(json.loads(store.read(ref.path))["payload"])
    assert envelope == store.read(ref.path)


def test_openssl_alone_verifies_a_release(store: FolderStore, tmp_path: Path) -> None:
    ref = write_release(store, signer(), release())
    script = re.findall(r"```sh\n(.*?)\n```", ADR.read_text(), re.DOTALL)[0]
    (tmp_path / "releases.pem").write_bytes(signer().public.pem)
    (tmp_path / "others.pem").write_bytes(signer(2).public.pem)
    (tmp_path / "release.json").write_bytes(store.read(ref.path))

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(["sh", "-ec", script], cwd=tmp_path, capture_output=True, text=True, check=False)

    done = run()
    assert (done.returncode, "Signature Verified Successfully" in done.stdout) == (0, True), done.stderr
    assert json.loads((tmp_path / "payload").read_bytes())["dataset"] == NAME
    (tmp_path / "releases.pem").replace(tmp_path / "mine.pem")
    (tmp_path / "others.pem").replace(tmp_path / "releases.pem")
    assert run().returncode != 0


def test_the_payload_is_of_the_schema_and_the_schema_is_strict(store: FolderStore) -> None:
    schema = json.loads(files("cloakhouse.lake").joinpath("release_schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    check = jsonschema.Draft202012Validator(schema)
    made = release()
    for fine in (
        made,
        replace(made, replaces=REF),
        replace(made, files=(), rows=0, published_at=AT.replace(microsecond=0)),
    ):
        assert list(check.iter_errors(json.loads(json.dumps(fine.as_dict())))) == []
        assert read(store, write_release(store, signer(), fine)) == fine
    content = json.loads(json.dumps(made.as_dict()))
    assert set(schema["required"]) == set(content) == set(schema["properties"])
    for name in content:
        assert not check.is_valid({k: v for k, v in content.items() if k != name})
        assert not check.is_valid(content | {name: object})
    assert not check.is_valid(content | {"more": 1})


def test_a_change_of_any_byte_is_found(store: FolderStore) -> None:
    ref = write_release(store, signer(), release())
    text = store.read(ref.path)
    found = set()
    for place in range(len(text)):
        flipped = text[:place] + bytes([text[place] ^ (1 << place % 8)]) + text[place + 1 :]
        with pytest.raises(IntegrityError) as caught:
            opened_envelope(signer().public, PAYLOAD_TYPE, flipped, "x")  # without the digest
        found.add(caught.value.code)
    assert found == {"integrity.signature", "integrity.envelope"}
    for changed in (text[:-1], text + b"\n", b" " + text, b""):
        with pytest.raises(IntegrityError) as caught:
            read(store, put(store, changed))
        assert caught.value.code in ("integrity.envelope", "integrity.signature")
    path = store.root / ref.path
    path.write_bytes(text[:-1] + b"\n")
    with pytest.raises(IntegrityError, match="other bytes") as caught:
        read(store, ref)
    assert caught.value.code == "integrity.release"
    path.unlink()
    with pytest.raises(IntegrityError, match="no file"):
        read(store, ref)


def test_only_the_trusted_key_signs(store: FolderStore) -> None:
    ref = write_release(store, signer(2), release())
    with pytest.raises(IntegrityError) as caught:
        read(store, ref)
    assert caught.value.code == "integrity.signature"
    assert signer().public.fingerprint in caught.value.expected
    assert read(store, ref, signer(2).public) == release()


@pytest.mark.parametrize(
    "named", [{"dataset": "others"}, {"version": 2}, {"zone": "aggregates"}], ids=lambda named: next(iter(named))
)
def test_the_release_of_another_version_is_refused(store: FolderStore, named: dict[str, Any]) -> None:
    ref = write_release(store, signer(), release())
    with pytest.raises(IntegrityError) as caught:
        read(store, ref, **named)
    assert caught.value.code == "integrity.release"


def entry(path: str) -> dict[str, Any]:
    return {"path": path, "bytes": 4, "rows": 21, "sha256": "0" * 64}


HOME = f"synthetic/{NAME}"
WRONG: dict[str, Callable[[dict[str, Any]], object]] = {
    "a field more": lambda c: c.update(more=1),
    "a field less": lambda c: c.pop("card"),
    "another format": lambda c: c.update(format=2),
    "true for one": lambda c: c.update(format=True),
    "no number": lambda c: c.update(version=0),
    "a number as text": lambda c: c.update(version="1"),
    "rows that don't add up": lambda c: c.update(rows=22),
    "rows below none": lambda c: c["files"][0].update(rows=-1),
    "a fraction of bytes": lambda c: c["files"][0].update(bytes=4.0),
    "too many bytes": lambda c: c["files"][0].update(bytes=2**63),
    "a short digest": lambda c: c["files"][0].update(sha256="0" * 63),
    "a file that is none": lambda c: c.update(files=["x"]),
    "files that are none": lambda c: c.update(files={}),
    "a file twice": lambda c: c.update(
        files=[entry(f"{HOME}/a/x.parquet"), {**entry(f"{HOME}/a/x.parquet"), "rows": 0}]
    ),
    "a column twice": lambda c: c.update(columns=c["columns"] * 2),
    "a column without class": lambda c: c["columns"][0].pop("class"),
    "local time": lambda c: c.update(published_at="2026-11-02T03:04:05"),
    "another zone of time": lambda c: c.update(published_at="2026-11-02T03:04:05+01:00"),
    "no time": lambda c: c.update(published_at=5),
    "another text of the time": lambda c: c.update(published_at="2026-11-02 03:04:05+00:00"),
    "another zone": lambda c: c.update(zone="landing"),
    "a name with ..": lambda c: c.update(dataset="../x"),
    "evidence without digest": lambda c: c.update(evidence={"path": "x", "sha256": ""}),
    "no source": lambda c: c.update(source=None),
    "a list for the card": lambda c: c.update(card=[]),
    "another file's folder": lambda c: c.update(files=[entry(f"synthetic/{NAME}2/a/x.parquet")]),
    "another zone's folder": lambda c: c.update(files=[entry(f"protected/{NAME}/a/x.parquet")]),
    "a way up": lambda c: c.update(files=[entry(f"{HOME}/../../protected/x.parquet")]),
    "an empty segment": lambda c: c.update(files=[entry(f"{HOME}//x.parquet")]),
    "an absolute path": lambda c: c.update(files=[entry("/etc/passwd")]),
    "a look-alike": lambda c: c.update(files=[entry(f"{HOME}/a/\uff0e\uff0e/x.parquet")]),
    "a release as data": lambda c: c.update(files=[entry(f"{HOME}/releases/x.parquet")]),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_release_that_lists_what_it_may_not_is_refused_whoever_signed_it(store: FolderStore, fault: str) -> None:
    ref = forged(store, WRONG[fault])
    with pytest.raises(IntegrityError) as caught:
        read(store, ref)
    assert caught.value.code == "integrity.release"


def test_a_payload_in_another_form_is_refused(store: FolderStore) -> None:
    texts = [json.dumps(release().as_dict()).encode(), b"[]", b"{", b"\xff", b"null", b"[" * 100_000, b'{"format":NaN}']
    for payload in texts:
        with pytest.raises(IntegrityError) as caught:
            read(store, put(store, sealed_envelope(signer(), PAYLOAD_TYPE, payload)))
        assert caught.value.code == "integrity.release"


def test_an_envelope_of_another_type_or_with_more_signatures_is_refused(store: FolderStore) -> None:
    with pytest.raises(IntegrityError) as caught:
        read(store, put(store, sealed_envelope(signer(), "application/json", b"{}")))
    assert caught.value.code == "integrity.signature"  # the type is signed
    envelope = json.loads(store.read(write_release(store, signer(), release()).path))
    [one] = envelope["signatures"]
    for changed in (
        envelope | {"signatures": [one, one]},
        envelope | {"signatures": []},
        envelope | {"signatures": [one | {"keyid": signer(2).public.fingerprint}]},
        envelope | {"more": 1},
    ):
        text = json.dumps(changed, sort_keys=True, separators=(",", ":")).encode()
        with pytest.raises(IntegrityError) as caught:
            read(store, put(store, text))
        assert caught.value.code == "integrity.envelope"


@pytest.mark.parametrize(
    "fields",
    [
        {"rows": 20},
        {"card": {"share": float("nan")}},
        {"card": {"text": "\ud800"}},
        {"files": (FileEntry("protected/people/x.parquet", 1, 21, "0" * 64),)},
        {"published_at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "version": 0},
    ],
)
def test_what_could_not_be_read_is_not_written(store: FolderStore, fields: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError, match="not written"):
        write_release(store, signer(), release(**fields) if "version" not in fields else replace(release(), **fields))
    assert list(store.list()) == []


def test_a_release_that_somebody_put_in_its_place_is_not_taken_for_it(store: FolderStore) -> None:
    ref = write_release(store, signer(), release())
    (store.root / ref.path).write_bytes(b"{}")
    with pytest.raises(IntegrityError):
        write_release(store, signer(), release())


def test_a_large_release_is_bounded(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = write_release(store, signer(), release())
    monkeypatch.setattr(releases, "LIMIT", 100)
    with pytest.raises(IntegrityError):
        read(store, ref)
