"""The commands on a store in PostgreSQL, what they say of folders alone, and of a missing extra."""

import subprocess
import sys

import pytest

from tests.e2e.conftest import Cli
from tests.postgres_server import IS_THERE, MISSING

pytestmark = pytest.mark.skipif(not IS_THERE, reason=MISSING)
_PASSWORD = "s3cr3t"


def test_every_command_works_on_a_server_and_shows_no_password(agentmem: Cli, postgres_url: str) -> None:
    url = postgres_url.replace("agentmem@", f"agentmem:{_PASSWORD}@")
    file = agentmem.write("m.jsonl", {"id": "a", "text": "red apples"}, {"id": "b", "text": "blue whale"})
    shown = [
        agentmem("ingest", file, "--store", url),
        agentmem("add", "green pears", "--id", "c", "--store", url),
        agentmem("update", "c", "--importance", "0.5", "--store", url),
        agentmem("search", "apples", "--store", url),
        agentmem("list", "--store", url),
        agentmem("get", "c", "--store", url),
        agentmem("history", "c", "--store", url),
        agentmem("stats", "--store", url),
        agentmem("export", "--store", url),
        agentmem("delete", "b", "--yes", "--store", url),
    ]
    assert [result.exit_code for result in shown] == [0] * len(shown)
    assert _PASSWORD not in "".join(result.stdout + result.stderr for result in shown)
    assert agentmem("search", "apples", "--ids", "--mode", "words", "--store", url).stdout == "a\n"
    assert agentmem("stats", "--json", "--store", url).json()["memories"] == 2


@pytest.mark.parametrize("command", ["verify", "compact"])
def test_commands_for_folders_say_that_the_server_keeps_the_store(
    agentmem: Cli, postgres_url: str, command: str
) -> None:
    url = postgres_url.replace("agentmem@", f"agentmem:{_PASSWORD}@")
    assert agentmem("add", "red apples", "--store", url).exit_code == 0
    result = agentmem(command, "--store", url)
    assert (result.exit_code, "kept by its server" in result.error(), _PASSWORD in result.stderr) == (2, True, False)


def test_an_index_is_made_when_asked_for(agentmem: Cli, postgres_url: str) -> None:
    assert agentmem("add", "red apples", "--store", postgres_url).exit_code == 0
    result = agentmem("index", "--store", postgres_url)
    assert (result.exit_code, "1 vector in the graph" in result.stderr) == (0, True)
    assert agentmem("search", "apples", "--ids", "--store", postgres_url).exit_code == 0
    stats = agentmem("stats", "--json", "--store", postgres_url).json()
    assert stats["graph"]["state"] == "HNSW, kept by the server"
    assert stats["server"]["fsync"] == stats["server"]["synchronous_commit"] == "on"


def test_a_store_that_is_not_there_is_not_made_by_a_search(agentmem: Cli, postgres_url: str) -> None:
    result = agentmem("search", "apples", "--store", postgres_url)
    assert (result.exit_code, "no store at postgresql://" in result.error()) == (1, True)


def test_a_missing_extra_is_named_in_one_line(agentmem: Cli) -> None:
    script = (
        "import sys; sys.modules['psycopg'] = None; from agentmem_cli.cli.main import run; sys.exit(run(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", script, "search", "x", "--store", "postgresql://ana@127.0.0.1:1/db"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "pip install 'agentmem-cli[postgres]'" in done.stderr


@pytest.mark.parametrize("command", [["ingest", "m.jsonl"], ["reembed", "--model", "minilm-int8"]])
def test_workers_on_other_machines_are_refused_for_a_folder(agentmem: Cli, command: list[str]) -> None:
    agentmem.write("m.jsonl", {"text": "red apples"})
    assert agentmem("add", "green pears").exit_code == 0
    result = agentmem(*command, "--on", "ray")
    assert (result.exit_code, "--store postgresql://USER@HOST/DB" in result.error()) == (2, True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--on", "raymond"], "write ray, ray://HOST:PORT or ray:HOST:PORT"),
        (["--workers", "2"], "give --on ray too"),
        (["--on", "ray:127.0.0.1:1"], "can't be reached"),
    ],
)
def test_a_cluster_that_is_not_one_is_an_error_of_one_line(
    agentmem: Cli, postgres_url: str, options: list[str], said: str
) -> None:
    file = agentmem.write("m.jsonl", {"text": "red apples"})
    result = agentmem("ingest", file, "--store", postgres_url, *options)
    assert (result.exit_code in (1, 2), said in result.error()) == (True, True)


def test_the_missing_extra_of_workers_is_named_in_one_line(agentmem: Cli, postgres_url: str) -> None:
    file = agentmem.write("m.jsonl", {"text": "red apples"})
    script = "import sys; sys.modules['ray'] = None; from agentmem_cli.cli.main import run; sys.exit(run(sys.argv[1:]))"
    command = [
        sys.executable,
        "-c",
        script,
        "ingest",
        str(agentmem.folder / file),
        "--store",
        postgres_url,
        "--on",
        "ray",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "pip install 'agentmem-cli[ray,postgres]'" in done.stderr
