"""Odd uses of the command line that once went wrong."""

import os
import select

import pytest

from tests.e2e.conftest import TIMEOUT_S, Cli, Ingested, assert_inert, jsonl


def test_version_is_printed(agentmem: Cli) -> None:
    result = agentmem("--version")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("agentmem ")


def test_without_a_command_the_help_is_shown(agentmem: Cli) -> None:
    result = agentmem()
    assert (result.stdout + result.stderr).startswith("Usage: agentmem")


def test_a_few_lines_on_a_slow_pipe_are_taken_in_at_once(agentmem: Cli, filled: str, ingested: Ingested) -> None:
    process = agentmem.start("ingest", "-", "--store", filled, "--batch-size", "10", "--progress", "jsonl")
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write(jsonl(*ingested.again(15)))
    process.stdin.flush()
    ready, _, _ = select.select([process.stderr], [], [], 20)
    process.communicate(timeout=TIMEOUT_S)
    assert ready


def test_progress_as_jsonl_is_inert(agentmem: Cli) -> None:
    (agentmem.folder / "a\u202eb\x9b.jsonl").write_bytes(jsonl({"text": ""}))
    assert_inert(agentmem("ingest", "a\u202eb\x9b.jsonl", "--dry-run", "--progress", "jsonl").stderr)


@pytest.mark.parametrize("arguments", [("models",), ("models", "--json"), ("search", "--help")], ids=" ".join)
def test_a_reader_that_went_away_is_no_error(arguments: tuple[str, ...], agentmem: Cli) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    process = agentmem.start(*arguments, stdout=write_end)
    os.close(write_end)
    assert process.communicate(timeout=TIMEOUT_S)[1] == b""
    assert process.returncode == 0


@pytest.mark.parametrize("name", ["minilmm"])
def test_a_slip_in_the_default_models_name_brings_it_up(name: str, agentmem: Cli) -> None:
    assert "(did you mean " in agentmem("ingest", "-", "--model", name).error()


@pytest.mark.parametrize("filter_option", [("--memory-type", "dreamlike"), ("--user-id", "")])
def test_a_scope_that_can_not_be_is_a_usage_error(
    filter_option: tuple[str, str], agentmem: Cli, ingested: Ingested
) -> None:
    assert agentmem("search", "tea", *filter_option, "--store", ingested.store).exit_code == 2


def test_a_dry_run_that_stops_claims_no_stored_memories(agentmem: Cli) -> None:
    file = agentmem.write("a.jsonl", {"text": "one"}, {"text": ""})
    assert "are stored" not in agentmem("ingest", file, "--dry-run", "--on-error", "fail", "--quiet").error()


@pytest.mark.parametrize(
    "arguments", [("search", "tea", "--where", "a=\udcff"), ("ingest", "-", "--store", "s\udcff"), ("search", "\udcff")]
)
def test_bytes_that_are_no_text_are_no_internal_error(
    arguments: tuple[str, ...], agentmem: Cli, ingested: Ingested
) -> None:
    error = agentmem(*arguments, variables={"AGENTMEM_STORE": str(ingested.store)}).stderr
    assert "internal error" not in error and "TypeError" not in error


def test_a_rejects_file_on_a_full_disk_is_said_so(agentmem: Cli) -> None:
    file = agentmem.write("a.jsonl", {"text": ""})
    result = agentmem("ingest", file, "--dry-run", "--rejects", "/dev/full", "--on-error", "fail")
    assert "internal error" not in result.error()


def test_nothing_is_written_outside_the_store_such_as_a_librarys_telemetry(agentmem: Cli) -> None:
    agentmem("models")
    assert [path for path in agentmem.folder.rglob("*") if path.is_file()] == []
