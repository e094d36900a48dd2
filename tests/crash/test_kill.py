"""A writer killed at any moment loses nothing that it acknowledged, stores no part of a batch, and can be run again."""

import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from agentmem_cli import AgentMem
from agentmem_cli.errors import StoreNotFoundError
from agentmem_cli.ingest import IngestOptions
from agentmem_cli.memory import Position
from agentmem_cli.store import embedded, index
from tests.fakes import FakeEmbedder

_ROOT = Path(__file__).parents[2]
_KILLS = 9


def _start(module: str, *arguments: Path | int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", f"tests.crash.{module}", *map(str, arguments)], cwd=_ROOT)


def _acknowledged(ack_file: Path) -> list[int]:
    content = ack_file.read_bytes() if ack_file.exists() else b""
    return [int(line) for line in content.splitlines(keepends=True) if line.endswith(b"\n")]


def _has_acknowledged(ack_file: Path, count: int) -> bool:
    return len(_acknowledged(ack_file)) >= count


def _publishes_after(ack_file: Path, count: int, store: Path) -> bool:
    return _has_acknowledged(ack_file, count) and any((store / "index").glob("*.tmp"))


def _kill_when(process: subprocess.Popen[bytes], condition: Callable[[], bool], delay_s: float) -> None:
    try:
        while not condition() and process.poll() is None:
            time.sleep(0.0002)
        time.sleep(delay_s)
    finally:
        process.kill()
        process.wait()


def _write_file(file: Path, count: int) -> list[str]:
    """A file of memories, every fifth of one and the same text; its ids in order."""
    ids = [f"m{number}" for number in range(1, count + 1)]
    texts = ["the same text" if number % 5 == 0 else f"memory {number} of many" for number in range(1, count + 1)]
    lines = [json.dumps({"id": i, "text": text, "user_id": "ana"}) for i, text in zip(ids, texts, strict=True)]
    file.write_text("".join(line + "\n" for line in lines))
    return ids


def _column(store: Path, sql: str) -> list[object]:
    with closing(sqlite3.connect(f"file:{store / 'memories.db'}?mode=ro", uri=True)) as connection:
        return [row[0] for row in connection.execute(sql)]


def _assert_sound(store: Path) -> None:
    assert _column(store, "PRAGMA integrity_check") == ["ok"]
    assert _column(store, "SELECT id FROM memories WHERE vector_id NOT IN (SELECT vector_id FROM vectors)") == []
    assert _column(store, "SELECT vector_id FROM vectors WHERE vector_id NOT IN (SELECT vector_id FROM memories)") == []


def _assert_finds_what_a_scan_finds(mem: AgentMem, query: str) -> None:
    texts = [str(text) for text in _column(mem.path, "SELECT text FROM memories ORDER BY seq")]
    embedder = FakeEmbedder()
    cosines = np.sort(embedder.embed(texts).vectors @ embedder.embed_query(query))[::-1][:10]
    assert [hit.score for hit in mem.search(query)] == pytest.approx(cosines.tolist(), abs=1e-5)


@pytest.mark.parametrize(("batch", "count"), [(10, 600), (50, 1500), (200, 2000)])
def test_a_killed_ingest_loses_no_acknowledged_batch_and_completes_when_run_again(
    tmp_path: Path, batch: int, count: int
) -> None:
    chance, fell_inside = random.Random(batch), 0
    file = tmp_path / "memories.jsonl"
    ids = _write_file(file, count)
    for kill in range(_KILLS):
        store, ack_file = tmp_path / f"store-{kill}", tmp_path / f"acks-{kill}"
        writer = _start("writer", store, file, batch, ack_file)
        enough = partial(_has_acknowledged, ack_file, chance.randint(1, count // batch - 2))
        _kill_when(writer, enough, chance.uniform(0, batch / 10_000))
        acknowledged = _acknowledged(ack_file)[-1]

        with AgentMem(store, embedder=FakeEmbedder(), create=False) as mem:
            survived = len(mem)
            position = mem._store.position(str(file))
            _assert_finds_what_a_scan_finds(mem, "memory 7 of many")
        assert position is not None
        assert _column(store, "SELECT id FROM memories ORDER BY seq") == ids[:survived]
        assert survived % batch == 0
        assert acknowledged <= survived == position.line <= acknowledged + batch
        assert _column(store, "SELECT id FROM history ORDER BY seq") == ids[:survived]
        _assert_sound(store)
        fell_inside += not position.complete and writer.returncode == -signal.SIGKILL

        with AgentMem(store, embedder=FakeEmbedder()) as mem:
            report = mem.ingest([str(file)], IngestOptions(batch_size=batch))
            assert (report.added, report.updated, report.unchanged) == (count - survived, 0, survived)
            assert mem._store.position(str(file)) == Position(str(file), count, complete=True)
            assert [event.event for event in mem.history(ids[survived - 1])] == ["add"]
        assert _column(store, "SELECT id FROM memories ORDER BY seq") == ids
        assert _column(store, "SELECT id FROM history WHERE event = 'add' ORDER BY seq") == ids
        assert _column(store, "SELECT count(*) FROM history") == [count]
        _assert_sound(store)
    print(f"batches of {batch}: {fell_inside} of {_KILLS} kills fell inside the ingest")
    assert fell_inside > _KILLS // 2


def test_a_store_whose_making_was_killed_is_either_not_there_or_whole(tmp_path: Path) -> None:
    file = tmp_path / "memories.jsonl"
    ids = _write_file(file, 20)
    not_there = 0
    for kill in range(6):
        store, ack_file = tmp_path / f"store-{kill}", tmp_path / f"acks-{kill}"
        writer = _start("writer", store, file, 10, ack_file)
        _kill_when(writer, store.exists, kill * 0.003)
        try:
            with AgentMem(store, embedder=FakeEmbedder(), create=False) as mem:
                assert len(mem) % 10 == 0
        except StoreNotFoundError:
            not_there += 1
        with AgentMem(store, embedder=FakeEmbedder()) as mem:
            mem.ingest([str(file)])
        assert _column(store, "SELECT id FROM memories ORDER BY seq") == ids
        _assert_sound(store)
    print(f"{not_there} of 6 kills fell before the store was there")


def test_a_killed_publication_of_the_graph_changes_no_answer_and_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance, fell_inside = random.Random(1), 0
    store, file, ack_file = tmp_path / "store", tmp_path / "memories.jsonl", tmp_path / "acks"
    _write_file(file, 2500)
    with AgentMem(store, embedder=FakeEmbedder()) as mem:
        mem.ingest([str(file)])
    monkeypatch.setattr(embedded, "GRAPH_GROWTH", 0.0)
    monkeypatch.setattr(index, "EF_SEARCH", 10_000)  # with all of the graph visited, it must find what a scan finds
    for _ in range(_KILLS):
        publisher = _start("publisher", store, ack_file)
        enough = partial(_publishes_after, ack_file, len(_acknowledged(ack_file)) + chance.randint(1, 5), store)
        _kill_when(publisher, enough, chance.choice([0.0, 0.001, 0.003]))
        acknowledged = _acknowledged(ack_file)[-1]
        published = _column(store, "SELECT file FROM graph")
        fell_inside += [path.name for path in (store / "index").iterdir()] != published

        with AgentMem(store, embedder=FakeEmbedder(), create=False) as mem:
            assert acknowledged <= len(mem) <= acknowledged + 1
            newest = f"memory {acknowledged} of a killed publisher"
            assert mem.search(newest, 1)[0].text == newest
            _assert_finds_what_a_scan_finds(mem, "memory 7 of many")
            mem.open()
            mem.add(f"memory {len(mem) + 1} of the survivor", id=f"m{len(mem) + 1}")
            assert mem._store.refresh_graph(min_tail=1)
            _assert_finds_what_a_scan_finds(mem, newest)
        assert [path.name for path in (store / "index").iterdir()] == _column(store, "SELECT file FROM graph")
        _assert_sound(store)
    print(f"{fell_inside} of {_KILLS} kills fell inside a publication")
    assert fell_inside > 0
