"""A writer killed at any moment loses nothing that it acknowledged, stores no part of a batch, and can be run again."""

import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Final

import pytest

from agentmem_cli import AgentMem
from agentmem_cli.ingest.options import IngestOptions
from agentmem_cli.records.memory import Position
from agentmem_cli.store.embedded import graph
from tests.crash.forks import Child, Forks
from tests.crash.inputs import column, embedder, ids_up_to, index_files, published, rows, text_of, write_input

_SHAPES: Final = {10: (120, 3), 50: (300, 2), 200: (600, 1), 1000: (2000, 1)}  # batch: memories, commits a graph
_KILLS: Final = {10: 130, 50: 100, 200: 52, 1000: 18}  # of a first run
_ON_THEIR_WAY: Final = 3  # batches that may be durable before anybody is told
_EVERY_MEMORY: Final = 10_000  # with all of a graph visited, it must find what a scan finds


@dataclass(frozen=True)
class _Run:
    """One input on its way into stores, batch by batch."""

    forks: Forks
    file: Path
    batch: int
    counts: Counter[str]

    @property
    def memories(self) -> int:
        return _SHAPES[self.batch][0]

    def kill(self, store: Path, chance: random.Random) -> Child:
        """An ingest, killed somewhere between its start and its end."""
        commits_a_graph = _SHAPES[self.batch][1]
        child = self.forks.start("ingest", store, self.file, self.batch, commits_a_graph)
        if chance.random() < 0.25:
            child.noted("publishing", 1 if self.batch == 10 else chance.randint(1, 2))
            time.sleep(chance.uniform(0, 0.004))
        else:
            commits = chance.randrange(self.memories // self.batch)
            child.listen(lambda: len(child.notes) > 0 and sum(n.startswith("durable") for n in child.notes) >= commits)
            spans = [later - earlier for earlier, later in zip(child.times_s, child.times_s[1:], strict=False)]
            time.sleep(chance.uniform(0, max(spans[-4:], default=0.003)))
        self._count("ingest", store, child, child.kill())
        return child

    def kill_recovery(self, store: Path, chance: random.Random) -> Child:
        """A second ingest, killed while it opens what the first has left."""
        child = self.forks.start("ingest", store, self.file, self.batch, 1)
        child.noted("opening")
        time.sleep(chance.uniform(0, 0.004))
        self._count("recovery", store, child, child.kill())
        return child

    def _count(self, what: str, store: Path, child: Child, returncode: int) -> None:
        assert returncode in {0, -signal.SIGKILL}, child.notes
        self.counts[f"{what} killed"] += 1
        inside = "opening" in child.notes and "ended" not in child.notes and returncode != 0
        if what == "recovery":
            inside = inside and "opened" not in child.notes
        self.counts[f"inside {what}"] += inside
        if child.notes.count("graph") > child.notes.count("graph ended"):
            self.counts["inside a graph's refresh"] += 1
        if (store / "memories.db").exists():
            self.counts["inside a publication"] += index_files(store) != published(store)  # files that are not it
        else:
            self.counts["before there was a store"] += 1

    def check(self, store: Path, first: Child, second: Child | None, chance: random.Random) -> int:
        """What the killed have left is a whole number of batches, all that they acknowledged among them."""
        acknowledged = max(first.durable, second.durable if second else 0)
        if not (store / "memories.db").exists():
            assert acknowledged == 0
            return 0
        with AgentMem(store, embedder=embedder(), create=False) as mem:
            survived = len(mem)
            assert survived >= acknowledged
            assert mem.verify() == []
            position = mem._store.position(str(self.file))
            for _ in range(3 if survived else 0):
                text = text_of(chance.randint(1, acknowledged or survived))
                assert mem.search(text, 1)[0].text == text
        assert survived % self.batch == 0 or survived == self.memories
        assert column(store, "SELECT id FROM memories ORDER BY seq") == ids_up_to(survived)
        assert survived <= acknowledged + _ON_THEIR_WAY * self.batch
        if second is None:
            assert (position.line if position else 0) == survived
        return survived

    def complete(self, store: Path, survived: int) -> None:
        """Run again, the ingest takes in what is missing, and nothing twice."""
        count, ids = self.memories, ids_up_to(self.memories)
        with AgentMem(store, embedder=embedder(), index="wait") as mem:
            report = mem.ingest([str(self.file)], IngestOptions(batch_size=self.batch))
            assert (report.added, report.updated, report.unchanged) == (count - survived, 0, survived)
            assert mem._store.position(str(self.file)) == Position(str(self.file), count, complete=True)
            assert mem.search(text_of(count - 1), 1)[0].id == ids[-2]
            assert mem.verify() == []
        assert column(store, "SELECT id FROM memories ORDER BY seq") == ids
        assert rows(store, "SELECT id, event FROM history ORDER BY seq") == [(identity, "add") for identity in ids]


def _kill_over_and_over(run: _Run, folder: Path, seeds: range) -> str:
    for seed in seeds:
        chance = random.Random(seed * 10_000 + run.batch)
        store = folder / f"store-{run.batch}-{seed}"
        first = run.kill(store, chance)
        second = run.kill_recovery(store, chance) if seed % 3 == 0 else None
        run.complete(store, run.check(store, first, second, chance))
        rmtree(store)
    counts = ", ".join(f"{count} {what}" for what, count in sorted(run.counts.items()))
    line = f"batches of {run.batch}: {counts}"
    print(line)
    assert run.counts["inside ingest"] > 0.8 * run.counts["ingest killed"]
    assert run.counts["inside recovery"] > 0
    assert run.counts["inside a graph's refresh"] > 0
    assert run.counts["inside a publication"] > 0
    return line


@pytest.mark.parametrize("batch", _SHAPES)
def test_a_killed_ingest_loses_no_acknowledged_batch_and_completes_when_run_again(
    batch: int, tmp_path: Path, forks: Forks, figures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "EF_SEARCH", _EVERY_MEMORY)
    file = write_input(tmp_path / "memories.jsonl", _SHAPES[batch][0])
    figures.append(_kill_over_and_over(_Run(forks, file, batch, Counter()), tmp_path, range(_KILLS[batch])))


@pytest.mark.soak
@pytest.mark.parametrize("batch", _SHAPES)
def test_an_ingest_may_be_killed_thousands_of_times(
    batch: int, tmp_path: Path, forks: Forks, figures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    share = _KILLS[batch] / sum(_KILLS.values())
    kills = round(share * int(os.environ.get("AGENTMEM_SOAK_KILLS", "3000")))
    monkeypatch.setattr(graph, "EF_SEARCH", _EVERY_MEMORY)
    file = write_input(tmp_path / "memories.jsonl", _SHAPES[batch][0])
    seeds = range(1_000_000, 1_000_000 + max(kills, 10))
    figures.append(_kill_over_and_over(_Run(forks, file, batch, Counter()), tmp_path, seeds))
