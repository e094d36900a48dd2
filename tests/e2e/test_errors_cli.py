"""Faults, signals and hostile input: one line on stderr, the right exit code, and nothing that a terminal obeys."""

import gzip
import json
import os
import signal
from typing import Final

import pytest

from agentmem_cli import AgentMem
from agentmem_cli.store.embedded.lock import WriterLock
from tests.e2e.conftest import MEMORIES, TIMEOUT_S, Cli, Ingested, assert_inert, jsonl

HOSTILE: Final = "[bold red]x[/]\x1b[31m\u009b31m\u202e\x07\n"
ESCAPED: Final = "[bold red]x[/]\\u001b[31m\\u009b31m\\u202e\\u0007\\n"
PIPE_PAD: Final = "x" * 2000  # with it a few lines fill more than a reader's buffer


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nonsense",), "No such command 'nonsense'"),
        (("--nonsense",), "No such option"),
        (("search",), "give either a QUERY or a file of them"),
        (("ingest",), "Missing argument 'FILE...'"),
        (("search", "tea", "-k", "0"), "'--limit' / '-k'"),
        (("search", "tea", "--json", "--jsonl"), "give one of --json, --jsonl and --ids"),
        (("search", " "), "the query is empty"),
        (("ingest", "-", "--batch-size", "1001"), "'--batch-size'"),
        (("ingest", "-", "--on-error", "ignore"), "'--on-error'"),
        (("ingest", "-", "--progress", "loud"), "'--progress'"),
        (("ingest", "-", "-"), "standard input (-) can be read only once"),
        (("ingest", "missing.jsonl"), "missing.jsonl: no such file"),
        (
            ("ingest", "-", "--rejects", "no-such-folder/r.jsonl"),
            "--rejects no-such-folder/r.jsonl: there is no such folder",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_usage_error_is_one_line(arguments: tuple[str, ...], said: str, agentmem: Cli, ingested: Ingested) -> None:
    result = agentmem(*arguments, variables={"AGENTMEM_STORE": str(ingested.store)})
    assert result.exit_code == 2
    assert said in result.error()


@pytest.mark.parametrize("command", [(), ("ingest",), ("search",), ("bench",), ("models",)], ids=" ".join)
def test_help_goes_to_stdout(command: tuple[str, ...], agentmem: Cli) -> None:
    result = agentmem(*command, "--help")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(" ".join(("Usage: agentmem", *command)))


def test_debug_shows_the_traceback_before_the_line(agentmem: Cli) -> None:
    result = agentmem("search", "tea", "--debug")
    assert result.exit_code == 1
    assert result.stderr.startswith("Traceback (most recent call last):")
    assert result.stderr.splitlines()[-1].startswith(f"agentmem: error: no store at {agentmem.folder}/.agentmem")


def test_debug_after_a_double_dash_is_an_argument(agentmem: Cli, ingested: Ingested) -> None:
    result = agentmem("search", "--user-id", "nobody", "--store", ingested.store, "--", "--debug")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("agentmem: none of the 357 memories")


def test_a_second_writer_is_told_who_the_first_is(agentmem: Cli, filled: str) -> None:
    lock = WriterLock(agentmem.folder / filled / "LOCK")
    lock.acquire()
    try:
        result = agentmem("ingest", MEMORIES, "--store", filled)
    finally:
        lock.release()
    assert result.exit_code == 5
    assert f"is being written by process {os.getpid()}" in result.error()


def test_a_damaged_database_is_left_as_it_is(agentmem: Cli) -> None:
    database = agentmem.folder / "store" / "memories.db"
    database.parent.mkdir()
    database.write_bytes(b"not a database" * 1000)
    for command in (("search", "tea"), ("ingest", "-")):
        result = agentmem(*command, "--store", "store")
        assert result.exit_code == 1
        assert "is not a database" in result.error()
    assert database.read_bytes() == b"not a database" * 1000


def test_a_store_in_the_place_of_a_file_can_not_be_made(agentmem: Cli) -> None:
    agentmem.write("taken", {})
    result = agentmem("ingest", "-", "--store", "taken", stdin=jsonl({"text": "x"}))
    assert result.exit_code == 1
    assert f"store {agentmem.folder}/taken can't be made" in result.error()


def test_a_gzip_file_that_was_cut_off_is_an_input_error(agentmem: Cli, filled: str) -> None:
    (agentmem.folder / "cut.gz").write_bytes(gzip.compress(MEMORIES.read_bytes())[:-2000])
    result = agentmem("ingest", "cut.gz", "--store", filled)
    assert result.exit_code == 1
    assert result.error().startswith("cut.gz: damaged or cut-off gzip file")


@pytest.mark.parametrize(("signal_number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_ingest_says_what_is_stored_and_a_rerun_goes_on(
    signal_number: signal.Signals, exit_code: int, agentmem: Cli, filled: str, ingested: Ingested
) -> None:
    memories = ingested.again(15, pad=PIPE_PAD)
    options = ("ingest", "-", "--store", filled, "--batch-size", "10")
    process = agentmem.start(*options, "--progress", "jsonl")
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write(jsonl(*memories))
    process.stdin.flush()
    first_commit = json.loads(process.stderr.readline())
    process.send_signal(signal_number)
    stdout, stderr = process.communicate(timeout=TIMEOUT_S)
    assert (first_commit["event"], first_commit["memories"]) == ("committed", 10)
    assert (process.returncode, stdout) == (exit_code, b"")
    assert stderr == b"agentmem: stopped: 10 memories are stored; run the same command again to continue\n"
    with AgentMem(agentmem.folder / filled) as mem:
        assert len(mem) == 357 + 10
    report = agentmem(*options, "--json", stdin=jsonl(*memories)).json()
    assert (report["unchanged"], report["added"]) == (10, 5)


@pytest.mark.parametrize(
    "arguments",
    [
        (HOSTILE,),
        (f"--{HOSTILE}",),
        ("search", "tea", "--store", HOSTILE),
        ("search", "tea", "--where", HOSTILE),
        ("search", "tea", "--model", HOSTILE),
        ("ingest", HOSTILE),
        ("ingest", "-", "--batch-size", HOSTILE),
        ("ingest", "-", "--rejects", f"{HOSTILE}/r"),
        ("bench", "--workload", HOSTILE),
    ],
    ids=lambda value: " ".join(value).replace(HOSTILE, "HOSTILE"),
)
def test_an_error_repeats_a_hostile_argument_as_inert_text(
    arguments: tuple[str, ...], agentmem: Cli, ingested: Ingested
) -> None:
    store = () if "--store" in arguments else ("--store", str(ingested.store))
    result = agentmem(*arguments, *(store if arguments[0] in {"search", "ingest"} else ()))
    assert result.exit_code in {1, 2}
    assert_inert(result.error())


def test_hostile_lines_file_names_and_stores_are_reported_as_inert_text(agentmem: Cli) -> None:
    name = HOSTILE.replace("/", "")
    content = jsonl({"text": "x", "memory_type": HOSTILE}) + f'{{"text": "{HOSTILE}'.encode() + jsonl([HOSTILE])
    (agentmem.folder / name).write_bytes(content)
    result = agentmem("ingest", name, "--store", HOSTILE, "--dry-run")
    assert result.exit_code == 3
    assert_inert(result.stdout)
    assert_inert(result.stderr)
    assert len(result.stderr.splitlines()) == 3
    assert result.stderr.startswith(f"{ESCAPED.replace('/', '')}:1: rejected: memory_type ")
    assert f"nothingwasstored·{ESCAPED}·".replace(" ", "") in "".join(result.stdout.split())


@pytest.mark.parametrize(
    "arguments",
    [("models", "--json"), ("search", "--help"), ("ingest", "-", "--dry-run"), ("ingest", "-", "--dry-run", "--json")],
    ids=" ".join,
)
def test_a_reader_that_went_away_is_no_traceback(arguments: tuple[str, ...], agentmem: Cli) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    process = agentmem.start(*arguments, stdout=write_end)
    os.close(write_end)
    _, stderr = process.communicate(jsonl({"text": "tea"}), timeout=TIMEOUT_S)
    assert stderr == b""


def test_head_gets_its_line(agentmem: Cli, filled: str) -> None:
    process = agentmem.start("ingest", MEMORIES, "--store", filled, "--json")
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == b"{\n"
    process.stdout.close()
    assert process.stderr.read() == b""
    process.wait(timeout=TIMEOUT_S)
