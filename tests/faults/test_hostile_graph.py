"""A graph file made by somebody else, whose size and digest the database confirms: it crashes nothing, and costs time.

hnswlib believes its files, so what is to be refused is loaded in a process of its own.
"""

import hashlib
import json
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import pytest

from agentmem_cli.store.embedded.database import GraphRow
from agentmem_cli.store.embedded.graph import Graph
from tests.faults.stores import assert_finds, fill, open_store, text_of, vectors_of, warnings_in

_COUNT: Final = 300
_DIM: Final = 8
_HEADER: Final = 96
_ELEMENT: Final = 4 + 4 * 32 + 4 * _DIM + 8
_LOWEST_END: Final = _HEADER + _COUNT * _ELEMENT
_RANDOM_CASES: Final = 600
_ODD: Final = (
    0,
    1,
    2,
    16,
    17,
    32,
    33,
    _COUNT - 1,
    _COUNT,
    _COUNT + 1,
    2**16,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**40,
    2**63,
)

# Uses every graph that may be loaded in all ways there are, within an address space that no request for terabytes fits.
_USE: Final = """
import json, resource, sys
from pathlib import Path
import numpy as np
from agentmem_cli.store.embedded.graph import Graph
from agentmem_cli.store.embedded.database import GraphRow
resource.setrlimit(resource.RLIMIT_AS, (1 << 33, 1 << 33))
folder, dim = Path(sys.argv[1]), int(sys.argv[2])
vectors = np.random.default_rng(5).standard_normal((20, dim), dtype=np.float32)
for line in sys.stdin:
    row = GraphRow(**json.loads(line))
    graph = Graph.load(folder, row, dim)
    print(row.generation, graph is not None, flush=True)
    if graph is not None:
        for vector in vectors:
            graph.search(vector, 10)
        graph.vectors(graph.labels()[:50])
        graph.cosines(vectors[0], np.array(graph.labels()[:50]))
        graph.add(range(graph.last_label + 1, graph.last_label + 21), vectors)
        graph.search(vectors[0], 300)
"""

Change: TypeAlias = Callable[[bytearray], object]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, GraphRow]:
    """A sound graph's file, and its row."""
    folder = tmp_path_factory.mktemp("graph")
    vectors = np.random.default_rng(1).standard_normal((_COUNT, _DIM), dtype=np.float32)
    graph = Graph(_DIM, _COUNT)
    graph.add(range(1, _COUNT + 1), vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    row = graph.publish(folder, 1)
    return (folder / row.file).read_bytes(), row


def _put(place: int, value: int, size: int) -> Change:
    def change(content: bytearray) -> None:
        content[place : place + size] = (value % (1 << 8 * size)).to_bytes(size, "little")

    return change


def _word(content: bytes, place: int) -> int:
    return int.from_bytes(content[place : place + 4], "little")


def _above(content: bytes) -> list[tuple[int, int]]:
    """The elements that have links above the lowest level, and where the size of these stands."""
    found, place = [], _LOWEST_END
    for element in range(_COUNT):
        size = _word(content, place)
        if size:
            found.append((element, place))
        place += 4 + size
    assert place == len(content)
    return found


def _used(
    folder: Path, published: tuple[bytes, GraphRow], changes: Iterable[Change], **numbers: int
) -> tuple[list[bool], "subprocess.CompletedProcess[str]"]:
    """Which of the changed files were loaded, each with its own digest in its row, by the process that used them."""
    content, row = published
    lines = []
    for generation, change in enumerate(changes, start=1):
        changed = bytearray(content)
        change(changed)
        (folder / f"{generation}.hnsw").write_bytes(changed)
        made = {"generation": generation, "size_bytes": len(changed), "sha256": hashlib.sha256(changed).hexdigest()}
        lines.append(json.dumps({**asdict(row), **made, **numbers}) + "\n")
    done = subprocess.run(
        [sys.executable, "-c", _USE, str(folder), str(_DIM)],
        input="".join(lines),
        capture_output=True,
        text=True,
        timeout=120,
    )
    loaded = [line.endswith("True") for line in done.stdout.splitlines()]
    return loaded, done


def test_a_sound_graph_is_loaded(published: tuple[bytes, GraphRow], tmp_path: Path) -> None:
    loaded, done = _used(tmp_path, published, [lambda content: None])
    assert (loaded, done.returncode) == ([True], 0), done.stderr


def test_no_number_in_a_graph_file_crashes_the_process_that_searches_it(
    published: tuple[bytes, GraphRow], tmp_path: Path
) -> None:
    content, chance = published[0], random.Random(14)
    above = [place for _, place in _above(content)]

    def crafted() -> Change:
        element = _HEADER + _ELEMENT * chance.randrange(_COUNT)
        links = chance.choice(above) + 4
        place, size = chance.choice(
            [
                (8 * chance.randrange(12), 8),
                (48 + 4 * chance.randrange(2), 4),
                (element, chance.choice([2, 4])),
                (element + 4 * chance.randrange(1, 5), 4),
                (element + _ELEMENT - 8, 8),
                (element + 132 + 4 * chance.randrange(_DIM), 4),
                (links - 4, 4),
                (links, chance.choice([2, 4])),
                (links + 4 * chance.randrange(1, 5), 4),
                (chance.randrange(_LOWEST_END, len(content) - 8), chance.choice([1, 4])),
            ]
        )
        return _put(place, chance.choice([*_ODD, chance.randrange(_COUNT)]), size)

    def several() -> Change:
        parts = [crafted() for _ in range(chance.randrange(1, 4))]
        return lambda changed: [part(changed) for part in parts]

    loaded, done = _used(tmp_path, published, [several() for _ in range(_RANDOM_CASES)])
    assert done.returncode == 0, (len(loaded), done.stderr[-2000:])
    assert len(loaded) == _RANDOM_CASES
    assert 0 < sum(loaded) < _RANDOM_CASES  # some changes make another graph that is as sound


def test_each_number_that_leads_out_of_a_graph_is_found(published: tuple[bytes, GraphRow], tmp_path: Path) -> None:
    content, _ = published
    above = _above(content)
    first, place = above[0]
    low = next(element for element in range(_COUNT) if element not in dict(above))
    header = {"capacity": (8, _COUNT - 1, 8), "elements": (16, _COUNT - 1, 8), "bytes": (24, _ELEMENT - 8, 8)}
    header |= {"label": (32, 0, 8), "vector": (40, 0, 8), "top level": (48, _word(content, 48) + 1, 4)}
    header |= {"negative level": (48, -1, 4), "entry": (52, _COUNT, 4), "an entry below": (52, low, 4)}
    header |= {"links above": (56, 2**40, 8), "links": (64, 2**40, 8), "M": (72, 2**40, 8), "scale": (80, 0, 8)}
    header |= {"ef": (88, 2**40, 8)}
    lists = {"count": (_HEADER, 33, 4), "deleted": (_HEADER + 2, 1, 1), "link": (_HEADER + 4, _COUNT, 4)}
    lists |= {"a label twice": (_HEADER + _ELEMENT - 8, _word(content, _HEADER + 2 * _ELEMENT - 8), 8)}
    lists |= {"label 0": (_HEADER + _ELEMENT - 8, 0, 8), "a label beyond": (_HEADER + _ELEMENT - 8, _COUNT + 1, 8)}
    lists |= {"NaN": (_HEADER + 132, 0x7FC00000, 4), "infinity": (_HEADER + 132, 0x7F800000, 4)}
    lists |= {"size": (place, 68 * 2**20, 4), "odd size": (place, 67, 4), "count above": (place + 4, 17, 4)}
    lists |= {"link above": (place + 8, _COUNT, 4), "link to below": (place + 8, low, 4)}
    wrong = {**header, **lists}
    assert _word(content, place + 4) > 0, f"element {first} has no link above"
    changes: dict[str, Change] = {name: _put(*where) for name, where in wrong.items()}
    changes["cut"] = lambda changed: changed.__delitem__(slice(len(changed) - 4, None))
    changes["longer"] = lambda changed: changed.extend(bytes(4))
    changes["no element"] = lambda changed: changed.__delitem__(slice(_HEADER, None))
    changes["empty"] = bytearray.clear
    loaded, done = _used(tmp_path, published, changes.values())
    assert [name for name, was_loaded in zip(changes, loaded, strict=False) if was_loaded] == []
    assert (len(loaded), done.returncode) == (len(changes), 0), done.stderr[-2000:]


@pytest.mark.parametrize(
    "numbers",
    [
        {"vectors": 0},
        {"vectors": _COUNT + 1},
        {"vectors": 2**61},
        {"vectors": -1},
        {"last_vector_id": _COUNT - 1},
        {"last_vector_id": 2**40},
        {"size_bytes": 2**61},
    ],
    ids=str,
)
def test_a_row_that_says_what_its_file_is_not_is_refused(
    published: tuple[bytes, GraphRow], tmp_path: Path, numbers: dict[str, int]
) -> None:
    loaded, done = _used(tmp_path, published, [lambda content: None], **numbers)
    assert (loaded, done.returncode) == ([False], 0), done.stderr


_TEXTS: Final = [text_of(i) for i in range(1100)]


@pytest.mark.parametrize("rebuild", ["index", "write"])
def test_memories_are_found_beside_a_crafted_graph_and_the_next_builder_replaces_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, rebuild: str
) -> None:
    store = fill(tmp_path / "store", len(_TEXTS))
    graph = store / "index" / "1.hnsw"
    content = bytearray(graph.read_bytes())
    content[8:16] = (2**32).to_bytes(8, "little")
    content[52:56] = (2**31).to_bytes(4, "little")
    graph.write_bytes(content)
    with closing(sqlite3.connect(store / "memories.db")) as database, database:
        database.execute("UPDATE graph SET sha256 = ?", (hashlib.sha256(content).hexdigest(),))
    with open_store(store) as mem:
        assert_finds(mem, _TEXTS, vectors_of(_TEXTS))
        (warning,) = warnings_in(caplog)
        assert "1.hnsw is missing or not what was published" in warning
        if rebuild == "index":
            mem.build_index()
        else:
            mem.add(_TEXTS[0], id="0", user_id="another")
    caplog.clear()
    with open_store(store) as mem:
        assert mem.verify() == []
        assert mem.stats().graph["file"] == "2.hnsw"
        assert_finds(mem, _TEXTS, vectors_of(_TEXTS))
    assert warnings_in(caplog) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"vectors": 2**61},
        {"vectors": "1100"},
        {"last_vector_id": 2**70},
        {"sha256": 5},
        {"generation": 2.0},
        {"file": "../../notes.txt"},
    ],
    ids=str,
)
def test_a_crafted_offer_is_dropped(tmp_path: Path, wrong: dict[str, object]) -> None:
    store = fill(tmp_path / "store", len(_TEXTS))
    with closing(sqlite3.connect(store / "memories.db")) as database:
        names = ("size_bytes", "sha256", "vectors", "last_vector_id")
        (values,) = database.execute("SELECT size_bytes, sha256, vectors, last_vector_id FROM graph").fetchall()
        ((store_id,),) = database.execute("SELECT value FROM meta WHERE key = 'store_id'").fetchall()
    (store / "index" / "2.hnsw").write_bytes((store / "index" / "1.hnsw").read_bytes())
    graph = {"generation": 2, **dict(zip(names, values, strict=True)), **wrong}
    (store / "index" / "offer.json").write_text(json.dumps({"store_id": store_id, "commits": 1, "graph": graph}))
    (tmp_path / "notes.txt").write_text("mine")
    with open_store(store) as mem:
        mem.add(_TEXTS[0], id="0", user_id="another")
        assert mem.stats().graph["file"] == "1.hnsw"
        assert mem.verify() == []
    assert (tmp_path / "notes.txt").read_text() == "mine"
