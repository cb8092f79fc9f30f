"""Any sequence of operations on a store gives what a dictionary would; any text that is no path is refused."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloakhouse.errors import ConfigurationError, IntegrityError
from cloakhouse.lake.store.cache import Cache
from cloakhouse.lake.store.copies import Copy, Wanted
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.lake.store.protocol import checked_path
from cloakhouse.lake.store.s3_uri import Place

PATHS = st.sampled_from(["a/1", "a/2", "a/b/1", "A/1", "b/1~2=3.x"])
STEPS = st.lists(st.tuples(st.sampled_from(["create", "staged", "delete", "edited"]), PATHS, st.binary(max_size=9)))
PARTS = st.text(alphabet="abcXYZ019._~=-/ \\%\u00e9\u2215", max_size=30)


@settings(max_examples=40)
@given(STEPS)
def test_a_folder_is_a_dictionary(steps: list[tuple[str, str, bytes]]) -> None:
    model: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as folder:
        store = FolderStore(Path(folder) / "lake")
        for step, path, content in steps:
            _take(store, model, step, path, content)
            assert {info.path: info.bytes for info in store.list()} == {p: len(c) for p, c in model.items()}
        assert {path: store.read(path) for path in model} == model
        below = {info.path for info in store.list("a")}
        assert below == {path for path in model if path.startswith("a/")}


def _take(store: Any, model: dict[str, bytes], step: str, path: str, content: bytes) -> None:
    if step == "create":
        assert store.create(path, content) == (path not in model)
        model.setdefault(path, content)
    elif step == "staged":
        with store.staged(path) as local:
            local.write_bytes(content)
        model[path] = content
    elif step == "delete":
        assert store.delete(path) == (model.pop(path, None) is not None)
    elif path in model:
        with store.edited(path) as local:
            local.write_bytes(content)
        model[path] = content


@given(PARTS)
def test_a_path_is_accepted_as_it_is_or_refused(text: str) -> None:
    sound = all(part and part[0] != "." and set(part) <= set("abcXYZ019._~=-") for part in text.split("/"))
    if sound:
        assert checked_path(text) == text
        return
    with pytest.raises(IntegrityError) as refusal:
        checked_path(text)
    assert refusal.value.code == "integrity.path"


@given(st.text(max_size=60), st.text(max_size=60))
def test_a_uri_is_read_or_refused_and_never_quoted(named: str, query: str) -> None:
    for uri in (f"s3://{named}?{query}", f"s3://lake/{named}", f"s3://lake?endpoint=https://h/{named}", named):
        try:
            place = Place.parse(uri)
        except ConfigurationError as refusal:
            told = refusal.explain()
        else:
            told = ""
            assert Place.parse(place.uri).uri == place.uri
        assert len(uri) < 12 or uri not in told


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.binary(min_size=1, max_size=400)), max_size=20),
    st.integers(0, 900),
)
def test_a_cache_gives_what_was_asked_for_and_keeps_to_its_limit(asked: list[tuple[str, bytes]], limit: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("cloakhouse.lake.store.cache.IN_USE_S", -1.0)
        cache = Cache(Path(folder), limit)
        for path, content in asked:

            def load(copy: Copy, content: bytes = content) -> None:
                copy.begin()(content)

            wanted = Wanted("s3://lake", path, version=content.hex())
            try:
                assert cache.get(wanted, load).read_bytes() == content
            except FileNotFoundError:
                assert len(content) > 0  # gone at once: nothing counts as in use here
            cache.trim()
            assert sum(p.stat().st_size for p in Path(folder).rglob("*") if p.is_file()) <= limit


@given(st.text(alphabet="AKIA0123456789abcdef", min_size=16, max_size=16))
def test_a_refused_endpoint_hides_the_credentials_in_it(secret: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Place.parse(f"s3://lake?endpoint=https://me:{secret}@host")
    assert secret not in refusal.value.explain()
