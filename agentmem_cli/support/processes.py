"""Child processes: forks, and how to start a module of agentmem as a process.

A child of `os.fork` (multiprocessing, gunicorn, Celery) inherits locks, connections, threads and event loops that only
work in the process that made them. Objects with such state register here. In a child, `forget_parent` is called on each
before other code runs.
"""

import os
import sys
import weakref
from pathlib import Path
from typing import Final, Protocol


class Forked(Protocol):
    """An object whose state belongs to one process."""

    def forget_parent(self) -> None:
        """Called in a child: replaces inherited state without closing or changing it."""


_registered: Final[weakref.WeakSet[Forked]] = weakref.WeakSet()
_abandoned: Final[list[object]] = []


def tell_after_fork(forked: Forked) -> None:
    """Registers an object: its `forget_parent` is called in each child of this process while the object exists."""
    _registered.add(forked)


def abandon(*inherited: object) -> None:
    """Keeps inherited objects alive forever: closing them would affect the parent."""
    _abandoned.extend(inherited)


def _in_child() -> None:
    for forked in list(_registered):
        forked.forget_parent()


os.register_at_fork(after_in_child=_in_child)


# `python -m` searches the current folder first; -P prevents that, but only from Python 3.11 on. With -c, that folder is
# in the path as "", which is removed before anything is imported.
_RUN: Final = (
    "import sys; package, module, *sys.argv[1:] = sys.argv[1:]; sys.path[:] = [package, *filter(None, sys.path)]; "
    "import runpy; runpy.run_module(module, run_name='__main__', alter_sys=True)"
)


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of this installation with this Python and the user's PYTHONPATH."""
    isolated = ["-I"] if sys.flags.isolated else []
    return [sys.executable, *isolated, "-c", _RUN, str(Path(__file__).parents[2]), module, *arguments]
