"""Bytes of the database flipped on every page: right data or an error of ours, verify tells, nothing gets worse."""

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from agentmem_cli import AgentMem
from agentmem_cli.errors import AgentMemError
from agentmem_cli.records.memory import Hit
from agentmem_cli.store.embedded.schema import PAGE_BYTES
from tests.faults.stores import QUERIES, open_store, text_of

_COUNT: Final = 50
_FLIPS_PER_PAGE: Final = 12
_HEADER_BYTES: Final = 100
_TABLES: Final = {
    "memories": "SELECT * FROM memories NOT INDEXED ORDER BY rowid",
    "vectors": "SELECT * FROM vectors NOT INDEXED ORDER BY rowid",
    "history": "SELECT * FROM history NOT INDEXED ORDER BY rowid",
}


@dataclass
class _Outcome:
    """What came of one flip: `place` says which."""

    place: str
    wrong_errors: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    told: bool = False
    wrong_hits: bool = False
    written_by_reading: bool = False
    emptied: bool = False
    added: bool = False


def _tables(database: Path) -> dict[str, object]:
    """What a plain scan of the tables reads, an error where it can't."""
    rows: dict[str, object] = {}
    with closing(sqlite3.connect(f"file:{database}?mode=ro&immutable=1", uri=True)) as connection:
        connection.text_factory = bytes
        for name, sql in _TABLES.items():
            try:
                rows[name] = connection.execute(sql).fetchall()
            except (sqlite3.Error, ValueError, OverflowError) as error:
                rows[name] = str(error)
    return rows


def _hits(mem: AgentMem) -> list[list[Hit]]:
    return [mem.search(query) for query in QUERIES]


def _tell(mem: AgentMem) -> bool:
    return mem.verify() != []


def _add(mem: AgentMem) -> str:
    return mem.add("added after the damage", id="added")


class _Trial:
    """One damaged copy: asks all of it, and notes what isn't as promised."""

    def __init__(self, folder: Path, outcome: _Outcome) -> None:
        self.folder = folder
        self.outcome = outcome

    def ask(self, question: Callable[[AgentMem], object]) -> object:
        """The answer of a newly opened store; None where it is an error."""
        try:
            mem = open_store(self.folder)
            try:
                return question(mem)
            finally:
                mem._store.close()
        except AgentMemError as error:
            if not str(error).isprintable():
                self.outcome.wrong_errors.append(f"{self.outcome.place}: {error!r}")
            return None
        except Exception as error:  # noqa: BLE001 - it is what this is about
            name = getattr(question, "__name__", "?")
            self.outcome.wrong_errors.append(f"{self.outcome.place}: {name}: {type(error).__name__}: {error}")
            return None


def _try(folder: Path, content: bytes, place: str, right: list[list[Hit]], rows: dict[str, object]) -> _Outcome:
    database, trial = folder / "memories.db", _Trial(folder, _Outcome(place))
    outcome = trial.outcome
    database.write_bytes(content)
    outcome.changed = [name for name, found in _tables(database).items() if found != rows[name]]
    outcome.told = trial.ask(_tell) is not False
    hits = trial.ask(_hits)
    outcome.wrong_hits = hits is not None and hits != right
    for question in (_export, AgentMem.stats, AgentMem.list_memories, _all_histories):
        trial.ask(question)
    outcome.written_by_reading = database.read_bytes() != content
    outcome.added = trial.ask(_add) == "added"
    outcome.emptied = database.stat().st_size < len(content)
    for leftover in folder.glob("memories.db-*"):
        leftover.unlink()
    return outcome


def _export(mem: AgentMem) -> object:
    return list(mem.export(vectors=True))


def _all_histories(mem: AgentMem) -> object:
    return [mem.history(str(i)) for i in range(_COUNT)]


def _flips(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Copies with a byte changed: in the head and in the cells of every page."""
    chance = random.Random(7)
    places = [*range(16, _HEADER_BYTES, 4)]
    for page in range(len(content) // PAGE_BYTES):
        start = page * PAGE_BYTES
        used = [i for i in range(start, start + PAGE_BYTES) if content[i]]
        places += [chance.choice(used[:12]), *chance.sample(used, min(len(used), _FLIPS_PER_PAGE))]
    for place in places:
        flipped = bytearray(content)
        flipped[place] ^= 1 << chance.randrange(8)
        yield f"page {place // PAGE_BYTES + 1} at {place % PAGE_BYTES}", bytes(flipped)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[_Outcome]:
    folder = tmp_path_factory.mktemp("flips") / "store"
    with pytest.MonkeyPatch.context() as patch, open_store(folder) as mem:
        patch.setattr(
            "agentmem_cli.store.batch_plan.time.time_ns", lambda: 1_800_000_000_123_456_789
        )  # the same bytes a run
        fields = {"user_id": "ana", "created_at": "2026-01-02T03:04:05Z", "metadata": {"a": 1}}
        mem.add_batch([{"id": str(i), "text": f"before {i}", **fields} for i in range(20)])
        mem.add_batch([{"id": str(i), "text": text_of(i), **fields} for i in range(_COUNT)])
    with open_store(folder) as mem:
        right = _hits(mem)
        assert mem.verify() == []
    assert not (folder / "index").exists()
    content, rows = (folder / "memories.db").read_bytes(), _tables(folder / "memories.db")
    return [_try(folder, flipped, place, right, rows) for place, flipped in _flips(content)]


def test_the_flips_fall_into_all_that_is_stored(outcomes: list[_Outcome]) -> None:
    assert len(outcomes) > 150
    for name in _TABLES:
        assert sum(outcome.changed == [name] for outcome in outcomes) > 5, name
    assert any(outcome.added for outcome in outcomes)
    assert any(not outcome.told for outcome in outcomes)


def test_no_flip_raises_anything_but_an_error_of_ours_of_one_printable_line(outcomes: list[_Outcome]) -> None:
    errors = [error for outcome in outcomes for error in outcome.wrong_errors]
    assert not errors, "\n".join(errors)


@pytest.mark.parametrize("table", ["memories", "vectors", "history"])
def test_verify_tells_of_every_flip_that_changed_a_row(outcomes: list[_Outcome], table: str) -> None:
    assert [outcome.place for outcome in outcomes if table in outcome.changed and not outcome.told] == []


def test_no_flip_that_verify_does_not_tell_of_changes_a_hit(outcomes: list[_Outcome]) -> None:
    assert [outcome.place for outcome in outcomes if outcome.wrong_hits and not outcome.told] == []


def test_reading_a_damaged_database_writes_nothing_to_it(outcomes: list[_Outcome]) -> None:
    assert [outcome.place for outcome in outcomes if outcome.written_by_reading] == []


def test_a_damaged_database_is_never_cut_short_or_made_again(outcomes: list[_Outcome]) -> None:
    assert [outcome.place for outcome in outcomes if outcome.emptied] == []
