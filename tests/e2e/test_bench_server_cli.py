"""`agentmem bench --store postgresql://...` measures on a server, and leaves nothing there."""

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
    options = ("--scale", "1000,1010", "--processes", "1", "--output", "on-server.json")
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


@pytest.mark.parametrize("options", [["--ef", "16"], ["--advise"]])
def test_what_is_about_a_folder_is_refused(static: Cli, options: list[str]) -> None:
    result = static("bench", *options, "--store", "postgresql://ana@127.0.0.1:1/db")
    assert (result.exit_code, "--store" in result.error()) == (2, True)


def test_a_folder_is_no_database(static: Cli) -> None:
    result = static.process(*_RUN, "--store", "here")
    assert (result.exit_code, "give postgresql://USER@HOST/DB" in result.error()) == (2, True)
