"""The remote embedder against a server that is sound, or fails as servers do: the right vectors, or one clear line."""

import asyncio
import base64
import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import pytest

from agentmem_cli.embedding import remote
from agentmem_cli.embedding.base import Embedded, EmbedderSpec
from agentmem_cli.embedding.endpoint import Limits
from agentmem_cli.embedding.remote import RemoteEmbedder
from agentmem_cli.errors import AgentMemError, StoreMismatchError, UsageError
from tests import embedding_server as faults
from tests.embedding_server import Fault, Server, serving
from tests.fakes import FakeEmbedder

QUICK: Final = Limits(
    requests_at_once=4,
    connect_s=5,
    answer_s=0.5,
    deadline_s=10,
    failures=3,
    first_pause_s=0.01,
    longest_pause_s=0.02,
)
TEXTS: Final = [f"item {i} colour{i % 7}" for i in range(200)]
KEY: Final = "sk-very-secret-0123456789"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AGENTMEM_EMBEDDER_KEY", "AGENTMEM_EMBEDDER_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


def connect(server: Server, limits: Limits = QUICK) -> RemoteEmbedder:
    """An embedder of the server's only model; the server forgets that it was asked."""
    embedder = RemoteEmbedder(remote.find(server.url, None, limits), "", limits)
    server.requests.clear()
    return embedder


def error_of(call: Callable[[], object]) -> str:
    """The message of the error that the call ends in, after a check that it is one line that a terminal can show."""
    with pytest.raises(AgentMemError) as caught:
        call()
    message = str(caught.value)
    assert message.isprintable()
    return message


def assert_right(embedded: Embedded, texts: list[str] = TEXTS) -> None:
    expected = FakeEmbedder().embed(texts)
    np.testing.assert_allclose(embedded.vectors, expected.vectors, atol=1e-6)
    assert embedded.tokens == expected.tokens


# How it asks


def test_requests_go_at_once_within_bounds_and_the_order_is_kept(server: Server) -> None:
    embedder = connect(server)
    server.delay_s = 0.05
    assert_right(embedder.embed(TEXTS))
    assert 1 < server.most_at_once <= QUICK.requests_at_once
    assert max(len(request["input"]) for request in server.requests) == remote.MAX_REQUEST_TEXTS


def test_connections_are_used_again(server: Server) -> None:
    embedder = connect(server)
    for _ in range(5):
        embedder.embed(TEXTS)
    assert server.connections <= 1 + QUICK.requests_at_once  # the first asked for the spec


def test_long_texts_share_no_request(server: Server) -> None:
    texts = ["a" * 75_000, "short", "b" * 75_000, "c" * 600_000]
    assert_right(connect(server).embed(texts), texts)
    assert sorted(len(request["input"]) - 1 for request in server.requests) == [1, 1, 2]


def test_no_texts_need_no_server(server: Server) -> None:
    assert connect(server).embed([]).vectors.shape == (0, 32)
    assert server.requests == []


@pytest.mark.parametrize("speaks_base64", [True, False])
def test_numbers_are_as_good_as_base64(speaks_base64: bool) -> None:
    with serving(speaks_base64=speaks_base64) as server:
        assert_right(connect(server).embed(TEXTS))
        assert {request["encoding_format"] for request in server.requests} == {"base64"}


@pytest.mark.parametrize("code", [400, 422])
def test_a_server_that_refuses_base64_is_asked_for_numbers_from_then_on(server: Server, code: int) -> None:
    def refuse(exchange: faults.Exchange) -> None:
        fits = exchange.request["encoding_format"] == "float"
        (faults.sound if fits else faults.status(code, "encoding_format must be float"))(exchange)

    server.every = refuse
    with serving() as sound:
        embedder = RemoteEmbedder(remote.moved(connect(sound).spec, server.url), "", QUICK)
    assert_right(embedder.embed(["a", "b"]), ["a", "b"])
    assert_right(embedder.embed(["c"]), ["c"])
    assert [request["encoding_format"] for request in server.requests] == ["base64", "float", "float"]


def test_tokens_are_none_where_the_server_counts_none() -> None:
    with serving(says_usage=False) as server:
        assert connect(server).embed(TEXTS).tokens == 0


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY", "http_proxy"])
def test_loopback_goes_through_no_proxy(server: Server, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    assert_right(connect(server).embed(["a"]), ["a"])


# What passes


PASSING: Final[dict[str, Fault]] = {
    "429": faults.status(429),
    "429 with a wait": faults.status(429, Retry_After="0.01"),
    "500": faults.status(500),
    "502, no JSON": lambda exchange: exchange.reply(502, b"<html>Bad Gateway</html>"),
    "503 until a date": faults.status(503, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"),
    "503, nonsense": faults.status(503, Retry_After="soon"),
    "no answer": faults.hang_up,
    "half an answer": faults.cut_off,
    "silence": faults.silent,
    "a byte now and then": faults.dripping,
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_what_passes_is_asked_again(server: Server, fault: Fault) -> None:
    embedder = connect(server)
    server.faults.extend([fault, fault])
    assert_right(embedder.embed(TEXTS[:70]), TEXTS[:70])
    assert len(server.requests) == 3 + 2


def test_a_wait_that_the_server_asks_for_is_kept(server: Server) -> None:
    embedder = connect(server)
    server.faults.append(faults.status(429, Retry_After="0.4"))
    server.arrived_s.clear()
    assert_right(embedder.embed(["a"]), ["a"])
    first, second = server.arrived_s
    assert second - first >= 0.4


def test_a_rate_limit_is_waited_out_for_longer_than_failures_are(server: Server) -> None:
    embedder = connect(server)
    server.faults.extend([faults.status(429)] * (QUICK.failures + 3))
    assert_right(embedder.embed(["a"]), ["a"])


def test_a_slow_server_that_answers_one_after_another_is_not_taken_for_dead(server: Server) -> None:
    embedder = connect(server)
    server.texts_per_s = (
        100  # a third of a second a request: the last of those at once waits for longer than QUICK does
    )
    assert_right(embedder.embed(TEXTS), TEXTS)
    assert len(server.requests) == 7


# What lasts


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (faults.status(500, "out of \x1b[31mmemory"), r"answers 500 (out of \u001b[31mmemory) (tries: 3)"),
        (faults.hang_up, "can't be reached: "),
        (faults.cut_off, "can't be reached: "),
        (faults.silent, "gives no answer in time (tries: 3)"),
        (faults.dripping, "gives no answer in time (tries: 3)"),
    ],
    ids=["500", "no answer", "half an answer", "silence", "a byte now and then"],
)
def test_what_does_not_pass_is_given_up(server: Server, fault: Fault, said: str) -> None:
    embedder = connect(server)
    server.every = fault
    message = error_of(lambda: embedder.embed(["a"]))
    assert message.startswith(f"embedder {server.url}: ")
    assert said in message
    assert len(server.requests) == QUICK.failures


def test_a_server_that_is_gone_is_named() -> None:
    with serving() as server:
        embedder = connect(server)
    assert f"embedder {server.url}: can't be reached" in error_of(lambda: embedder.embed(["a"]))


def test_a_host_that_takes_connections_and_never_speaks_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        assert "gives no answer in time" in error_of(lambda: remote.find(url, "m", QUICK))


def test_rate_limits_end_at_the_deadline(server: Server) -> None:
    embedder = connect(server, Limits(deadline_s=0.3, first_pause_s=0.05, longest_pause_s=0.05))
    server.every = faults.status(429, "slow down")
    assert "answers 429 (slow down) (tries: " in error_of(lambda: embedder.embed(["a"]))


@pytest.mark.parametrize("wait", ["3600", "inf", "Wed, 21 Oct 2065 07:28:00 GMT"])
def test_a_wait_beyond_the_deadline_is_not_begun(server: Server, wait: str) -> None:
    embedder = connect(server)
    server.every = faults.status(503, Retry_After=wait)
    assert "and asks to wait" in error_of(lambda: embedder.embed(["a"]))
    assert len(server.requests) == 1


def assert_idle(embedder: RemoteEmbedder) -> None:
    """No request is under way any more, or within moments."""
    end_s = time.monotonic() + 10
    while asyncio.all_tasks(embedder._endpoint._loop):
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_the_first_failure_ends_the_other_requests(server: Server) -> None:
    embedder = connect(server, Limits(requests_at_once=4))
    server.faults.append(faults.status(404, "no such model"))
    server.every = faults.silent
    assert "answers 404 (no such model)" in error_of(lambda: embedder.embed(TEXTS))
    assert len(server.requests) <= 4
    assert_idle(embedder)


def test_an_interruption_ends_all_requests(server: Server) -> None:
    embedder = connect(server, Limits(requests_at_once=4))

    def interrupt(exchange: faults.Exchange) -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        faults.silent(exchange)

    server.faults.append(interrupt)
    server.every = faults.silent
    with pytest.raises(KeyboardInterrupt):
        embedder.embed(TEXTS)
    assert_idle(embedder)
    server.every = None
    assert_right(embedder.embed(["a"]), ["a"])


# What is refused


@pytest.mark.parametrize(
    ("code", "requests"), [(400, 2), (401, 1), (403, 1), (404, 1), (422, 2)]
)  # 400 and 422 may mean base64
@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "it is\nso \x1b[2J"}},
        {"error": "it is so \x1b[2J"},
        {"message": "it is so \x1b[2J"},
        {"detail": "it is so \x1b[2J"},
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
    assert "takes no text of 5 characters (413)" in error_of(lambda: embedder.embed(["a b c", "d", "e"]))


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
    "none": (faults.changed(lambda answer: {"data": []}), "0 vectors for 3 texts"),
    "no data": (faults.changed(lambda answer: {"object": "list"}), "no vectors for 3 texts"),
    "twice the same index": (_each(lambda item: item.update(index=0)), '"index" does not number'),
    "no index": (_each(lambda item: item.pop("index")), '"index" does not number'),
    "index is true": (_each(lambda item: item.update(index=bool(item["index"]))), '"index" does not number'),
    "index from 1": (_each(lambda item: item.update(index=item["index"] + 1)), '"index" does not number'),
    "index is a list": (_each(lambda item: item.update(index=[item["index"]])), '"index" does not number'),
    "no objects": (faults.changed(lambda answer: {"data": [1, 2, 3]}), '"index" does not number'),
    "dims differ": (_row([0.5] * 31), "vectors of 31 and 32 dims in one answer"),
    "no dims": (_each(lambda item: item.update(embedding=[])), "vectors of 0 dims"),
    "no vector": (_row(None), "neither a list of numbers nor base64"),
    "words": (_row(["1"] * 32), "neither a list of numbers nor base64"),
    "nested": (_row([[0.5]] * 32), "neither a list of numbers nor base64"),
    "bad base64": (_row("?!"), "a vector is not base64 of float32"),
    "part of a number": (_row("AAA="), "a vector is not base64 of float32"),
    "NaN": (_row([float("nan")] * 32), "not JSON"),
    "NaN in base64": (_row(base64.b64encode(np.full(32, np.nan, "<f4").tobytes()).decode()), "NaN or infinity for 1"),
    "infinite": (_row([1e300] * 32), "returned NaN or infinity for 1 texts"),
    "zero": (_row([0.0] * 32), "returned a zero vector for 1 texts"),
    "garbage": (faults.raw(b"\xff\x00garbage"), "not JSON"),
    "nothing": (faults.raw(b""), "not JSON"),
    "a list": (faults.raw(b"[1]"), "not a JSON object"),
    "deep": (faults.raw(b'{"data":' + b"[" * 50_000), "not JSON"),
    "endless": (faults.endless, "more than "),
}


@pytest.mark.parametrize(("fault", "said"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("speaks_base64", [True, False])
def test_a_wrong_answer_is_named_and_not_asked_for_again(fault: Fault, said: str, speaks_base64: bool) -> None:
    with serving(speaks_base64=speaks_base64) as server:
        embedder = connect(server)
        server.every = fault
        message = error_of(lambda: embedder.embed(["a", "b"]))
        assert said in message
        assert len(server.requests) == 1


class Noisy(FakeEmbedder):
    """The same model in a precision so coarse that each answer differs, as int8 does with other batch-mates."""

    def __init__(self, noise: float) -> None:
        super().__init__()
        self._noise = noise
        self._random = np.random.default_rng(0)

    def embed(self, texts: list[str]) -> Embedded:  # type: ignore[override]
        sound = super().embed(texts)
        rows = sound.vectors + self._noise * self._random.standard_normal(sound.vectors.shape, dtype=np.float32)
        return Embedded(rows.astype(np.float32), sound.tokens, 0, 0, 0)


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
        (FakeEmbedder("other"), "a known text's vector has cosine"),
        (FakeEmbedder("fake", 16), "vectors of 16 dims, not 32"),
        (Noisy(0.5), "a known text's vector has cosine"),
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


# Names, URLs and keys


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
    assert "does not say which models it has: name one with --model" in error_of(
        lambda: remote.find(server.url, None, QUICK)
    )


@pytest.mark.parametrize("name", ["a\nb", "x" * 300])
def test_a_name_that_can_not_be_shown_is_none(server: Server, name: str) -> None:
    with pytest.raises(UsageError, match="is no name of a model"):
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
