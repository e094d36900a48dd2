"""The blocks of ingests that several machines share: which are done, and what they did.

A block's mark is in the transaction of its memories. So a block that is tried again finds its mark, or waits for the
one that writes it; and a job that has ended lets no late block in.
"""

from collections.abc import Sequence

from agentmem_cli.errors import StoreError
from agentmem_cli.records.memory import Position
from agentmem_cli.store.base import BatchCounts, Block, BlockCounts
from agentmem_cli.store.postgres.connection import Connection
from agentmem_cli.store.postgres.writing import write_position

_COUNTS = "added, updated, unchanged, truncated, chunks, embedded"


def start(connection: Connection, job: str, inputs: Sequence[str]) -> None:
    """Within a transaction: begins a job; earlier ones with an input of these have ended when it commits."""
    connection.change("DELETE FROM jobs WHERE inputs && %s::text[]", (list(inputs),))
    connection.change("INSERT INTO jobs VALUES (%s, %s::text[])", (job, list(inputs)))


def mark_of(connection: Connection, block: Block) -> BlockCounts | None:
    """Within a transaction: what a block did, or None where it is not done. Raises StoreError for an ended job."""
    rows = connection.read(
        f"SELECT b.job IS NOT NULL, {_COUNTS} FROM jobs j LEFT JOIN blocks b ON b.job = j.job AND b.block = %s"
        " WHERE j.job = %s FOR KEY SHARE OF j",
        (block.number, block.job),
    )
    if not rows:
        raise StoreError(
            "the ingest has ended, or another one of the same input has started: wait for that one, or run this again"
        )
    is_done, *counts = rows[0]
    return BlockCounts(BatchCounts(*counts[:-1]), counts[-1]) if is_done else None


def mark(connection: Connection, block: Block, done: BlockCounts) -> None:
    """Within a transaction: marks a block as done. Where another attempt has marked it, a unique index fails this."""
    counts = done.counts
    connection.change(
        f"INSERT INTO blocks(job, block, {_COUNTS}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (
            *(block.job, block.number, counts.added, counts.updated, counts.unchanged),
            *(counts.truncated, counts.chunks, done.embedded),
        ),
    )


def end(connection: Connection, job: str) -> BlockCounts:
    """Within a transaction: ends a job when what is being committed for it is, and returns what all its blocks did."""
    connection.read("SELECT job FROM jobs WHERE job = %s FOR UPDATE", (job,))
    sums = ", ".join(f"coalesce(sum({name}), 0)::bigint" for name in _COUNTS.split(", "))
    *counts, embedded = connection.read(f"SELECT {sums} FROM blocks WHERE job = %s", (job,))[0]
    connection.change("DELETE FROM jobs WHERE job = %s", (job,))
    return BlockCounts(BatchCounts(*counts), embedded)


def move(connection: Connection, positions: Sequence[Position]) -> None:
    """Within a transaction: stores how far inputs have been taken in."""
    for position in sorted(positions, key=lambda position: position.file):
        write_position(connection, position)
