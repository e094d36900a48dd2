"""A process killed while many threads add: each memory whose add had returned is there, and none is there in part."""

import random
import signal
from pathlib import Path
from typing import Final

import pytest

from agentmem_cli import AgentMem
from tests.crash.forks import Forks
from tests.crash.inputs import column, embedder, id_of, rows, text_of

_THREADS: Final = 16


@pytest.mark.parametrize("seed", range(12))
def test_what_the_adds_of_many_threads_have_returned_survives_a_kill(forks: Forks, tmp_path: Path, seed: int) -> None:
    store, adds = tmp_path / "store", random.Random(seed).randrange(1, 200)
    child = forks.start("add_from_threads", store, _THREADS)
    assert child.listen(lambda: len(child.notes) >= adds)
    assert child.kill() == -signal.SIGKILL
    acknowledged = {int(number) for number in child.notes}
    stored = [int(str(identity).removeprefix("m")) for identity in column(store, "SELECT id FROM memories")]
    assert acknowledged <= set(stored)
    assert len(stored) <= len(acknowledged) + _THREADS  # a thread has one call at a time
    history = rows(store, "SELECT id, event FROM history ORDER BY id")
    assert history == sorted((id_of(number), "add") for number in stored)
    with AgentMem(store, embedder=embedder(), create=False) as mem:
        assert mem.verify() == []
        assert {memory.id: memory.text for memory in mem.export()} == {id_of(n): text_of(n) for n in stored}
        for number in sorted(acknowledged)[-2:]:
            assert mem.search(text_of(number), 1)[0].text == text_of(number)
