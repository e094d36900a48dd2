"""Children that meet a faulty disk, run as `python -m tests.faults.child SCENARIO ...`: one JSON line a case."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from agentmem_cli import AgentMem
from agentmem_cli.errors import AgentMemError
from agentmem_cli.ingest.options import IngestOptions, Observer, Progress
from agentmem_cli.support import failpoints
from tests.fakes import FakeEmbedder
from tests.faults.shim import FaultyDisk, drop_root_powers
from tests.stores import embedded

DISK = FaultyDisk()


class _Acknowledgements(Observer):
    """Keeps the lines up to which all is said to be durable, in the log too."""

    def __init__(self) -> None:
        self.lines: list[int] = []

    def committed(self, progress: Progress) -> None:
        DISK.note(f"acknowledged {progress.position.line}")
        self.lines.append(progress.position.line)


@contextmanager
def _broken_after(nth: int, break_disk: Callable[[], None]) -> Iterator[None]:
    """Breaks the disk when the nth batch is durable, before the next is begun, or at once."""
    commits = 0

    def hook(step: str) -> None:
        nonlocal commits
        commits += step == "commit.done"
        if step == "commit.done" and commits == nth:
            break_disk()

    if nth == 0:
        break_disk()
    failpoints.hook = hook
    yield
    failpoints.hook = None


def _open(store: Path | str) -> AgentMem:
    return AgentMem(store, embedder=FakeEmbedder(), index="wait")


def _ingest(store: Path, file: str, batch: int, observer: _Acknowledgements) -> None:
    """Ingests and prints what came of it."""
    error: AgentMemError | None = None
    DISK.watch(str(store))
    try:
        with _open(store) as mem:
            mem.ingest([file], IngestOptions(batch_size=batch), observer)
    except AgentMemError as caught:
        error = caught
    DISK.watch("")
    DISK.heal()
    _print(store, error, acknowledged=observer.lines)


def _print(store: Path, error: AgentMemError | None, **more: object) -> None:
    kind, message = (type(error).__name__, str(error)) if error is not None else ("", "")
    print(json.dumps({"store": str(store), "error": kind, "message": message, **more}))


def full(folder: str, file: str, batch: str, nth: str, *budgets: str) -> None:
    """Ingests into a new store a budget of bytes: after the nth durable batch (or from the start) they are left."""
    for budget in map(int, budgets):
        with _broken_after(int(nth), partial(DISK.leave_space, budget)):
            _ingest(Path(folder) / f"space-{budget}", file, int(batch), _Acknowledgements())


def fsync(folder: str, file: str, batch: str, *failing: str) -> None:
    """Ingests into a new store a number: that fsync of the store's files, and all after it, fail."""
    for nth in map(int, failing):
        DISK.fail_sync(nth)
        _ingest(Path(folder) / f"fsync-{nth}", file, int(batch), _Acknowledgements())


def logged(store: str, file: str, batch: str) -> None:
    """Ingests, adds and deletes with nothing wrong; the log has the order of things."""
    DISK.watch(str(Path(store).parent))
    with _open(store) as mem:
        mem.ingest([file], IngestOptions(batch_size=int(batch)), _Acknowledgements())
        mem.add("one more")
        DISK.note("acknowledged add")
        mem.delete("0")
        DISK.note("acknowledged delete")


def publish(store: str, *budgets: str) -> None:
    """With so much space for files in the index folder, adds a memory and closes, which publishes a graph."""
    for budget in map(int, budgets):
        error: AgentMemError | None = None
        mem = _open(store)
        mem.add(f"added with {budget} bytes left", id=f"added-{budget}")
        DISK.watch(f"{store}/index/")
        DISK.leave_space(budget)
        try:
            mem.close()
        except AgentMemError as caught:
            error = caught
        DISK.watch("")
        _print(Path(store), error, files=sorted(path.name for path in Path(store).glob("index/*.hnsw")))


def unrecorded(store: str) -> None:
    """A graph is written, but the row that says so can't be; when it can be, the same process publishes it."""
    error: AgentMemError | None = None
    with _open(store) as mem:
        mem.add("before the disk breaks", id="before")
        DISK.watch(f"{store}/memories.db-wal")
        DISK.fail_sync(1)
        try:
            embedded(mem).refresh_graph()
        except AgentMemError as caught:
            error = caught
        DISK.heal()
        mem.add("after the disk is well", id="after")
        found = [hit.id for hit in mem.search("after the disk is well", 1)]
        published = embedded(mem).refresh_graph()
    _print(Path(store), error, found=found, published=published)


def recover(store: str, *budgets: str) -> None:
    """One writer: a batch fails for want of space (for a budget of -1: of an fsync), the next ones don't."""
    DISK.watch(store)
    with _open(store) as mem:
        mem.add("before the disk breaks", id="before")
        for budget in map(int, budgets):
            error: AgentMemError | None = None
            if budget < 0:
                DISK.fail_sync(1)
            else:
                DISK.leave_space(budget)
            try:
                mem.add_batch([{"text": f"in the batch {i} with {budget} left"} for i in range(100)])
            except AgentMemError as caught:
                error = caught
            found = [hit.text for hit in mem.search("in the batch")]
            DISK.heal()
            mem.add(f"after {budget}", id=f"after {budget}")
            texts = [memory.text for memory in mem.export()]
            _print(Path(store), error, found=found, texts=texts, findings=len(mem.verify()))


def search(store: str, fault: str, *queries: str) -> None:
    """Searches on a disk that is full, or read-only, or with no more rights than the files give to their owner."""
    error: AgentMemError | None = None
    found: list[list[str]] = []
    DISK.watch(store)
    if fault == "full":
        DISK.leave_space(0)
    elif fault == "read-only":
        DISK.make_read_only()
    else:
        drop_root_powers()
    try:
        with _open(store) as mem:
            found = [[hit.id for hit in mem.search(query)] for query in queries]
    except AgentMemError as caught:
        error = caught
    _print(Path(store), error, found=found)


def write(store: str, fault: str) -> None:
    """Every call that writes, on a disk that is read-only, or where the files are the owner's to read only."""
    DISK.watch(store)
    if fault == "read-only":
        DISK.make_read_only()
    else:
        drop_root_powers()
    calls: dict[str, Callable[[AgentMem], object]] = {
        "add": lambda mem: mem.add("new"),
        "delete": lambda mem: mem.delete("0"),
        "compact": AgentMem.compact,
        "repair": AgentMem.repair,
    }
    for name, call in calls.items():
        error: AgentMemError | None = None
        try:
            with _open(store) as mem:
                call(mem)
        except AgentMemError as caught:
            error = caught
        _print(Path(store), error, call=name)


def main(scenario: str, *arguments: str) -> None:
    scenarios: dict[str, Callable[..., None]] = {
        "full": full,
        "fsync": fsync,
        "logged": logged,
        "publish": publish,
        "unrecorded": unrecorded,
        "recover": recover,
        "search": search,
        "write": write,
    }
    scenarios[scenario](*arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
