"""`agentmem index` builds the graph that an ingest left to the background, and says what it lacks."""

from agentmem_cli import AgentMem
from tests.e2e.conftest import Cli
from tests.fakes import FakeEmbedder


def test_index_builds_the_graph_and_says_how_much_it_holds(agentmem: Cli) -> None:
    with AgentMem(agentmem.folder / "store", embedder=FakeEmbedder(), index="off") as mem:
        mem.add_batch({"text": f"text number {i}"} for i in range(1200))
    assert agentmem("stats", "--store", "store", "--json").json()["graph"]["scanned"] == 1200
    result = agentmem("index", "--store", "store", "--json").json()
    assert (result["unindexed"], result["graph"]["vectors"], result["graph"]["state"]) == (0, 1200, "published")
    again = agentmem("index", "--store", "store")
    assert again.stderr == "agentmem: store store: 1,200 vectors in the graph, 0 newer vectors are not in it yet\n"
    assert agentmem("verify", "--store", "store").exit_code == 0


def test_a_small_store_needs_no_graph(agentmem: Cli) -> None:
    with AgentMem(agentmem.folder / "store", embedder=FakeEmbedder()) as mem:
        mem.add("text")
    assert agentmem("index", "--store", "store", "--json").json()["unindexed"] == 1
    said = agentmem("index", "--store", "store")
    assert said.stderr == (
        "agentmem: store store needs no graph: it has 1 vector, and searches scan fewer than 1,000 as quickly\n"
    )


def test_there_is_no_graph_without_a_store(agentmem: Cli) -> None:
    assert agentmem("index", "--store", "nowhere").exit_code == 1


def test_an_ingest_that_waits_says_what_is_still_scanned(agentmem: Cli, filled: str) -> None:
    report = agentmem("ingest", "-", "--store", filled, "--wait-index", "--json").json()
    assert (report["indexing"], report["unindexed"]) == (False, 357)
