"""`--embedder-url`: a server's model from ingest to search, and one line for whatever is wrong with it."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import embedding_server as faults
from tests.e2e.conftest import MEMORIES, TIMEOUT_S, Cli, Result, assert_inert
from tests.embedding_server import Server, serving
from tests.fakes import FakeEmbedder


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


def ingest(cli: Cli, *options: str) -> Result:
    return cli("ingest", MEMORIES, "--json", "--progress", "none", *options)


def test_what_a_server_embeds_is_found_without_naming_it_again(agentmem: Cli, server: Server) -> None:
    ingested = ingest(agentmem, "--embedder-url", server.url)
    assert (ingested.exit_code, ingested.stderr) == (0, "")
    assert ingested.json()["embedded"] == ingested.json()["added"] == 357
    assert ingested.json()["tokens"] > 357
    hit = agentmem("search", "Maya is allergic to cashews and pistachios", "-k", "1", "--json").json()[0]
    assert "cashews" in hit["text"]
    assert agentmem("stats", "--json").json()["embedder"]["name"] == "remote:fake"
    assert agentmem("verify").exit_code == 0


def test_bench_and_reembed_take_a_server(agentmem: Cli, server: Server) -> None:
    benched = agentmem(
        "bench", "--sizes", "10", "--singles", "10", "--repeats", "1", "--json", "--embedder-url", server.url
    )
    assert benched.json()["models"][0]["model"]["name"] == "remote:fake"
    agentmem.write("one.jsonl", {"text": "red apple"})
    assert agentmem("ingest", "one.jsonl", "--embedder-url", server.url).exit_code == 0
    with serving(models={"other": FakeEmbedder("other", 8)}) as other:
        changed = agentmem("reembed", "--embedder-url", other.url, "--json")
        assert changed.json() == {"from": "remote:fake", "to": "remote:other", "embedded": 1}


def test_the_key_comes_from_the_environment_and_is_never_shown(agentmem: Cli, server: Server) -> None:
    key = "sk-0123456789"
    server.every = lambda exchange: faults.status(401, f"wrong key {key}")(exchange)
    result = agentmem(
        "ingest", MEMORIES, "--embedder-url", server.url, "--debug", variables={"AGENTMEM_EMBEDDER_KEY": key}
    )
    assert result.exit_code == 1
    assert "answers 401 (wrong key [key])" in result.stderr
    assert key not in result.stderr + result.stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (("--embedder-url", "{url}", "--model-path", "."), 2, "name two models"),
        (("--embedder-url", "nonsense"), 2, "nonsense is not a valid embedder URL: give one such as"),
        (("--embedder-url", "{url}", "--model", "absent"), 1, "answers 404 (no model is named absent)"),
        (("--embedder-url", "{url}/else"), 2, "does not list its models: name one with --model"),
    ],
    ids=["a folder too", "no URL", "no such model", "no such path"],
)
def test_a_server_that_can_not_be_used_is_one_line(
    arguments: tuple[str, ...], exit_code: int, said: str, agentmem: Cli, server: Server
) -> None:
    result = agentmem("ingest", MEMORIES, *(argument.format(url=server.url) for argument in arguments))
    assert result.exit_code == exit_code
    assert said in result.error()
    assert not (agentmem.folder / ".agentmem").exists()


def test_a_store_refuses_another_model_under_the_same_name(agentmem: Cli, server: Server) -> None:
    ingest(agentmem, "--embedder-url", server.url)
    server.models["fake"] = FakeEmbedder("other")
    assert "has another model as fake than before" in agentmem("search", "tea").error()
    agentmem.write("new.jsonl", {"text": "something new"})
    assert "has another model as fake than before" in agentmem("ingest", "new.jsonl").error()
    assert agentmem("stats", "--json").json()["memories"] == 357


def test_what_a_hostile_server_says_is_inert(agentmem: Cli, server: Server) -> None:
    server.every = faults.status(400, "\x1b]0;owned\x07 \u202e[bold]\r\nagentmem: all is well")
    result = agentmem("ingest", MEMORIES, "--embedder-url", server.url, "--model", "fake")
    assert_inert(result.stderr)
    assert "[bold]" in result.error()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_does_not_wait_for_a_server(agentmem: Cli, server: Server, tmp_path: Path, stop: signal.Signals) -> None:
    server.faults.append(faults.sound)  # the probe
    server.every = faults.silent
    process = agentmem.start("ingest", MEMORIES, "--embedder-url", server.url, "--model", "fake", "--threads", "8")
    deadline_s = time.monotonic() + TIMEOUT_S
    while len(server.requests) < 5 and time.monotonic() < deadline_s:
        time.sleep(0.02)
    process.send_signal(stop)
    _, stderr = process.communicate(timeout=15)  # a try alone may last 60 s
    assert process.returncode == 128 + stop
    (line,) = stderr.decode().splitlines()
    assert "stopped: 0 memories are stored" in line
