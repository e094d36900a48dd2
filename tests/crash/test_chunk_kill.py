"""A process killed while it splits memories leaves each of them split or not, and doing it again splits them all."""

import json
import signal
from pathlib import Path
from typing import Final

import pytest

from agentmem_cli import AgentMem
from agentmem_cli.ingest.options import IngestOptions
from agentmem_cli.support import failpoints
from tests.crash.forks import Forks
from tests.crash.inputs import column, embedder

_BATCH: Final = 10
_MEMORIES: Final = 30
_CHUNK: Final = IngestOptions(batch_size=_BATCH, chunk=True)
_STEPS: Final = [step for step in failpoints.STEPS if step.startswith("commit.")]


def _text(number: int) -> str:
    return " ".join(f"ones{number} tens{i}" for i in range(20))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "long.jsonl"
    rows = [{"id": f"m{number}", "text": _text(number)} for number in range(_MEMORIES)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _chunks(store: Path) -> list[object]:
    return column(
        store,
        "SELECT m.id FROM memories m WHERE EXISTS (SELECT 1 FROM chunks w WHERE w.text_vector_id = m.vector_id)"
        " ORDER BY m.seq",
    )


@pytest.mark.parametrize("first", ["stored", "new"])
@pytest.mark.parametrize("step", _STEPS)
def test_a_batch_killed_while_it_is_split_is_split_whole_or_not_at_all(
    forks: Forks, tmp_path: Path, file: Path, step: str, first: str
) -> None:
    store = tmp_path / "store"
    if first == "stored":  # and now to be split
        with AgentMem(store, embedder=embedder(), index="wait") as mem:
            mem.ingest([str(file)])
    child = forks.start("split", store, file, _BATCH, step, 2)
    assert child.wait() == -signal.SIGKILL
    done = 2 * _BATCH if step == "commit.done" else _BATCH
    assert _chunks(store) == [f"m{number}" for number in range(done)]
    with AgentMem(store, embedder=embedder(), index="wait") as mem:
        assert mem.verify() == []
        assert mem.stats().truncated == (_MEMORIES - done if first == "stored" else 0)
        report = mem.ingest([str(file)], _CHUNK)
        assert report.chunks == mem.stats().chunks * (_MEMORIES - done) // _MEMORIES
        assert (mem.stats().truncated, mem.verify()) == (0, [])
        hit = mem.search("ones7 tens18 tens19", 1, mode="meaning")[0]
        assert (hit.id, hit.chunk is None) == ("m7", False)
    assert len(_chunks(store)) == _MEMORIES
