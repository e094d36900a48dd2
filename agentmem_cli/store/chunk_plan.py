"""What a batch would change of the chunks of long texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from agentmem_cli.records.memory import Span
from agentmem_cli.store.rows import text_hash


@dataclass(frozen=True, slots=True)
class ChunkRow:
    """A chunk: the characters [start, stop) of a text, which is known by its vector, and their own vector."""

    text_vector_id: int
    start: int
    stop: int
    vector_id: int


@dataclass(frozen=True, slots=True)
class ChunkPlan:
    """The chunks that a batch would write, in place of all chunks of the texts in `replaced` (vector ids).

    `new_texts` are the chunks that need a vector, in order, and `new_hashes` their hashes. The ids of their vectors
    follow those of the batch's own new texts.
    """

    rows: list[ChunkRow] = field(default_factory=list)
    new_texts: list[str] = field(default_factory=list)
    new_hashes: list[bytes] = field(default_factory=list)
    replaced: list[int] = field(default_factory=list)


def hashes_of(splits: Mapping[str, Sequence[Span]]) -> set[bytes]:
    """The hashes of these texts and of their chunks."""
    hashes = {text_hash(text[start:stop]) for text, spans in splits.items() for start, stop in spans}
    return hashes | {text_hash(text) for text in splits}


def planned_chunks(
    splits: Mapping[str, Sequence[Span]],
    known: Mapping[bytes, int],
    stored: Mapping[int, Sequence[ChunkRow]],
    new_hashes: Sequence[bytes],
    first_vector_id: int,
) -> ChunkPlan:
    """The plan that gives each text of `splits` exactly these chunks, where it has or gets a vector.

    `known` are the vectors of `hashes_of(splits)`, where there are any, and `stored` the chunks of their texts.
    `new_hashes` are those of the texts that get a vector with this batch, the first of them the id given.
    """
    plan = ChunkPlan()
    vector_ids = {**known, **dict(zip(new_hashes, count(first_vector_id)))}
    first_vector_id += len(new_hashes)
    for text, spans in splits.items():
        text_vector_id = vector_ids.get(text_hash(text))
        if text_vector_id is None:
            continue
        before = stored.get(text_vector_id, ())
        if [(row.start, row.stop) for row in before] == list(spans):
            continue
        plan.replaced.append(text_vector_id)
        for start, stop in spans:
            part = text[start:stop]
            digest = text_hash(part)
            if digest not in vector_ids:
                vector_ids[digest] = first_vector_id + len(plan.new_texts)
                plan.new_texts.append(part)
                plan.new_hashes.append(digest)
            plan.rows.append(ChunkRow(text_vector_id, start, stop, vector_ids[digest]))
    return plan
