"""Child processes: what a forked one must not share with its parent, and how one of our own modules is started.

A child of `os.fork` (multiprocessing, gunicorn, Celery) inherits locks, connections, threads and event loops that only
work in the process that made them. Each registers here, and forgets its parent before the child runs any other line.
"""

import os
import sys
import weakref
from pathlib import Path
from typing import Final, Protocol


class Forked(Protocol):
    """Something that holds what belongs to one process."""

    def forget_parent(self) -> None:
        """Called in a child: lets go of what the parent holds, without touching it, and starts afresh."""


_registered: Final[weakref.WeakSet[Forked]] = weakref.WeakSet()
_abandoned: Final[list[object]] = []


def tell_after_fork(forked: Forked) -> None:
    """Has `forked.forget_parent` called in each child that this process forks while the object lives."""
    _registered.add(forked)


def abandon(*inherited: object) -> None:
    """Keeps what a child inherited from ever being closed: that would reach into the parent."""
    _abandoned.extend(inherited)


def _in_child() -> None:
    for forked in list(_registered):
        forked.forget_parent()


os.register_at_fork(after_in_child=_in_child)


# `python -m` would look for every module in the current folder first; -P, which prevents that, is new in Python 3.11.
# With -c that folder stands in the path as "", which is taken out before anything is imported.
_RUN: Final = (
    "import sys; package, module, *sys.argv[1:] = sys.argv[1:]; sys.path[:] = [package, *filter(None, sys.path)]; "
    "import runpy; runpy.run_module(module, run_name='__main__', alter_sys=True)"
)


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of this agentmem, under this Python and with the user's PYTHONPATH."""
    isolated = ["-I"] if sys.flags.isolated else []
    return [sys.executable, *isolated, "-c", _RUN, str(Path(__file__).parents[2]), module, *arguments]
