"""How the remote embedder asks a server, and what it does when none answers: the right vectors, or one clear line."""

import asyncio
import signal
import socket
import threading
import time
from typing import Final

import pytest

from agentmem_cli.embedding import remote
from agentmem_cli.embedding.endpoint import Limits
from agentmem_cli.embedding.remote import RemoteEmbedder
from tests import embedding_server as faults
from tests.embedding_server import Fault, Server, serving
from tests.remotes import QUICK, TEXTS, assert_right, connect, error_of


def test_requests_go_at_once_within_bounds_and_the_order_is_kept(server: Server) -> None:
    embedder = connect(server)
    server.delay_s = 0.05
    assert_right(embedder.embed(TEXTS))
    assert 1 < server.most_at_once <= QUICK.requests_at_once
    assert max(len(request["input"]) for request in server.requests) == remote.MAX_REQUEST_TEXTS


def test_a_batch_tells_how_far_it_is_while_its_later_requests_wait(server: Server) -> None:
    embedder = connect(server, Limits(requests_at_once=1))
    told = threading.Semaphore(1)
    shares: list[float] = []

    def after_being_told(exchange: faults.Exchange) -> None:
        told.acquire(timeout=2)
        faults.sound(exchange)

    def tell(share: float) -> None:
        shares.append(share)
        told.release()

    server.every = after_being_told
    assert_right(embedder.embed_watched(TEXTS, tell))
    requests = len(server.requests)
    assert shares == [done / requests for done in range(1, requests + 1)]


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


@pytest.mark.parametrize("variable", ["ALL_PROXY", "http_proxy"])
def test_loopback_goes_through_no_proxy(server: Server, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    assert_right(connect(server).embed(["a"]), ["a"])


# What passes


PASSING: Final[dict[str, Fault]] = {
    "429": faults.status(429),
    "429 with a wait": faults.status(429, Retry_After="0.01"),
    "502, no JSON": lambda exchange: exchange.reply(502, b"<html>Bad Gateway</html>"),
    "503 until a date": faults.status(503, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"),
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
        (faults.silent, "gives no answer in time (tries: 3)"),
        (faults.dripping, "gives no answer in time (tries: 3)"),
    ],
    ids=["500", "no answer", "silence", "a byte now and then"],
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


@pytest.mark.parametrize("wait", ["inf", "Wed, 21 Oct 2065 07:28:00 GMT"])
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
