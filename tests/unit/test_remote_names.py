"""Which model, at which URL, with which key: what the remote embedder takes, and whom it tells the key."""

import json

import pytest

from agentmem_cli.embedding import remote
from agentmem_cli.embedding.base import EmbedderSpec
from agentmem_cli.embedding.remote import RemoteEmbedder
from agentmem_cli.errors import UsageError
from tests import embedding_server as faults
from tests.embedding_server import Fault, Server, serving
from tests.fakes import FakeEmbedder
from tests.remotes import KEY, QUICK, connect, error_of


def test_the_spec_says_what_a_server_says_and_no_more(server: Server) -> None:
    spec = remote.find(server.url + "/", None, QUICK)
    assert (spec.name, spec.dim, spec.token_limit, spec.folder) == ("remote:fake", 32, 0, server.url)
    assert remote.find(server.url, "fake", QUICK) == remote.find(server.url, "remote:fake", QUICK) == spec
    assert EmbedderSpec.from_stored(json.loads(json.dumps(spec.stored()))) == spec


def test_one_of_several_models_must_be_named() -> None:
    with serving(models={"one": FakeEmbedder("one"), "t\x1bwo": FakeEmbedder("two")}) as server:
        message = error_of(lambda: remote.find(server.url, None, QUICK))
        assert r"has 2 models (one, t\u001bwo): name one with --model" in message
        assert remote.find(server.url, "one", QUICK).name == "remote:one"


@pytest.mark.parametrize(
    "fault",
    [faults.status(404), faults.raw(b"<html>"), faults.raw(b'{"data": []}'), faults.raw(b'{"data": [{"id": 3}]}')],
)
def test_a_server_that_lists_no_models_needs_a_name(server: Server, fault: Fault) -> None:
    server.every = fault
    assert "does not list its models: name one with --model" in error_of(lambda: remote.find(server.url, None, QUICK))


@pytest.mark.parametrize("name", ["a\nb", "x" * 300])
def test_a_name_that_can_not_be_shown_is_none(server: Server, name: str) -> None:
    with pytest.raises(UsageError, match="is not a valid name of a model"):
        remote.find(server.url, name, QUICK)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:80",
        "ftp://host/v1",
        "http://",
        "http:///v1",
        "http://host/v1?key=1",
        "http://host/#a",
        "http://a b",
    ],
)
def test_what_is_no_url_of_an_endpoint_is_a_slip(url: str) -> None:
    with pytest.raises(UsageError, match="embedder URL"):
        remote.find(url, "m", QUICK)


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    message = error_of(lambda: remote.find(f"https://user:{KEY}@host/v1", "m", QUICK))
    assert "AGENTMEM_EMBEDDER_KEY" in message
    assert KEY not in message


def test_the_key_goes_to_a_url_that_the_user_names(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTMEM_EMBEDDER_KEY", KEY)
    spec = remote.find(server.url, None, QUICK)
    remote.load(spec, server.url).embed(["a"])
    monkeypatch.setenv("AGENTMEM_EMBEDDER_URL", server.url)
    remote.load(spec).embed(["a"])
    assert [headers.get("authorization") for headers in server.headers] == [f"Bearer {KEY}"] * 3


def test_the_key_does_not_go_to_a_url_from_a_store(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = connect(server).spec
    monkeypatch.setenv("AGENTMEM_EMBEDDER_KEY", KEY)
    remote.load(spec).embed(["a"])
    assert "authorization" not in server.headers[-1]
    server.every = faults.status(401, "no key")
    assert "not to one that a store remembers" in error_of(lambda: remote.load(spec).embed(["a"]))


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1/v1", "http://example.invalid/v1", "http://127.0.0.1.example.invalid"]
)
def test_the_key_is_not_sent_unencrypted(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTMEM_EMBEDDER_KEY", KEY)
    message = error_of(lambda: remote.find(url, "m", QUICK))
    assert "unencrypted" in message
    assert KEY not in message


@pytest.mark.parametrize("key", ["two words", "line\r\nHost: evil", "schlüssel"])
def test_a_key_that_can_be_none_is_refused_and_not_repeated(
    server: Server, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTMEM_EMBEDDER_KEY", key)
    message = error_of(lambda: remote.find(server.url, "fake", QUICK))
    assert "AGENTMEM_EMBEDDER_KEY" in message
    assert key not in message


@pytest.mark.parametrize("code", [401, 500])
def test_a_server_that_repeats_the_key_does_not_make_us_repeat_it(
    server: Server, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTMEM_EMBEDDER_KEY", KEY)
    embedder = RemoteEmbedder(connect(server).spec, KEY, QUICK)
    server.every = faults.status(code, "x" * 185 + f" {KEY}")  # across the cut
    message = error_of(lambda: embedder.embed(["a"]))
    assert KEY[:6] not in message
    assert KEY not in repr(vars(embedder))
