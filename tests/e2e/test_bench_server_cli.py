"""`agentmem bench --store postgresql://...` measures on a server, and leaves nothing there."""

import importlib.util
import json

import pytest

from tests.e2e.conftest import Cli
from tests.postgres_server import IS_THERE, MISSING

pytestmark = pytest.mark.skipif(not IS_THERE, reason=MISSING)
_RUN = ("bench", "--sizes", "10,20", "--repeats", "1", "--warmup", "0", "--singles", "10", "--model", "minilm-static")


def _schemas(url: str) -> set[str]:
    import psycopg

    with psycopg.connect(url.partition("&schema=")[0]) as connection:
        return {name for (name,) in connection.execute("SELECT nspname::text FROM pg_namespace")}


def test_a_benchmark_on_a_server_says_what_it_is_and_leaves_nothing_there(static: Cli, postgres_url: str) -> None:
    url = postgres_url.replace("agentmem@", "agentmem:s3cr3t@")
    before = _schemas(postgres_url)
    options = ("--workload", "mixed", "--scale", "1000,1010", "--output", "on-server.json")
    result = static.process(*_RUN, "--store", url, *options)
    assert result.exit_code == 0, result.stderr
    # others use the server too
    assert {name for name in _schemas(postgres_url) - before if name.startswith("agentmem_scratch")} == set()
    written = (static.folder / "on-server.json").read_text()
    assert "s3cr3t" not in written + result.stdout + result.stderr
    measured = json.loads(written)
    assert measured["config"]["store"].startswith("postgresql://agentmem@")
    small, large = measured["models"][0]["stores"]
    assert (small["index_s"], len(large["graph_found"])) == (None, 100)  # an index at the end alone
    assert large["server"]["fsync"] == "on"
    kinds = [(run["mode"], run["filtered"]) for run in large["searches"]]
    assert kinds == [("meaning", True), ("meaning", False), ("hybrid", True), ("hybrid", False)]
    assert all(2 < run["round_trips"] <= 13 for run in large["searches"])
    assert "those of one user" in result.stdout
    assert "--advise" not in result.stdout
    shown = static("bench", "show", "on-server.json", "--lang", "zh")
    assert "往返次数" in shown.stdout


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray: pip install 'agentmem-cli[ray]'")
def test_workers_on_a_cluster_are_measured(static: Cli, postgres_url: str) -> None:
    options = ("--workload", "mixed", "--on", "ray", "--workers", "1,2", "--output", "workers.json")
    short = {"RAY_TMPDIR": "/tmp"}  # the name of a socket has 107 bytes at most
    result = static.process(*_RUN, "--store", postgres_url, *options, variables=short)
    assert result.exit_code == 0, result.stderr
    one, two = json.loads((static.folder / "workers.json").read_text())["models"][0]["workers"]
    assert [(run["workers"], run["memories"], len(run["memories_per_s"])) for run in (one, two)] == [
        (1, 20, 1),
        (2, 20, 1),
    ]
    assert "Ingests by workers on a Ray cluster: 20 memories" in result.stdout


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--ef", "16"], "--store"),
        (["--advise"], "--store"),
        (["--on", "ray"], "--workers"),
        (["--workers", "1,2"], "--on"),
        (["--on", "ray", "--workers", "1,1"], "--workers"),
    ],
)
def test_what_can_not_be_measured_there_is_refused(static: Cli, options: list[str], named: str) -> None:
    result = static("bench", *options, "--store", "postgresql://ana@127.0.0.1:1/db")
    assert (result.exit_code, named in result.error()) == (2, True)


def test_workers_need_a_server(static: Cli) -> None:
    result = static("bench", "--on", "ray", "--workers", "1")
    assert (result.exit_code, "give --store postgresql://" in result.error()) == (2, True)


def test_a_folder_is_no_database(static: Cli) -> None:
    result = static.process(*_RUN, "--store", "here")
    assert (result.exit_code, "give postgresql://USER@HOST/DB" in result.error()) == (2, True)
