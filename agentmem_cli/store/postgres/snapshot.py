"""What a search sees of a PostgreSQL store: its memories, words and vectors as of one moment, through one filter."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from agentmem_cli.errors import StoreDamagedError
from agentmem_cli.records.filter import SearchFilter
from agentmem_cli.records.memory import Memory
from agentmem_cli.store.base import SAMPLED, Candidate, Neighbours, Sample, TextScore, Vector, Vectors
from agentmem_cli.store.postgres.binary import vector_literal, vectors_of, word_in_index
from agentmem_cli.store.postgres.connection import Connection
from agentmem_cli.store.postgres.filters import Parameter, conditions, is_narrow
from agentmem_cli.store.postgres.schema import HNSW_INDEX
from agentmem_cli.store.rows import MEMORY_COLUMNS, memory_of
from agentmem_cli.store.word_scores import Ids, QueryWord, TextScores, WordScores, weighed
from agentmem_cli.store.words import Tokenizer, is_beginning, spaced

_COMMON_TEXTS: Final = 50_000  # a more frequent word says little: it counts only where no other is found
_SPEAKERS: Final = 200
# In order, so that the index of expiries is used, whatever the planner knows of them.
_FIRST_EXPIRY: Final = "(SELECT expires_at_us FROM memories WHERE expires_at_us {0} ORDER BY expires_at_us LIMIT 1)"
# Those of the same moment first, in order of arrival. A join on a NULL user would not use the index of runs.
_BESIDE: Final = (
    "ARRAY(SELECT o.seq FROM memories o WHERE o.run = m.run AND coalesce(o.user_id, '') = coalesce(m.user_id, '')"
    " AND (o.created_at_us, o.seq) {0} (m.created_at_us, m.seq) AND (o.expires_at_us > %s) IS NOT FALSE"
    " ORDER BY o.created_at_us {1}, o.seq {1} LIMIT %s)"
)


class PostgresSnapshot:
    """The memories that match a filter, as of one moment: a `Snapshot`. `PostgresStore.snapshot` makes it."""

    def __init__(
        self,
        connection: Connection,
        tokenizer: Tokenizer,
        filter: SearchFilter,
        now_us: int,
        store: "StoreState",
        kept: "Kept",
    ) -> None:
        self._connection = connection
        self._words = WordScores(tokenizer, self._shares, self._texts, lambda: self.sample().mean_words)
        self._is_narrow = is_narrow(filter) or store.has_expired
        self._walks = store.has_index and not is_narrow(filter)
        self._where, self._parameters = conditions(filter, now_us)
        self._now_us = now_us
        self._has_chunks = store.has_chunks
        self._kept = kept
        self._query: Vector | None = None  # that of `nearest`
        self._cosines: dict[int, TextScore] = {}  # of it and the texts of candidates: they are asked for next

    def _matching(self) -> tuple[str, list[Parameter]]:
        """A query for the vectors of the memories that match, each once, and its parameters."""
        own = f"SELECT m.vector_id FROM memories m WHERE {self._where}"
        if not self._has_chunks:
            return f"SELECT DISTINCT vector_id FROM ({own}) own", self._parameters
        return (
            f"{own} UNION SELECT w.vector_id FROM chunks w WHERE w.text_vector_id IN ({own})",
            [*self._parameters, *self._parameters],
        )

    def nearest(self, query: Vector, n: int) -> tuple[dict[int, TextScore], bool]:
        """See `Snapshot`; a filtered search is exact, and others are where there is no index."""
        self._query, self._cosines = query, {}
        literal, width = vector_literal(query), len(query)
        if not self._walks:
            matching, parameters = self._matching() if self._is_narrow else ("SELECT vector_id FROM vectors", [])
            near = (
                f"SELECT v.vector_id, -(v.vector <#> %s::vector) AS score FROM vectors v"
                f" WHERE v.vector_id IN ({matching}) ORDER BY score DESC, v.vector_id LIMIT %s"
            )
            given: list[Parameter] = [literal, *parameters, n]
        else:  # with the type of the index, so that the planner may use it
            of_width = f"vector({width})"
            near = (
                f"SELECT v.vector_id, -(v.vector::{of_width} <#> %s::{of_width}) AS score FROM vectors v"
                f" ORDER BY v.vector::{of_width} <#> %s::{of_width} LIMIT %s"
            )
            given = [literal, literal, n]
        rows = self._connection.read(
            f"WITH near AS ({near}) SELECT near.vector_id, near.score, w.text_vector_id, w.start, w.stop"
            " FROM near LEFT JOIN chunks w ON w.vector_id = near.vector_id ORDER BY near.score DESC, near.vector_id",
            given,
        )
        found: dict[int, TextScore] = {row[0]: TextScore(row[1], None) for row in rows}
        taken = len(found)
        _with_chunks(found, ((row[1], *row[2:]) for row in rows if row[2] is not None))
        return found, taken == n

    def cosines(self, query: Vector, text_ids: Sequence[int]) -> dict[int, TextScore]:
        """See `Snapshot`."""
        if query is self._query and all(text_id in self._cosines for text_id in text_ids):
            return {text_id: self._cosines[text_id] for text_id in text_ids}
        literal, ids = vector_literal(query), list(text_ids)
        rows = self._connection.read(
            "SELECT -(v.vector <#> %s::vector), v.vector_id, NULL::int, NULL::int FROM vectors v"
            " WHERE v.vector_id = ANY(%s) UNION ALL"
            " SELECT -(v.vector <#> %s::vector), w.text_vector_id, w.start, w.stop"
            " FROM chunks w JOIN vectors v USING (vector_id) WHERE w.text_vector_id = ANY(%s)",
            (literal, ids, literal, ids),
        )
        found = {row[1]: TextScore(row[0], None) for row in rows if row[2] is None}
        _with_chunks(found, (row for row in rows if row[2] is not None))
        return {text_id: found[text_id] for text_id in text_ids}

    def vectors(self, text_ids: Sequence[int]) -> Vectors:
        """See `Snapshot`."""
        rows = self._connection.read(
            "SELECT vector_id, vector_send(vector) FROM vectors WHERE vector_id = ANY(%s)", (list(text_ids),)
        )
        by_id: dict[int, bytes] = dict(rows)
        return vectors_of([by_id[text_id] for text_id in text_ids])

    def sample(self) -> Sample:
        """See `Snapshot`."""
        if self._kept.sample is None:
            self._kept.sample = self._sampled()
        return self._kept.sample

    def _sampled(self) -> Sample:
        if self._is_narrow:  # evenly spaced by place among the ids that match, as numpy.linspace has it
            matching, parameters = self._matching()
            ids = (
                f"WITH matching AS MATERIALIZED ({matching}), counted AS (SELECT count(*) AS n FROM matching),"
                " placed AS (SELECT vector_id, row_number() OVER (ORDER BY vector_id) - 1 AS place FROM matching)"
                " SELECT placed.vector_id"
                f" FROM generate_series(0, {SAMPLED - 1}) step JOIN placed ON step < (SELECT n FROM counted)"
                " AND placed.place ="
                f" floor(step * (SELECT (n - 1)::float8 / greatest(least(n, {SAMPLED}) - 1, 1) FROM counted))"
            )
        else:  # evenly spaced by id
            parameters = []
            ids = (
                "SELECT DISTINCT next.vector_id FROM (SELECT max(vector_id) AS last FROM vectors) ids,"
                f" generate_series(0, {SAMPLED - 1}) step, LATERAL (SELECT v.vector_id FROM vectors v"
                f" WHERE v.vector_id >= 1 + (last - 1) * step / {SAMPLED - 1} ORDER BY v.vector_id LIMIT 1) next"
            )
        rows = self._connection.read(
            "SELECT vector_send(v.vector), (SELECT m.text FROM memories m WHERE m.vector_id = v.vector_id LIMIT 1)"
            f" FROM vectors v WHERE v.vector_id IN ({ids}) ORDER BY v.vector_id",
            parameters,
        )
        words = [len(spaced(text).split()) for _, text in rows if text is not None]
        return Sample(vectors_of([row[0] for row in rows]), sum(words) / len(words) if words else 0.0)

    def speakers(self, keys: Sequence[str]) -> list[str]:
        """See `Snapshot`."""
        if not keys:
            return []
        rows = self._connection.read(
            f"SELECT m.said_by FROM memories m WHERE m.speaker_key = ANY(%s) AND {self._where}"
            f" GROUP BY m.said_by HAVING count(*) > 1 ORDER BY 1 LIMIT {_SPEAKERS}",
            (list(keys), *self._parameters),
        )
        return [name for (name,) in rows]

    # Words

    def best_texts(self, query: str, n: int, k1: float) -> dict[int, float]:
        """See `Snapshot`."""
        return self._words.best(query, n, k1)

    def text_scores(self, query: str, text_ids: Sequence[int], k1: float) -> dict[int, float]:
        """See `Snapshot`."""
        return self._words.of_texts(query, text_ids, k1)

    def unspaced_weight(self, query: str) -> float:
        """See `Snapshot`."""
        return self._words.unspaced_weight(query)

    def _shares(self, words: Sequence[QueryWord]) -> TextScores:
        found, texts = self._looked_up(words)
        return weighed(found, max((int(ids.max()) for _, ids in found if len(ids)), default=0), texts)

    def _looked_up(self, words: Sequence[QueryWord]) -> tuple[list[tuple[QueryWord, Ids]], int]:
        """The matching texts of each word, and how many texts match, in one statement."""
        if not words:
            return [], 0
        asked = [_tsquery(word) for word in words]
        if self._is_narrow:  # the few that match are read once, and told apart then
            matching, parameters = f"SELECT DISTINCT m.vector_id FROM memories m WHERE {self._where}", self._parameters
            before = (
                f"WITH matching AS MATERIALIZED ({matching}), hits AS MATERIALIZED (SELECT v.vector_id, v.words"
                " FROM vectors v JOIN matching USING (vector_id) WHERE v.words @@ %s::tsquery)"
            )
            given, counted, hits = [*parameters, " | ".join(asked)], "SELECT count(*) FROM matching", "hits"
        else:  # the index has those of each word
            before, given, counted, hits = "", [], "SELECT count(*) FROM vectors WHERE words IS NOT NULL", "vectors"
        rows = self._connection.read(
            f"{before} SELECT {'NULL::bigint' if self._kept.texts is not None else f'({counted})'},"
            f" ARRAY(SELECT h.vector_id FROM {hits} h WHERE h.words @@ asked.word::tsquery)"
            " FROM unnest(%s::text[]) WITH ORDINALITY asked(word, place) ORDER BY asked.place",
            [*given, asked],
        )
        if self._kept.texts is None:
            self._kept.texts = int(rows[0][0])
        found = [(word, np.sort(np.array(ids, dtype=np.int64))) for word, (_, ids) in zip(words, rows, strict=True)]
        rare = [(word, ids) for word, ids in found if len(ids) <= _COMMON_TEXTS]
        return (rare if any(len(ids) for _, ids in rare) else found), self._kept.texts

    def _texts(self, text_ids: Sequence[int]) -> dict[int, str]:
        return dict(
            self._connection.read(
                "SELECT DISTINCT ON (m.vector_id) m.vector_id, m.text FROM memories m WHERE m.vector_id = ANY(%s)",
                (list(text_ids),),
            )
        )

    # Memories

    def candidates(self, text_ids: Sequence[int]) -> list[Candidate]:
        """See `Snapshot`."""
        return self._candidates("m.vector_id", text_ids)

    def candidates_at(self, seqs: Sequence[int]) -> list[Candidate]:
        """See `Snapshot`."""
        return self._candidates("m.seq", seqs)

    def _candidates(self, column: str, values: Sequence[int]) -> list[Candidate]:
        if not values:
            return []
        rows = self._connection.read(
            "SELECT m.seq, m.vector_id, m.created_at_us, m.importance, m.said_by, -(v.vector <#> %s::vector)"
            f" FROM memories m JOIN vectors v USING (vector_id) WHERE {column} = ANY(%s) AND {self._where}"
            " ORDER BY m.seq",
            (None if self._query is None else vector_literal(self._query), list(values), *self._parameters),
        )
        if self._query is not None and not self._has_chunks:
            self._cosines.update((row[1], TextScore(row[-1], None)) for row in rows)
        return [Candidate(*row[:-1]) for row in rows]

    def around(self, seqs: Sequence[int], n: int) -> dict[int, Neighbours]:
        """See `Snapshot`."""
        if not seqs:
            return {}
        before, after = _BESIDE.format("<", "DESC"), _BESIDE.format(">", "ASC")
        rows = self._connection.read(
            f"SELECT m.seq, {before}, {after} FROM memories m WHERE m.seq = ANY(%s)",
            (self._now_us, n, self._now_us, n, list(seqs)),
        )
        sides: dict[int, Neighbours] = {row[0]: (row[1][::-1], row[2]) for row in rows}
        return {seq: sides.get(seq, ([], [])) for seq in seqs}

    def memories_at(self, seqs: Sequence[int]) -> dict[int, Memory]:
        """See `Snapshot`."""
        if not seqs:
            return {}
        rows = self._connection.read(
            f"SELECT m.seq, {MEMORY_COLUMNS} FROM memories m WHERE m.seq = ANY(%s)", (list(seqs),)
        )
        if len(rows) < len(set(seqs)):
            raise StoreDamagedError("a memory of the store is missing: restore the database from a backup")
        return {row[0]: memory_of(row[1:]) for row in rows}


@dataclass(slots=True)
class Kept:
    """What was found out of the memories that match a filter, for as long as nobody writes: a sample of them, and how
    many distinct texts they have."""

    sample: Sample | None = None
    texts: int | None = None


@dataclass(frozen=True, slots=True)
class StoreState:
    """What a search needs to know of a store first: read in one round trip.

    `transactions` are those that it sees; with the same and the same `next_expiry_us`, it sees the same memories.
    """

    embedder: str  # JSON
    has_chunks: bool
    has_expired: bool
    next_expiry_us: int | None
    has_index: bool
    transactions: str

    @staticmethod
    def query(now_us: int) -> tuple[str, tuple[Parameter, ...]]:
        """The query for the state as of now, and its parameters."""
        return (
            "SELECT (SELECT value FROM meta WHERE key = 'embedder'), EXISTS (SELECT 1 FROM chunks),"
            f" coalesce({_FIRST_EXPIRY.format('IS NOT NULL')} <= %s, FALSE), {_FIRST_EXPIRY.format('> %s')}, EXISTS ("
            " SELECT 1 FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relname = %s"
            " AND c.relnamespace = current_schema()::regnamespace AND i.indisvalid), pg_current_snapshot()::text",
            (now_us, now_us, HNSW_INDEX),
        )


def _with_chunks(found: dict[int, TextScore], rows: Iterator[tuple[float, int, int, int]]) -> None:
    """Gives each text the score of its nearest chunk where that is higher."""
    for score, text_id, start, stop in rows:
        if text_id not in found or score > found[text_id].score:
            found[text_id] = TextScore(score, (start, stop))


def _tsquery(word: QueryWord) -> str:
    """A word of a query as a tsquery, quoted: a character of an unspaced script is a prefix, others are stems."""
    if is_beginning(word.word):
        return f"'{word.word}':*"
    quoted = word_in_index(word.stem).replace("\\", "\\\\").replace("'", "''")
    return f"'{quoted}'"
