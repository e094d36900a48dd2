"""The vector ids of the memories that match a filter, and of their windows, while the database stays as it is."""

from collections import OrderedDict
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agentmem_cli.errors import StoreDamagedError
from agentmem_cli.records.memory import SearchFilter
from agentmem_cli.store import windows
from agentmem_cli.store.connection import Connection, Parameter
from agentmem_cli.store.filters import conditions

_KEPT: Final = 16


class KnownMatches:
    """The answers to the last filters: an agent asks within the same ones over and over."""

    def __init__(self) -> None:
        self._version = (-1, -1)
        self._ids: OrderedDict[tuple[Parameter, ...], NDArray[np.int64]] = OrderedDict()

    def ids(self, database: Connection, wanted: SearchFilter) -> NDArray[np.int64]:
        """The vector ids of all that match, windows included, ascending, each once; not to be written to."""
        where, parameters = conditions(wanted)
        version, key = database.version(), (where, *parameters)
        if version != self._version:
            self._ids.clear()  # first: interrupted in between, answers of another version would be taken for this one's
            self._version = version
        if key not in self._ids:
            self._ids[key] = _read(database, where, parameters)
        self._ids.move_to_end(key)
        while len(self._ids) > _KEPT:
            self._ids.popitem(last=False)
        return self._ids[key]


def _read(database: Connection, where: str, parameters: list[Parameter]) -> NDArray[np.int64]:
    matching = windows.matching(where, windowed=windows.exist(database))
    # One long string is read in half the time that so many rows take.
    rows = database.read(f"SELECT group_concat(vector_id) FROM ({matching})", parameters)
    try:
        ids = np.sort(np.fromstring(rows[0][0] or "", dtype=np.int64, sep=","))
    except ValueError as error:
        raise StoreDamagedError(f"{database.path} is damaged: 'agentmem verify' lists what is damaged") from error
    ids = ids[np.diff(ids, prepend=0) > 0]  # a twentieth of what numpy.unique takes, which hashes them
    ids.flags.writeable = False
    return ids
