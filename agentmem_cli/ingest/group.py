"""Group commit: what several threads add at the same time becomes durable in one transaction."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Final, NamedTuple, TypeAlias

from agentmem_cli.errors import AgentMemError
from agentmem_cli.records.memory import BatchResult, Memory, Outcome

# Beyond these, a larger group would save little per memory, and its first callers would wait for its last.
MOST_MEMORIES: Final = 256
MOST_CHARS: Final = 1_000_000
LOOK_EVERY_S: Final = 1.0
_MOMENT_S: Final = 50e-6


class How(NamedTuple):
    """How memories are added: see `AgentMem.add`."""

    chunk: bool = False
    replace: bool = False


@dataclass(eq=False, slots=True)
class Call:
    """One caller's memories, and what became of them."""

    memories: Sequence[Memory]
    how: How
    outcomes: Sequence[Outcome] | None = None
    error: AgentMemError | None = None
    alone: bool = False  # a group with it has failed
    woken: "SimpleQueue[None]" = field(default_factory=SimpleQueue)

    @property
    def is_done(self) -> bool:
        """Whether its memories are durable, or refused."""
        return self.outcomes is not None or self.error is not None

    @property
    def chars(self) -> int:
        """The length of its texts."""
        return sum(len(memory.text) for memory in self.memories)

    def result(self) -> BatchResult:
        """The result of a call that is done. Raises AgentMemError where it was refused."""
        if self.error is not None:
            raise self.error
        outcomes = self.outcomes or ()
        counts = (outcomes.count("added"), outcomes.count("updated"), outcomes.count("unchanged"))
        return BatchResult([memory.id for memory in self.memories], *counts)


Commit: TypeAlias = Callable[[Sequence[Memory], How], Sequence[Outcome]]


class GroupCommit:
    """Gathers the calls of all threads, and commits those that wait in groups, in order of arrival.

    The thread whose call is first commits for itself and for those behind it, up to MOST_MEMORIES and MOST_CHARS; the
    others wait for it. Calls that come during a commit are the next group; a thread that adds alone waits for no other.
    A call larger than a group is a group of its own, and only calls of the same `how` share one.

    Each call has the result that it would have after those before it. Where a group fails, its calls are committed one
    by one, so that an error reaches the call that caused it, and no other. A thread that an exception interrupts leaves
    the calls of the others to the next.
    """

    # Only the deque is shared, by operations that no other thread and no signal handler can see half done. A call stays
    # in it until it is done: whatever stops a thread between two lines, the others find their calls still there.

    def __init__(self, turn: threading.RLock, commit: Commit) -> None:
        """`commit` makes memories durable, all or none, for a thread that holds the `turn`. It says what became
        of each, and raises AgentMemError."""
        self._turn = turn
        self._holder = threading.Condition(turn)  # tells whether a thread holds the turn
        self._commit = commit
        self._waiting: deque[Call] = deque()
        self._latest = 0  # calls in the latest group

    def commit(self, calls: Sequence[Call]) -> None:
        """Returns when all calls are done, each with its own outcome.

        Any exception but AgentMemError, such as KeyboardInterrupt, leaves these calls: they may have been committed.
        """
        if self._holds_turn():  # called back by what has the turn, such as an observer: nobody else can commit
            for call in calls:
                self._run([call])
            return
        self._waiting.extend(calls)
        try:
            for call in calls:
                self._finish(call)
        except BaseException:
            for call in calls:
                self._remove(call)
            self._wake_first()
            raise

    def commit_waiting(self) -> None:
        """Commits all that waits now, for a thread that holds the turn."""
        for call in self._waiting.copy():
            while call in self._waiting:  # until it is done, or its thread has left
                self._commit_group()

    def _finish(self, call: Call) -> None:
        while not call.is_done:
            if self._is_first(call) or not _is_woken(call):
                with self._turn:
                    if not call.is_done:
                        self._commit_group()

    def _commit_group(self) -> None:
        self._let_callers_return()
        group = self._first_group()
        if not group:
            return  # the thread of the only call has left
        self._latest = len(group)
        try:
            self._run(group)
        finally:
            for call in group:
                if call.is_done:
                    self._remove(call)
                    call.woken.put(None)
            self._wake_first()

    def _let_callers_return(self) -> None:
        """Gives the callers of the latest group, which were just woken, time to come with their next call.

        Otherwise the first of them would commit alone while the others wait. Ends when none came within a moment.
        """
        before = 0
        while before < len(self._waiting) < self._latest:
            before = len(self._waiting)
            time.sleep(_MOMENT_S)

    def _run(self, group: Sequence[Call]) -> None:
        """Commits a group; where that fails, its calls are no longer grouped."""
        try:
            outcomes = self._commit([memory for call in group for memory in call.memories], group[0].how)
        except BaseException as error:
            if len(group) == 1 and isinstance(error, AgentMemError):
                group[0].error = error
                return
            for call in group:
                call.alone = True
            if not isinstance(error, AgentMemError):
                raise
        else:
            start = 0
            for call in group:
                call.outcomes = outcomes[start : start + len(call.memories)]
                start += len(call.memories)

    def _first_group(self) -> list[Call]:
        group: list[Call] = []
        memories = chars = 0
        for call in self._waiting.copy():
            memories += len(call.memories)
            if group and (call.how != group[0].how or memories > MOST_MEMORIES):
                break
            chars += call.chars
            if group and chars > MOST_CHARS:
                break
            group.append(call)
            if call.alone:
                break
        return group

    def _holds_turn(self) -> bool:
        try:
            self._holder.notify(0)
        except RuntimeError:
            return False
        return True

    def _is_first(self, call: Call) -> bool:
        try:
            return self._waiting[0] is call
        except IndexError:
            return False

    def _remove(self, call: Call) -> None:
        with suppress(ValueError):
            self._waiting.remove(call)

    def _wake_first(self) -> None:
        with suppress(IndexError):
            self._waiting[0].woken.put(None)


def _is_woken(call: Call) -> bool:
    """Waits until the call is done or first; False after a second without a word: then its thread looks itself."""
    try:
        call.woken.get(timeout=LOOK_EVERY_S)
    except Empty:
        return False
    return True
