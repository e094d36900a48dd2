"""The faulty disk, built once a session, and graphs that are searched whole."""

from pathlib import Path

import pytest

from agentmem_cli.store.embedded import graph
from tests.faults.shim import build


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("shim"))


@pytest.fixture(autouse=True)
def visit_all_of_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """With all of it visited, a graph must find what a scan finds."""
    monkeypatch.setattr(graph, "EF_SEARCH", 10_000)
