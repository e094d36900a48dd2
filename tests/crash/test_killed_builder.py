"""A builder of the graph that is killed anywhere leaves a whole store, and the next one completes its work."""

import random
import signal
import time
from contextlib import closing
from pathlib import Path

from agentmem_cli import AgentMem
from agentmem_cli.store.building import build, start_builder
from agentmem_cli.store.database import Database
from agentmem_cli.store.upkeep import Upkeep
from tests.crash.inputs import embedder, id_of, index_files, text_of

_KILLS = 12
_MEMORIES = 4000


def test_a_builder_killed_at_any_moment_is_made_up_for(tmp_path: Path) -> None:
    store, chance, found = tmp_path / "store", random.Random(4), set()
    numbers = iter(range(1, 2 * _MEMORIES))
    with AgentMem(store, embedder=embedder(), index="off") as mem:
        mem.add_batch({"id": id_of(i), "text": text_of(i)} for i, _ in zip(numbers, range(_MEMORIES), strict=False))
    took_s = _seconds_of_a_build(store)
    for _ in range(_KILLS):
        _forget_graph(store)
        builder = start_builder(store)
        time.sleep(chance.uniform(0.1, 1.1) * took_s)
        builder.send_signal(signal.SIGKILL)
        builder.wait(60)
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


def _seconds_of_a_build(store: Path) -> float:
    _forget_graph(store)
    start = time.monotonic()
    start_builder(store).wait(60)
    return time.monotonic() - start


def _forget_graph(store: Path) -> None:
    with AgentMem(store, embedder=embedder(), index="off") as mem:
        mem.open()
        Upkeep(mem._store.writer()).forget_graph()
        mem._store.graph.remove_unpublished(mem._store.writer())
