"""The graph file lost or changed in any way: hits stay right, one warning says so, and the next write rebuilds it."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from agentmem_cli.embedding.base import Vectors
from tests.faults.stores import QUERIES, assert_finds, fill, open_store, text_of, vectors_of, warnings_in
from tests.stores import embedded

_COUNT = 1100
_TEXTS = [text_of(i) for i in range(_COUNT)]
_SMALL_COUNT = 200  # of a store that is damaged again and again
_CUTS = 76
_FLIPS = 40


@pytest.fixture(scope="module")
def vectors() -> Vectors:
    return vectors_of(_TEXTS)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose published graph is the second: the first, of 1,000 vectors, is kept as `older.hnsw` beside it."""
    folder = tmp_path_factory.mktemp("pristine") / "store"
    fill(folder, 1000)
    shutil.copy(folder / "index" / "1.hnsw", folder.parent / "older.hnsw")
    shutil.copytree(folder, folder.parent / "older")
    with open_store(folder) as mem:
        mem.add_batch([{"id": str(i), "text": _TEXTS[i]} for i in range(1000, _COUNT)])
        embedded(mem).refresh_graph(1)
    assert [path.name for path in (folder / "index").iterdir()] == ["2.hnsw"]
    return folder


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The graph file of a store with as many other memories."""
    folder = tmp_path_factory.mktemp("foreign") / "store"
    for first, count in ((0, 1000), (1000, _COUNT - 1000)):  # grown in the same steps, it has the same size
        with open_store(folder) as mem:
            mem.add_batch([{"id": f"f{i}", "text": f"foreign {i} of {i % 13}"} for i in range(first, first + count)])
            embedded(mem).refresh_graph(1)
    return folder / "index" / "2.hnsw"


@pytest.fixture
def store(pristine: Path, tmp_path: Path) -> Path:
    shutil.copytree(pristine, tmp_path / "store")
    return tmp_path / "store"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A store of few memories, whose graph is the first."""
    folder = fill(tmp_path / "small", _SMALL_COUNT)
    with open_store(folder) as mem:
        mem.open()
        embedded(mem).refresh_graph(1)
    return folder


def _graph(store: Path) -> Path:
    """The file of the published graph, also where it is lost."""
    return store / "index" / f"{1 if store.name == 'small' else 2}.hnsw"


def _assert_costs_only_time(
    store: Path, vectors: Vectors, caplog: pytest.LogCaptureFixture, queries: tuple[str, ...] = QUERIES
) -> None:
    """Hits are those of a scan, one warning names the loss however often it is met, and verify calls it repairable."""
    caplog.clear()
    with open_store(store) as mem:
        assert_finds(mem, _TEXTS[: len(vectors)], vectors, queries)
        (warning,) = warnings_in(caplog)
        assert str(_graph(store)) in warning and "searches scan every vector" in warning
        (finding,) = mem.verify()
        assert finding.where == f"index/{_graph(store).name}" and finding.repairable
        assert mem.search(_TEXTS[7], 1)[0].text == _TEXTS[7]
    assert warnings_in(caplog) == []


def _assert_whole(store: Path, vectors: Vectors, caplog: pytest.LogCaptureFixture) -> None:
    caplog.clear()
    with open_store(store) as mem:
        assert mem.verify() == []
        assert mem.stats().graph["state"] == "published"
        assert mem.stats().graph["scanned"] == 0
        assert_finds(mem, _TEXTS, vectors)
    assert warnings_in(caplog) == []


def test_a_whole_graph_is_used_and_nothing_is_said(
    store: Path, vectors: Vectors, caplog: pytest.LogCaptureFixture
) -> None:
    _assert_whole(store, vectors, caplog)


def test_a_graph_cut_off_anywhere_costs_only_time(
    small: Path, vectors: Vectors, caplog: pytest.LogCaptureFixture
) -> None:
    size = _graph(small).stat().st_size
    cuts = [*range(size - 1, 0, -(size // _CUTS)), 0]
    assert len(cuts) >= _CUTS
    for cut in cuts:
        with _graph(small).open("r+b") as stream:
            stream.truncate(cut)
        _assert_costs_only_time(small, vectors[:_SMALL_COUNT], caplog, QUERIES[:1])


def test_a_graph_with_any_bit_flipped_costs_only_time(
    small: Path, vectors: Vectors, caplog: pytest.LogCaptureFixture
) -> None:
    whole, chance = _graph(small).read_bytes(), random.Random(1)
    places = [*range(0, 96, 8), len(whole) - 1, *(chance.randrange(len(whole)) for _ in range(_FLIPS))]
    for place in places:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << chance.randrange(8)
        _graph(small).write_bytes(flipped)
        _assert_costs_only_time(small, vectors[:_SMALL_COUNT], caplog, QUERIES[:1])


def _empty(store: Path, pristine: Path, foreign: Path) -> None:
    _graph(store).write_bytes(b"")


def _delete(store: Path, pristine: Path, foreign: Path) -> None:
    _graph(store).unlink()


def _flip_a_bit(store: Path, pristine: Path, foreign: Path) -> None:
    content = bytearray(_graph(store).read_bytes())
    content[len(content) // 2] ^= 1
    _graph(store).write_bytes(content)


def _append(store: Path, pristine: Path, foreign: Path) -> None:
    with _graph(store).open("ab") as stream:
        stream.write(b"more")


def _put_another_stores(store: Path, pristine: Path, foreign: Path) -> None:
    assert foreign.stat().st_size == _graph(store).stat().st_size
    shutil.copy(foreign, _graph(store))


def _put_an_older_generation(store: Path, pristine: Path, foreign: Path) -> None:
    shutil.copy(pristine.parent / "older.hnsw", _graph(store))


def _leave_only_an_older_generation(store: Path, pristine: Path, foreign: Path) -> None:
    _graph(store).unlink()
    shutil.copy(pristine.parent / "older.hnsw", store / "index" / "1.hnsw")


def _put_a_folder(store: Path, pristine: Path, foreign: Path) -> None:
    _graph(store).unlink()
    _graph(store).mkdir()


def _delete_the_index(store: Path, pristine: Path, foreign: Path) -> None:
    shutil.rmtree(store / "index")


_DAMAGES: list[Callable[[Path, Path, Path], None]] = [
    _empty,
    _delete,
    _flip_a_bit,
    _append,
    _put_another_stores,
    _put_an_older_generation,
    _leave_only_an_older_generation,
    _put_a_folder,
    _delete_the_index,
]


def _repair(store: Path) -> None:
    with open_store(store) as mem:
        mem.repair()


def _write(store: Path) -> None:
    with open_store(store) as mem:
        mem.add(_TEXTS[0], id="0", user_id="another")


@pytest.mark.parametrize("rebuild", [_repair, _write])
@pytest.mark.parametrize("damage", _DAMAGES)
def test_a_lost_graph_costs_only_time_and_the_next_write_or_repair_rebuilds_it(
    store: Path,
    pristine: Path,
    foreign: Path,
    vectors: Vectors,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path, Path, Path], None],
    rebuild: Callable[[Path], None],
) -> None:
    damage(store, pristine, foreign)
    _assert_costs_only_time(store, vectors, caplog)
    rebuild(store)
    _assert_whole(store, vectors, caplog)


def test_a_file_in_the_place_of_the_index_folder_costs_only_time(
    store: Path, vectors: Vectors, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(store / "index")
    (store / "index").write_text("not a folder")
    _assert_costs_only_time(store, vectors, caplog)


def test_a_database_restored_from_an_older_copy_is_not_answered_from_the_newer_graph(
    store: Path, pristine: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(pristine.parent / "older" / "memories.db", store / "memories.db")
    with open_store(store) as mem:
        assert_finds(mem, _TEXTS[:1000], vectors_of(_TEXTS[:1000]))
        (warning,) = warnings_in(caplog)
        assert "1.hnsw" in warning
        others = [f"another item {i} of shape{i % 5}" for i in range(400)]  # they take the labels of the lost ones
        mem.add_batch([{"text": text} for text in others])
    with open_store(store) as mem:
        assert mem.verify() == []
        assert_finds(mem, _TEXTS[:1000] + others, vectors_of(_TEXTS[:1000] + others))
    assert warnings_in(caplog) == []


def test_what_else_lies_in_the_index_folder_changes_nothing(
    store: Path, foreign: Path, vectors: Vectors, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(foreign, store / "index" / "1.hnsw")
    shutil.copy(foreign, store / "index" / "3.hnsw")
    (store / "index" / "3.tmp").write_bytes(b"half of a graph")
    _assert_whole(store, vectors, caplog)
    with open_store(store) as mem:
        mem.repair()
    assert [path.name for path in (store / "index").iterdir()] == ["4.hnsw"]
    _assert_whole(store, vectors, caplog)
