"""A builder of the graph that is killed anywhere leaves a whole store, and the next one completes its work."""

import signal
import time
from contextlib import closing
from pathlib import Path

from agentmem_cli import AgentMem
from agentmem_cli.store.embedded.database import Database
from agentmem_cli.store.embedded.graph_builder import build, start_builder
from tests.crash.inputs import embedder, id_of, index_files, text_of
from tests.stores import embedded

_KILLS = 12
_MEMORIES = 4000
_SEEN = ("", ".tmp", ".hnsw", ".json")


def test_a_builder_killed_at_any_moment_is_made_up_for(tmp_path: Path) -> None:
    store, found = tmp_path / "store", set()
    numbers = iter(range(1, 2 * _MEMORIES))
    with AgentMem(store, embedder=embedder(), index="off") as mem:
        mem.add_batch({"id": id_of(i), "text": text_of(i)} for i, _ in zip(numbers, range(_MEMORIES), strict=False))
    for kill in range(_KILLS):
        _forget_graph(store)
        _kill_when_seen(store, _SEEN[kill % len(_SEEN)], 0.05 * kill)
        found.add(tuple(name.partition(".")[2] for name in index_files(store)))
        number = next(numbers)
        with AgentMem(store, embedder=embedder(), index="off") as mem:
            mem.add(text_of(number), id=id_of(number))
            assert mem.search(text_of(number), 1)[0].text == text_of(number)
            assert mem.verify() == []
        build(store)
        with closing(Database(store / "memories.db", writable=False)) as database:
            row = database.graph()
        assert row is not None
        assert index_files(store) == [row.file]
    assert len(found) > 1, f"the kills should fall into different moments: {found}"


def _kill_when_seen(store: Path, suffix: str, after_s: float) -> None:
    """Kills a builder when it has a file of this suffix, or a little after it has started."""
    builder = start_builder(store)
    if suffix:
        while not list((store / "index").glob(f"*{suffix}")) and builder.poll() is None:
            time.sleep(0.0005)
    else:
        time.sleep(after_s)
    builder.send_signal(signal.SIGKILL)
    builder.wait(60)


def _forget_graph(store: Path) -> None:
    with AgentMem(store, embedder=embedder(), index="off") as mem:
        mem.open()
        writer = embedded(mem).writer()
        with writer.transaction():
            writer.forget_graph()
        embedded(mem).graph.remove_unpublished(embedded(mem).writer())
