"""The tables `memories` and `history`: what is stored under an id, and what happened to it."""

import json
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agentmem_cli.errors import AgentMemError, StoreDamagedError
from agentmem_cli.records.filter import SearchFilter
from agentmem_cli.records.memory import (
    HistoryEvent,
    Memory,
)
from agentmem_cli.store.base import Candidate, Neighbours
from agentmem_cli.store.embedded import chunks
from agentmem_cli.store.embedded.connection import MOST_ROWS, VERIFY_HINT, Connection, Row
from agentmem_cli.store.embedded.filters import PerSelection, Selection, conditions
from agentmem_cli.store.rows import (
    MEMORY_COLUMNS,
    HistoryRow,
    MemoryRow,
    StoredMemory,
    as_given,
    events_of,
    is_as_stored,
    memory_of,
    memory_parameters,
)
from agentmem_cli.support.safe_text import printable

_JSON: Final = json.JSONEncoder(default=repr)  # a damaged row may hold bytes where a text was
# Those of the same moment first, in order of arrival: two steps, so that the index of runs serves each.
_BESIDE: Final = """
(SELECT group_concat(seq) FROM (
    SELECT * FROM (SELECT o.seq FROM memories o WHERE o.run = m.run AND o.user_id IS m.user_id
        AND o.created_at_us = m.created_at_us AND o.seq {0} m.seq{3} ORDER BY o.seq {1} LIMIT {2})
    UNION ALL SELECT * FROM (SELECT o.seq FROM memories o WHERE o.run = m.run AND o.user_id IS m.user_id
        AND o.created_at_us {0} m.created_at_us{3} ORDER BY o.created_at_us {1}, o.seq {1} LIMIT {2})
    LIMIT {2}))
"""


def event_checksum(identity: str, event: str, previous: str | None, at_us: int) -> int:
    """The CRC-32 of an event of the history."""
    return zlib.crc32(_JSON.encode([identity, event, previous, at_us]).encode())


_SPEAKERS: Final = 200
UNREADABLE: Final = (AgentMemError, AttributeError, TypeError, ValueError, OverflowError)  # what a damaged row raises
_ALL: Final = Selection(SearchFilter(expired=None))


class Memories:
    """The memories of one database. Raises StoreError and its kinds."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._matches = PerSelection(self._read_vector_ids)

    def selection(self, filter: SearchFilter) -> Selection:
        """A filter as of now."""
        rows = self._connection.read(
            "SELECT CAST(max(expires_at_us) AS INTEGER) FROM memories WHERE expires_at_us <= ?",
            (time.time_ns() // 1000,),
        )
        return Selection(filter, rows[0][0])

    def count(self, selection: Selection = _ALL) -> int:
        """How many memories there are, or match."""
        where, parameters = conditions(selection)
        return int(self._connection.read(f"SELECT count(*) FROM memories m WHERE {where}", parameters)[0][0])

    def any(self, selection: Selection) -> bool:
        """Whether any memory matches."""
        if selection:
            return len(self.vector_ids(selection)) > 0  # the caller needs these next
        return bool(self._connection.one("SELECT EXISTS (SELECT 1 FROM memories)"))

    def find(self, ids: Iterable[str]) -> dict[str, StoredMemory]:
        """The stored memories of these ids, by id."""
        rows = self._connection.read_in(
            "SELECT id, content, text, vector_id, created_at_us FROM memories WHERE id IN ({})", list(ids)
        )
        return {row[0]: StoredMemory(*row[1:]) for row in rows}

    def as_given(self, ids: Sequence[str]) -> dict[str, Memory]:
        """The memories of these ids, without a time where the store filled it in. Raises StoreDamagedError."""
        rows = self._connection.read_in(f"SELECT {MEMORY_COLUMNS}, m.content FROM memories m WHERE m.id IN ({{}})", ids)
        return {row[0]: as_given(self.checked(row), row[-1]) for row in rows}

    def write(self, rows: Iterable[MemoryRow]) -> None:
        """Adds memories, or replaces those of the same id."""
        self._connection.insert_many(
            "INSERT INTO memories(id, vector_id, text, agent_id, user_id, run_id, memory_type, importance,"
            " created_at_us, metadata, content, run, speaker, said_by, speaker_key, expires_at_us)",
            [memory_parameters(row) for row in rows],
            "ON CONFLICT(id) DO UPDATE SET vector_id = excluded.vector_id, text = excluded.text,"
            " agent_id = excluded.agent_id, user_id = excluded.user_id, run_id = excluded.run_id,"
            " memory_type = excluded.memory_type, importance = excluded.importance,"
            " created_at_us = excluded.created_at_us, metadata = excluded.metadata, content = excluded.content,"
            " run = excluded.run, speaker = excluded.speaker, said_by = excluded.said_by,"
            " speaker_key = excluded.speaker_key, expires_at_us = excluded.expires_at_us",
        )

    def vector_ids(self, selection: Selection) -> NDArray[np.int64]:
        """The vector ids of all memories that match, ascending, each once; not to be written to."""
        return self._matches.of(selection, self._connection.version())

    def _read_vector_ids(self, selection: Selection) -> NDArray[np.int64]:
        where, parameters = conditions(selection)
        matching = chunks.matching(where, chunked=chunks.Chunks(self._connection).exist())
        # One long string is read in half the time that the rows take.
        rows = self._connection.read(f"SELECT group_concat(vector_id) FROM ({matching})", parameters)
        try:
            ids = np.sort(np.fromstring(rows[0][0] or "", dtype=np.int64, sep=","))
        except ValueError as error:
            raise self._damaged() from error
        ids = ids[np.diff(ids, prepend=0) > 0]  # a twentieth of what numpy.unique takes, which hashes them
        ids.flags.writeable = False
        return ids

    def speakers(self, keys: Sequence[str], selection: Selection) -> list[str]:
        """Those who said two or more of the memories that match, of the speakers with these keys; at most 200."""
        where, parameters = conditions(selection)
        # Steps from name to name in the index, whatever the number of a speaker's memories.
        rows = self._connection.read(
            "WITH RECURSIVE named(key, name) AS ("
            "SELECT value, (SELECT min(said_by) FROM memories WHERE speaker_key = value) FROM json_each(?)"
            " UNION ALL SELECT key, (SELECT min(said_by) FROM memories WHERE speaker_key = key AND said_by > name)"
            f" FROM named WHERE name IS NOT NULL LIMIT ?)"
            " SELECT name FROM named WHERE name IS NOT NULL AND 2 = (SELECT count(*) FROM (SELECT 1 FROM memories m"
            f" WHERE m.speaker_key = key AND m.said_by = name AND {where} LIMIT 2))",
            [json.dumps(keys), len(keys) + _SPEAKERS, *parameters],
        )
        return [name for (name,) in rows if isinstance(name, str)]

    def count_texts(self, selection: Selection) -> int:
        """How many distinct texts the memories have that match."""
        where, parameters = conditions(selection)
        rows = self._connection.read(f"SELECT count(DISTINCT m.vector_id) FROM memories m WHERE {where}", parameters)
        return int(rows[0][0])

    def texts(self, vector_ids: Sequence[int]) -> dict[int, str]:
        """The texts of memories that have these vectors, by vector. Damaged ones are left out."""
        rows = self._connection.read_in(
            "SELECT m.vector_id, CAST(m.text AS BLOB) FROM memories m INDEXED BY memories_vector"
            " WHERE m.vector_id IN ({}) GROUP BY m.vector_id",
            vector_ids,
        )
        return {vector_id: text.decode(errors="replace") for vector_id, text in rows if isinstance(text, bytes)}

    def candidates(self, vector_ids: Sequence[int], selection: Selection) -> list[Candidate]:
        """Every memory that has one of these vectors and matches, in order of arrival. Raises StoreDamagedError."""
        # Without the hint, SQLite scans all memories of a user.
        found = self._candidates("m.vector_id", vector_ids, selection, "INDEXED BY memories_vector")
        asked_for = set(vector_ids)
        if any(candidate.text_id not in asked_for for candidate in found):  # an index disagrees with its table
            raise self._damaged()
        return found

    def candidates_at(self, seqs: Sequence[int], selection: Selection) -> list[Candidate]:
        """Those of these memories that match, in order of arrival."""
        return self._candidates("m.seq", seqs, selection, "NOT INDEXED")

    def _candidates(self, column: str, values: Sequence[int], selection: Selection, by: str) -> list[Candidate]:
        where, parameters = conditions(selection)
        rows = self._connection.read_in(
            f"SELECT m.seq, m.vector_id, m.created_at_us, m.importance, m.said_by FROM memories m {by}"
            f" WHERE {column} IN ({{}}) AND {where}",
            values,
            parameters,
        )
        found = [Candidate(*row) for row in sorted(rows, key=itemgetter(0))]
        for candidate in found:
            if not _is_whole(candidate):
                self.at([candidate.seq])  # its error names the memory
                raise self._damaged()
        return found

    def _damaged(self) -> StoreDamagedError:
        return StoreDamagedError(f"{self._connection.path} is damaged: {VERIFY_HINT}")

    def around(self, seqs: Sequence[int], n: int, expired_by_us: int | None) -> dict[int, Neighbours]:
        """For each of these memories, the `seq` of the n before and after it in its run and of its user, in order.

        Those that expired at `expired_by_us` or before are left out.
        """
        n = min(n, MOST_ROWS)
        live = "" if expired_by_us is None else f" AND (o.expires_at_us > {int(expired_by_us)}) IS NOT FALSE"
        before, after = _BESIDE.format("<", "DESC", n, live), _BESIDE.format(">", "ASC", n, live)
        rows = self._connection.read_in(f"SELECT m.seq, {before}, {after} FROM memories m WHERE m.seq IN ({{}})", seqs)
        sides = {row[0]: (_numbers(row[1])[::-1], _numbers(row[2])) for row in rows}
        return {seq: sides.get(seq, ([], [])) for seq in seqs}

    def at(self, seqs: Sequence[int]) -> dict[int, Memory]:
        """These memories, by `seq`, each given once. Raises StoreDamagedError where one is not what was stored."""
        rows = self._connection.read_in(
            f"SELECT m.seq, {MEMORY_COLUMNS}, m.content FROM memories m WHERE m.seq IN ({{}})", seqs
        )
        found = {row[0]: self.checked(row[1:]) for row in rows}
        if len(found) < len(seqs):
            raise self._damaged()
        return found

    def newest(self, selection: Selection, limit: int, offset: int) -> list[Memory]:
        """A page of the matching memories, newest first. Raises StoreDamagedError where one is not what was stored."""
        where, parameters = conditions(selection)
        rows = self._connection.read(
            f"SELECT {MEMORY_COLUMNS}, m.content FROM memories m WHERE {where}"
            " ORDER BY m.created_at_us DESC, m.seq DESC LIMIT ? OFFSET ?",
            [*parameters, limit, offset],
        )
        return [self.checked(row) for row in rows]

    def ids(self, selection: Selection) -> list[str]:
        """The ids of all matching memories, in the order of their arrival."""
        where, parameters = conditions(selection)
        return [
            row[0]
            for row in self._connection.read(f"SELECT m.id FROM memories m WHERE {where} ORDER BY m.seq", parameters)
        ]

    def get(self, identity: str) -> Memory | None:
        """The memory of this id."""
        rows = self._connection.read(f"SELECT {MEMORY_COLUMNS}, m.content FROM memories m WHERE m.id = ?", (identity,))
        return self.checked(rows[0]) if rows else None

    def checked(self, row: Row) -> Memory:
        """The memory in a row of MEMORY_COLUMNS and `content`. Raises StoreDamagedError."""
        try:
            memory = memory_of(row[:-1])
            whole = is_as_stored(memory, row[-1])
        except UNREADABLE:
            whole = False
        if not whole:
            raise self.damaged(row[0])
        return memory

    def damaged(self, identity: object, part: str = "") -> StoreDamagedError:
        """The error that names a memory, or a part of it, as damaged."""
        name = printable(as_text(identity))
        return StoreDamagedError(
            f"{part}memory {name} in {self._connection.path} is not what was stored: {VERIFY_HINT}"
        )


class History:
    """The events of one database's memories. Raises StoreError and its kinds."""

    def __init__(self, connection: Connection, memories: Memories) -> None:
        self._connection = connection
        self._memories = memories

    def write(self, rows: Iterable[HistoryRow]) -> None:
        """Adds events to the history."""
        self._connection.insert_many(
            "INSERT INTO history(id, event, previous, at_us, checksum)",
            [(*event, event_checksum(*event)) for event in map(_event, rows)],
        )

    def of(self, identity: str) -> list[HistoryEvent]:
        """What happened to the memory of this id, oldest first."""
        with self._connection.snapshot():
            rows = self._connection.read(
                "SELECT event, previous, at_us, checksum FROM history WHERE id = ? ORDER BY seq", (identity,)
            )
            current = self._memories.get(identity)
        if any(event_checksum(identity, *row[:3]) != row[3] for row in rows):
            shown = printable(identity)
            raise StoreDamagedError(
                f"the history of memory {shown} in {self._connection.path} is damaged: {VERIFY_HINT}"
            )
        return events_of(identity, [row[:3] for row in rows], current)

    def erase(self, ids: Sequence[str]) -> None:
        """Within a transaction: removes the former values from the events of these memories, and keeps the events."""
        events = self._connection.read_in("SELECT seq, id, event, at_us FROM history WHERE id IN ({})", ids)
        self._connection.change_many(
            "UPDATE history SET previous = NULL, checksum = ? WHERE seq = ?",
            [(event_checksum(identity, event, None, at_us), seq) for seq, identity, event, at_us in events],
        )

    def damaged(self) -> Iterator[str]:
        """The ids of the memories with an event that is not what was stored."""
        for rows in self._connection.pages("SELECT id, event, previous, at_us, checksum FROM history ORDER BY seq"):
            for row in rows:
                if event_checksum(*row[:4]) != row[4]:
                    yield str(row[0])


def _numbers(joined: str | None) -> list[int]:
    return [int(number) for number in joined.split(",")] if joined else []


def as_text(identity: object) -> str:
    """The id of a memory as text, even where it is damaged."""
    return str(identity).encode(errors="backslashreplace").decode()


def _is_whole(candidate: Candidate) -> bool:
    return (
        isinstance(candidate.text_id, int)
        and isinstance(candidate.created_at_us, int)
        and (candidate.importance is None or isinstance(candidate.importance, float))
        and (candidate.said_by is None or isinstance(candidate.said_by, str))
    )


def _event(row: HistoryRow) -> tuple[str, str, str | None, int]:
    return row.id, row.event, row.previous, row.at_us
