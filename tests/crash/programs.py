"""What the children do: each program notes what is durable, and where it is, outside the store."""

import itertools
import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from agentmem_cli import AgentMem
from agentmem_cli.ingest.options import IngestOptions, Observer, Progress
from agentmem_cli.store.embedded.database import GraphRow
from agentmem_cli.store.embedded.graph import Graph
from agentmem_cli.support import failpoints
from tests.crash.inputs import embedder, other, text_of
from tests.stores import embedded

Note = Callable[[str], None]


def warm_up() -> None:
    """Loads what the programs need, once for all children."""
    embedder()
    other()


class _Acknowledging(Observer):
    """Notes every durable batch, and brings the graph up to date after every few."""

    def __init__(self, mem: AgentMem, note: Note, graph_every: int, ack_file: str = "") -> None:
        self._mem, self._note, self._graph_every = mem, note, graph_every
        self._file = os.open(ack_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) if ack_file else None
        self._commits = 0

    def committed(self, progress: Progress) -> None:
        line = progress.position.line
        if self._file is not None:
            os.write(self._file, f"{line}\n".encode())  # before the note: a test that waits for the note reads the file
        self._note(f"durable {line}")
        self._commits += 1
        if self._commits % self._graph_every == 0:
            self._note("graph")
            embedded(self._mem).refresh_graph(min_tail=50)
            self._note("graph ended")


def ingest(note: Note, store: str, file: str, batch: int, graph_every: int, ack_file: str = "") -> None:
    """Takes a file in."""
    _note_publications(note)
    note("opening")
    with AgentMem(store, embedder=embedder(), index="wait") as mem:
        mem.open()
        embedded(mem).refresh_graph(min_tail=50)
        note("opened")
        mem.ingest([file], IngestOptions(batch_size=batch), _Acknowledging(mem, note, graph_every, ack_file))
    note("ended")


def add_from_threads(note: Note, store: str, threads: int) -> None:
    """Adds memories from many threads until it is killed; notes each once its add has returned."""
    with AgentMem(store, embedder=embedder(), index="off") as mem:

        def work(first: int) -> None:
            for number in itertools.count(first, threads):
                mem.add(text_of(number), id=f"m{number}", user_id="ana")
                note(str(number))

        started = [threading.Thread(target=work, args=(first,)) for first in range(threads)]
        for thread in started:
            thread.start()
        for thread in started:
            thread.join()


def _note_publications(note: Note) -> None:
    publish = Graph.publish

    def noted(graph: Graph, folder: Path, generation: int) -> GraphRow:
        note("publishing")
        return publish(graph, folder, generation)

    Graph.publish = noted  # type: ignore[method-assign, assignment]


def _kill_at(note: Note, step: str, occurrence: int) -> None:
    left = [occurrence]

    def hook(reached: str) -> None:
        if reached == step:
            left[0] -= 1
            if left[0] == 0:
                note(f"reached {step}")
                os.kill(os.getpid(), signal.SIGKILL)

    failpoints.hook = hook


def _stop_at_every_step(note: Note) -> None:
    def hook(reached: str) -> None:
        note(f"at {reached}")
        note("stopping")
        os.kill(os.getpid(), signal.SIGSTOP)

    failpoints.hook = hook


def create(note: Note, store: str, step: str, occurrence: int) -> None:
    """Makes a store, and is killed at a step of it."""
    _kill_at(note, step, occurrence)
    AgentMem(store, embedder=embedder(), index="wait").open()


def commit(note: Note, store: str, file: str, batch: int, step: str, occurrence: int) -> None:
    """Takes a file in, and is killed at a step of a batch."""
    with AgentMem(store, embedder=embedder(), index="wait") as mem:
        _kill_at(note, step, occurrence)
        mem.ingest([file], IngestOptions(batch_size=batch), _Acknowledging(mem, note, graph_every=1_000_000))


def publish(note: Note, store: str, first: int, adds: int, step: str, occurrence: int) -> None:
    """Adds memories and publishes a graph of all, twice, and is killed at a step of a publication."""
    with AgentMem(store, embedder=embedder(), index="wait") as mem:
        _kill_at(note, step, occurrence)
        for start in (first, first + adds):
            numbers = range(start, start + adds)
            mem.add_batch([{"id": f"m{number}", "text": text_of(number)} for number in numbers])
            note(f"durable {start + adds - 1}")
            embedded(mem).refresh_graph(min_tail=1)
            note("published")


def delete(note: Note, store: str, first: Sequence[str], second: Sequence[str], step: str, occurrence: int) -> None:
    """Removes memories, then others, and is killed at a step of it."""
    with AgentMem(store, embedder=embedder(), index="wait") as mem:
        _kill_at(note, step, occurrence)
        for ids in (first, second):
            mem.delete(*ids)
            note("deleted")


def reembed(note: Note, store: str, step: str, occurrence: int) -> None:
    """Gives all memories vectors of another embedder, and is killed at a step of it."""
    with AgentMem(store, embedder=embedder(), index="wait") as mem:
        _kill_at(note, step, occurrence)
        mem.reembed(embedder=other(), on_progress=lambda texts: note(f"staged {texts}"))


def compact(note: Note, store: str, step: str, occurrence: int) -> None:
    """Shrinks the store, twice, and is killed at a step of it."""
    with AgentMem(store, embedder=embedder(), index="wait") as mem:
        _kill_at(note, step, occurrence)
        mem.compact()
        mem.compact()


def reembed_stopping(note: Note, store: str) -> None:
    """Gives all memories vectors of another embedder, and stops at every step until it is told to go on."""
    with AgentMem(store, embedder=embedder(), index="wait") as mem:
        _stop_at_every_step(note)
        mem.reembed(embedder=other())
        failpoints.hook = None


def compact_stopping(note: Note, store: str) -> None:
    """Shrinks the store, and stops at every step until it is told to go on."""
    with AgentMem(store, embedder=embedder(), index="wait") as mem:
        _stop_at_every_step(note)
        mem.compact()
        failpoints.hook = None


def hold(note: Note, store: str, number: int) -> None:
    """Adds a memory, keeps the lock while it is stopped, then adds another."""
    with AgentMem(store, embedder=embedder(), index="wait") as mem:
        mem.add(text_of(number), id=f"m{number}")
        note("stopping")
        os.kill(os.getpid(), signal.SIGSTOP)
        mem.add(text_of(number + 1), id=f"m{number + 1}")
    note("ended")


def search(note: Note, store: str, ack_file: str, searches: int) -> None:
    """Searches for memories that were acknowledged before; counts and finds are noted."""
    with AgentMem(store, embedder=embedder(), create=False) as mem:
        for _ in range(searches):
            note(search_once(mem, Path(ack_file)))


def search_once(mem: AgentMem, ack_file: Path) -> str:
    """Looks for the newest memory that was acknowledged before: how many there were, are, and whether it was found."""
    acknowledged = int(ack_file.read_bytes().splitlines()[-1])
    number = acknowledged if acknowledged % 5 else acknowledged - 1
    hits = mem.search(text_of(number), 3)
    return f"searched {acknowledged} {len(mem)} {hits[0].id == f'm{number}'}"


def split(note: Note, store: str, file: str, batch: int, step: str, occurrence: int) -> None:
    """Takes long memories in, each in chunks, and is killed at a step of a commit."""
    with AgentMem(store, embedder=embedder(), index="off") as mem:
        mem.open()
        _kill_at(note, step, occurrence)
        mem.ingest([file], IngestOptions(batch_size=batch, chunk=True))
