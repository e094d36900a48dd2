"""Brings a store that an older agentmem made up to date, in one transaction."""

from collections.abc import Iterator

from agentmem_cli.jsonl import load_metadata
from agentmem_cli.memory import run_of
from agentmem_cli.store.connection import Connection
from agentmem_cli.store.memory_rows import UNREADABLE
from agentmem_cli.store.schema import FROM_VERSION_1, SCHEMA_VERSION
from agentmem_cli.store.text_index import TextIndex


def bring_up_to_date(connection: Connection) -> None:
    """Gives an older store the tables of this version, filled from its memories; it is as it was if that fails.

    Takes some 20 us a memory. Raises StoreWriteError.
    """
    if connection.is_up_to_date:
        return
    with connection.transaction():
        for statement in FROM_VERSION_1:
            connection.change(statement)
        connection.change_many("UPDATE memories SET run = ? WHERE seq = ?", list(_runs(connection)))
        TextIndex(connection).make()
        connection.set_schema_version(SCHEMA_VERSION)


def _runs(connection: Connection) -> Iterator[tuple[str, int]]:
    """The runs of the memories that have one; a damaged row, which `verify` names, has none."""
    # As bytes: of a column that isn't UTF-8, SQLite's own conversion would stop it all.
    for rows in connection.chunks("SELECT seq, CAST(run_id AS BLOB), CAST(metadata AS BLOB) FROM memories"):
        for seq, run_id, metadata in rows:
            try:
                run = run_of(_text(run_id), load_metadata(_text(metadata)))
            except UNREADABLE:
                continue
            if run is not None:
                yield run, seq


def _text(column: bytes | None) -> str | None:
    return None if column is None else column.decode()
