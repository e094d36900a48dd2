"""Work that overlaps: done in threads beside the caller's, with the results taken in the order the work was given.

Threads pay only where the caller waits for a model or a server: otherwise they take turns at Python's lock. So each
kind of work has a `Lane` that starts in the caller's thread and moves to a thread of its own once the pipeline waits.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Final, TypeVar, cast

AHEAD: Final = 2  # pieces of work that are under way at a time
_LOOK_EVERY_S: Final = 0.1

_T = TypeVar("_T")


class Lane:
    """Does one piece of work after the other: at once, or in a thread from the moment that `overlaps` says so."""

    def __init__(self, name: str, overlaps: Callable[[], bool]) -> None:
        self._overlaps = overlaps
        self._in_thread = False
        self._thread = ThreadPoolExecutor(1, f"agentmem-{name}")

    def __enter__(self) -> "Lane":
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    @property
    def in_thread(self) -> bool:
        """Whether the next piece is done in the thread. Once it is, all are: a later piece must not overtake one."""
        self._in_thread = self._in_thread or self._overlaps()
        return self._in_thread

    def move_to_thread(self) -> None:
        """From now on, does all in the thread."""
        self._in_thread = True

    def submit(self, work: Callable[[], _T]) -> "Future[_T]":
        """Does a piece of work, now or soon; the future has its result or its error."""
        if self.in_thread:
            return self._thread.submit(work)
        try:
            return done(work())
        except Exception as error:  # noqa: BLE001 - the caller gets it with the result, as from a thread
            failed: Future[_T] = Future()
            failed.set_exception(error)
            return failed


def done(result: _T) -> "Future[_T]":
    """A future that has its result."""
    future: Future[_T] = Future()
    future.set_result(result)
    return future


def drawn_ahead(items: Iterator[_T], lane: Lane) -> "Generator[Future[_T | None], None, None]":
    """The items, and None at their end; where the lane has a thread, it draws `AHEAD` of them before they are asked
    for."""
    drawn: deque[Future[_T | None]] = deque()
    try:
        while True:
            while len(drawn) < (AHEAD if lane.in_thread else 1):
                drawn.append(lane.submit(lambda: next(items, None)))
            yield drawn.popleft()
    finally:
        for future in drawn:
            future.cancel()
        wait(drawn)


class InOrder:
    """Work under way, whose results are passed on in the order in which it was added, in the caller's thread."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Future[object], Callable[[], None]]] = deque()

    def add(self, future: "Future[_T]", pass_on: Callable[[_T], None]) -> None:
        """Adds work whose result `pass_on` gets."""
        self._waiting.append((cast("Future[object]", future), lambda: pass_on(future.result())))

    def pass_on(self, most_waiting: int = AHEAD) -> None:
        """Passes on the results that are there, and waits for others while more than `most_waiting` are under way.

        Raises what the work raised.
        """
        while self._waiting:
            future, pass_on = self._waiting[0]
            if len(self._waiting) <= most_waiting and not future.done():
                return
            self._waiting.popleft()
            pass_on()

    def wait_for(self, coming: "Future[_T]") -> None:
        """Waits a moment for this or the next result, and passes on what is there."""
        awaited = [cast("Future[object]", coming), *(future for future, _ in list(self._waiting)[:1])]
        wait(awaited, timeout=_LOOK_EVERY_S, return_when=FIRST_COMPLETED)
        self.pass_on()
