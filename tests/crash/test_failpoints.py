"""A process killed at each named step of what it does leaves a whole store, and doing it again completes it."""

import signal
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Final

import pytest

from agentmem_cli import AgentMem
from agentmem_cli.errors import StoreMismatchError, StoreNotFoundError
from agentmem_cli.ingest.options import IngestOptions
from agentmem_cli.store.embedded import graph
from agentmem_cli.support import failpoints
from tests.crash.forks import Child, Forks
from tests.crash.inputs import (
    OtherEmbedder,
    column,
    embedder,
    id_of,
    ids_up_to,
    index_files,
    other,
    published,
    text_of,
    write_input,
)
from tests.fakes import FakeEmbedder
from tests.stores import embedded

_MEMORIES: Final = 2600  # more than two batches of a re-embedding
_FEW: Final = 1400  # whose distinct texts are enough for a graph
_BATCH: Final = 50
_ONCE: Final = ("create", "switch")  # what a run does once only
_STEPS: Final = [(step, n) for step in failpoints.STEPS for n in (1, 2) if n == 1 or not step.startswith(_ONCE)]


def _steps_of(*operations: str) -> pytest.MarkDecorator:
    wanted = [(step, n) for step, n in _STEPS if step.partition(".")[0] in operations]
    return pytest.mark.parametrize(("step", "occurrence"), wanted, ids=[f"{step}-{n}" for step, n in wanted])


_OPERATIONS: Final = ("create", "commit", "publish", "delete", "stage", "switch", "compact")


def test_every_step_belongs_to_an_operation_that_is_killed_here() -> None:
    assert {step.partition(".")[0] for step in failpoints.STEPS} == set(_OPERATIONS)


@pytest.fixture(autouse=True)
def _search_visits_every_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "EF_SEARCH", 10_000)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of many memories with a published graph, closed."""
    return _fill(tmp_path_factory.mktemp("filled"), _MEMORIES)


@pytest.fixture(scope="module")
def filled_with_few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of fewer memories with a published graph, closed."""
    return _fill(tmp_path_factory.mktemp("few"), _FEW)


def _fill(folder: Path, count: int) -> Path:
    with AgentMem(folder / "store", embedder=embedder(), index="wait") as mem:
        mem.ingest([str(write_input(folder / "memories.jsonl", count))])
    assert published(folder / "store")
    return folder / "store"


@pytest.fixture
def store(filled: Path, tmp_path: Path) -> Path:
    return Path(copytree(filled, tmp_path / "store"))


@pytest.fixture
def small(filled_with_few: Path, tmp_path: Path) -> Path:
    return Path(copytree(filled_with_few, tmp_path / "store"))


def _killed(child: Child, step: str) -> Child:
    assert child.wait() == -signal.SIGKILL, f"{step} was never reached: {child.notes}"
    assert f"reached {step}" in child.notes[-2:]  # another thread may note something meanwhile
    return child


def _holds(store: Path, ids: list[str], fake: FakeEmbedder | None = None) -> None:
    """The store has these memories and no others, is whole, and finds each that is looked for."""
    with AgentMem(store, embedder=fake or embedder(), create=False) as mem:
        assert column(store, "SELECT id FROM memories ORDER BY seq") == ids
        assert mem.verify() == []
        assert len(mem) == len(ids)
        for identity in (*ids[:3], *ids[-3:]):
            text = text_of(int(identity[1:]))
            assert mem.search(text, 1)[0].text == text


def _write(store: Path, change: Callable[[AgentMem], object]) -> None:
    with AgentMem(store, embedder=embedder(), index="wait") as mem:
        change(mem)


@_steps_of("create")
def test_a_store_whose_making_was_killed_is_not_there_or_empty(
    forks: Forks, tmp_path: Path, step: str, occurrence: int
) -> None:
    store = tmp_path / "store"
    _killed(forks.start("create", store, step, occurrence), step)
    if step == "create.schema":
        with pytest.raises(StoreNotFoundError):
            AgentMem(store, embedder=embedder(), create=False)
    else:
        _holds(store, [])
    _write(store, lambda mem: mem.add(text_of(1), id=id_of(1)))
    _holds(store, ids_up_to(1))
    assert not list(store.glob("*.new*"))


@_steps_of("commit")
def test_a_batch_killed_in_its_commit_is_there_whole_or_not_at_all(
    forks: Forks, tmp_path: Path, step: str, occurrence: int
) -> None:
    store, file = tmp_path / "store", write_input(tmp_path / "memories.jsonl", 4 * _BATCH)
    child = _killed(forks.start("commit", store, file, _BATCH, step, occurrence), step)
    durable = _BATCH * (occurrence if step == "commit.done" else occurrence - 1)
    assert child.durable <= _BATCH * (occurrence - 1)  # it is told of a batch after it is durable
    _holds(store, ids_up_to(durable))
    with AgentMem(store, embedder=embedder(), index="wait") as mem:
        position = mem._store.position(str(file))
        assert (position.line if position else 0) == durable
        report = mem.ingest([str(file)], IngestOptions(batch_size=_BATCH))
        assert (report.added, report.unchanged) == (4 * _BATCH - durable, durable)
    _holds(store, ids_up_to(4 * _BATCH))
    assert column(store, "SELECT id || event FROM history ORDER BY seq") == [f"{i}add" for i in ids_up_to(4 * _BATCH)]


@_steps_of("publish")
def test_a_killed_publication_changes_no_answer_and_is_made_up_for(
    forks: Forks, small: Path, step: str, occurrence: int
) -> None:
    before, adds = published(small), 400
    child = _killed(forks.start("publish", small, _FEW + 1, adds, step, occurrence), step)
    count = _FEW + occurrence * adds
    assert child.durable == count
    if occurrence == 1:
        assert (published(small) == before) == (step not in {"publish.recorded", "publish.cleaned"})
    _holds(small, ids_up_to(count))
    new = [{"id": id_of(count + n), "text": text_of(count + n)} for n in range(1, 401)]
    with AgentMem(small, embedder=embedder(), index="wait") as mem:
        mem.add_batch(new)
        assert embedded(mem).refresh_graph(min_tail=1)
    assert index_files(small) == published(small) != before
    _holds(small, ids_up_to(count + 400))


@_steps_of("delete")
def test_a_killed_removal_has_removed_nothing_and_is_done_again(
    forks: Forks, small: Path, step: str, occurrence: int
) -> None:
    parts = [[id_of(n) for n in range(start, start + 40)] for start in (101, 201)]
    child = _killed(forks.start("delete", small, *parts, step, occurrence), step)
    assert child.notes.count("deleted") == occurrence - 1
    gone = set(parts[0]) if occurrence == 2 else set()
    _holds(small, [identity for identity in ids_up_to(_FEW) if identity not in gone])
    _write(small, lambda mem: mem.delete(*parts[0], *parts[1]))
    gone = {*parts[0], *parts[1]}
    _holds(small, [identity for identity in ids_up_to(_FEW) if identity not in gone])
    deleted = column(small, "SELECT id FROM history WHERE event = 'delete'")
    assert sorted(map(str, deleted)) == sorted(gone)


@_steps_of("stage", "switch")
def test_a_reembedding_killed_before_its_switch_leaves_the_old_vectors_in_use_and_goes_on(
    forks: Forks, store: Path, step: str, occurrence: int
) -> None:
    texts = len(column(store, "SELECT vector_id FROM vectors"))
    child = _killed(forks.start("reembed", store, step, occurrence), step)
    staged = 1000 * (occurrence - 1) if step.startswith("stage") else texts
    assert sum(int(note.split()[1]) for note in child.notes if note.startswith("staged")) == staged
    _holds(store, ids_up_to(_MEMORIES))
    with pytest.raises(StoreMismatchError):
        AgentMem(store, embedder=other(), index="wait")
    again = OtherEmbedder()
    with AgentMem(store, embedder=embedder(), index="wait") as mem:
        mem.reembed(embedder=again)
    assert again.texts_embedded == texts - staged
    _holds(store, ids_up_to(_MEMORIES), other())
    with pytest.raises(StoreMismatchError):
        AgentMem(store, embedder=embedder(), index="wait")
    assert column(store, "SELECT count(*) FROM staged_vectors") == [0]
    assert index_files(store) == published(store)


def test_a_store_that_changes_between_a_killed_reembedding_and_the_next_has_a_vector_for_every_text(
    forks: Forks, store: Path
) -> None:
    _killed(forks.start("reembed", store, "stage.rows", 2), "stage.rows")
    with AgentMem(store, embedder=embedder(), index="wait") as mem:
        mem.delete(id_of(1), id_of(2), id_of(_MEMORIES - 1))
        mem.add(text_of(_MEMORIES + 1), id=id_of(_MEMORIES + 1))
        mem.add("a text that took the place of a staged one", id=id_of(11))
        mem.reembed(embedder=OtherEmbedder())
        mem.add(text_of(11), id=id_of(11))
    kept = ids_up_to(_MEMORIES + 1)
    _holds(store, [identity for identity in kept if identity not in {"m1", "m2", id_of(_MEMORIES - 1)}], other())


def test_a_killed_reembedding_that_is_given_up_for_a_third_embedder_leaves_none_of_its_vectors(
    forks: Forks, store: Path
) -> None:
    _killed(forks.start("reembed", store, "stage.rows", 2), "stage.rows")
    third = OtherEmbedder("third")
    with AgentMem(store, embedder=embedder(), index="wait") as mem:
        mem.reembed(embedder=third)
    assert third.texts_embedded == len(column(store, "SELECT vector_id FROM vectors"))
    _holds(store, ids_up_to(_MEMORIES), third)


def test_a_killed_reembedding_lends_no_vectors_to_an_embedder_of_the_same_revision_and_another_dim(
    forks: Forks, store: Path
) -> None:
    _killed(forks.start("reembed", store, "stage.rows", 2), "stage.rows")
    wider = OtherEmbedder("other", 48)
    with AgentMem(store, embedder=embedder(), index="wait") as mem:
        mem.reembed(embedder=wider)
    _holds(store, ids_up_to(_MEMORIES), wider)


@pytest.mark.parametrize("step", [step for step in failpoints.STEPS if step.startswith("publish")])
def test_a_reembedding_killed_after_its_switch_has_the_new_vectors_in_use(forks: Forks, store: Path, step: str) -> None:
    _killed(forks.start("reembed", store, step, 1), step)
    _holds(store, ids_up_to(_MEMORIES), other())
    with pytest.raises(StoreMismatchError):
        AgentMem(store, embedder=embedder(), index="wait")
    with AgentMem(store, embedder=other(), index="wait") as mem:
        mem.open()
    _holds(store, ids_up_to(_MEMORIES), other())
    assert published(store)
    with AgentMem(store, embedder=other(), index="wait") as mem:
        mem.compact()
    assert index_files(store) == published(store)
    _holds(store, ids_up_to(_MEMORIES), other())


@_steps_of("compact", "publish")
def test_a_killed_compaction_loses_nothing_and_is_done_again(
    forks: Forks, small: Path, step: str, occurrence: int
) -> None:
    _write(small, lambda mem: mem.delete(*ids_up_to(99)))
    kept = ids_up_to(_FEW)[99:]
    assert column(small, "PRAGMA freelist_count") != [0]
    _killed(forks.start("compact", small, step, occurrence), step)
    _holds(small, kept)
    _write(small, lambda mem: mem.compact())
    _holds(small, kept)
    assert index_files(small) == published(small) != []
    assert column(small, "PRAGMA freelist_count") == [0]
