"""What the remote embedder makes of refusals, wrong answers and other models: one clear line, nothing asked twice."""

import base64
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest

from agentmem_cli.embedding import remote
from agentmem_cli.embedding.endpoint import Limits
from agentmem_cli.embedding.remote import RemoteEmbedder
from agentmem_cli.errors import StoreMismatchError
from tests import embedding_server as faults
from tests.embedding_server import Fault, Server, serving
from tests.fakes import FakeEmbedder
from tests.remotes import QUICK, TEXTS, Noisy, assert_right, connect, error_of


@pytest.mark.parametrize(
    ("code", "requests", "body"),
    [
        (400, 2, {"error": {"message": "it is\nso \x1b[2J"}}),  # 400 and 422 may mean base64
        (401, 1, {"error": "it is so \x1b[2J"}),
        (404, 1, {"message": "it is so \x1b[2J"}),
        (422, 2, {"detail": "it is so \x1b[2J"}),
    ],
)
def test_a_refusal_is_final_and_says_what_the_server_said(
    server: Server, code: int, requests: int, body: dict[str, Any]
) -> None:
    embedder = connect(server)
    server.every = lambda exchange: exchange.reply_json(body, code)
    assert rf"answers {code} (it is so \u001b[2J)" in error_of(lambda: embedder.embed(["a"]))
    assert len(server.requests) == requests


def test_a_long_refusal_is_cut(server: Server) -> None:
    embedder = connect(server)
    server.every = faults.status(404, "why " * 100_000)
    assert len(error_of(lambda: embedder.embed(["a"]))) < 400


def test_a_redirect_is_not_followed(server: Server) -> None:
    embedder = connect(server)
    with serving() as other:
        server.every = faults.status(307, Location=f"{other.url}/embeddings")
        assert f"redirects to {other.url}/embeddings" in error_of(lambda: embedder.embed(["a"]))
        assert other.requests == []


def test_what_is_too_large_is_halved_and_the_size_remembered(server: Server) -> None:
    def at_most_9(exchange: faults.Exchange) -> None:
        fits = len(exchange.request["input"]) <= 9
        (faults.sound if fits else faults.status(413, "batch too large"))(exchange)

    embedder = connect(server)
    server.every = at_most_9
    assert_right(embedder.embed(TEXTS))
    server.requests.clear()
    assert_right(embedder.embed(TEXTS))
    assert max(len(request["input"]) for request in server.requests) <= 9


def test_a_text_that_is_too_large_alone_is_an_error(server: Server) -> None:
    embedder = connect(server)
    server.every = faults.status(413)
    assert "refuses a text of 5 characters (413)" in error_of(lambda: embedder.embed(["a b c", "d", "e"]))


# What is wrong


def _each(change: Callable[[dict[str, Any]], object]) -> Fault:
    def apply(answer: dict[str, Any]) -> None:
        for item in answer["data"]:
            change(item)

    return faults.changed(apply)


def _data(change: Callable[[list[dict[str, Any]]], object]) -> Fault:
    def apply(answer: dict[str, Any]) -> None:
        change(answer["data"])

    return faults.changed(apply)


def _row(row: object) -> Fault:
    return _data(lambda data: data[0].update(embedding=row))


WRONG: Final[dict[str, tuple[Fault, str]]] = {
    "one too few": (_data(lambda data: data.pop()), "2 vectors for 3 texts"),
    "one too many": (_data(lambda data: data.append(data[0])), "4 vectors for 3 texts"),
    "no data": (faults.changed(lambda answer: {"object": "list"}), "no vectors for 3 texts"),
    "twice the same index": (_each(lambda item: item.update(index=0)), '"index" does not number'),
    "no index": (_each(lambda item: item.pop("index")), '"index" does not number'),
    "index is true": (_each(lambda item: item.update(index=bool(item["index"]))), '"index" does not number'),
    "dims differ": (_row([0.5] * 31), "vectors of 31 and 32 dims in one answer"),
    "no dims": (_each(lambda item: item.update(embedding=[])), "vectors of 0 dims"),
    "no vector": (_row(None), "neither a list of numbers nor base64"),
    "nested": (_row([[0.5]] * 32), "neither a list of numbers nor base64"),
    "bad base64": (_row("?!"), "a vector is not base64 of float32"),
    "part of a number": (_row("AAA="), "a vector is not base64 of float32"),
    "NaN": (_row([float("nan")] * 32), "not JSON"),
    "NaN in base64": (_row(base64.b64encode(np.full(32, np.nan, "<f4").tobytes()).decode()), "NaN or infinity for 1"),
    "infinite": (_row([1e300] * 32), "returned NaN or infinity for 1 texts"),
    "garbage": (faults.raw(b"\xff\x00garbage"), "not JSON"),
    "deep": (faults.raw(b'{"data":' + b"[" * 50_000), "not JSON"),
    "endless": (faults.endless, "more than "),
}


@pytest.mark.parametrize(("fault", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_answer_is_named_and_not_asked_for_again(server: Server, fault: Fault, said: str) -> None:
    embedder = connect(server)
    server.every = fault
    assert said in error_of(lambda: embedder.embed(["a", "b"]))
    assert len(server.requests) == 1


@pytest.mark.parametrize("name", ["dims differ", "no dims", "nested", "infinite"])
def test_a_wrong_answer_in_numbers_is_named_too(name: str) -> None:
    fault, said = WRONG[name]
    with serving(speaks_base64=False) as server:
        embedder = connect(server)
        server.every = fault
        assert said in error_of(lambda: embedder.embed(["a", "b"]))


def test_the_same_model_in_another_precision_is_recognised(server: Server) -> None:
    spec = connect(server).spec
    with serving(models={"fake": Noisy(0.02)}) as other:
        noisy = remote.find(other.url, None, QUICK)
        assert noisy.revision != spec.revision
        assert remote.recognised(noisy, spec)
        RemoteEmbedder(remote.moved(spec, other.url), "", QUICK).embed(TEXTS)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (FakeEmbedder("other"), "the vector of a known text has cosine"),
        (FakeEmbedder("fake", 16), "vectors of 16 dims, not 32"),
        (Noisy(0.5), "the vector of a known text has cosine"),
    ],
    ids=["other weights", "other dims", "another state"],
)
def test_another_model_under_the_same_name_is_refused(server: Server, other: FakeEmbedder, said: str) -> None:
    embedder = connect(server)
    server.models["fake"] = other
    with pytest.raises(StoreMismatchError, match=said):
        embedder.embed(["a"])
    with pytest.raises(StoreMismatchError, match="has another model as fake than before"):
        embedder.embed_query("a")


def test_one_of_a_fleet_with_another_model_is_found(server: Server) -> None:
    def stranger(exchange: faults.Exchange) -> None:
        sound, server.models["fake"] = server.models["fake"], FakeEmbedder("other")
        faults.sound(exchange)
        server.models["fake"] = sound

    embedder = connect(server, Limits(requests_at_once=1))
    server.faults.extend([faults.sound, faults.sound, stranger])
    with pytest.raises(StoreMismatchError):
        embedder.embed(TEXTS)
