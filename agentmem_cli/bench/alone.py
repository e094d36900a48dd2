"""A model measured in a process of its own, where nothing is loaded yet and the memory is its own."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

import msgspec

from agentmem_cli.bench.growth import Doing, Growth, GrowthItem, grow_here
from agentmem_cli.bench.result import ColdStart, Retrieval, StorePoint
from agentmem_cli.embedding.base import Device, Embedder, EmbedderSpec
from agentmem_cli.errors import AgentMemError, StoreError
from agentmem_cli.support.processes import module_command


@dataclass(frozen=True, slots=True)
class How:
    """Which model to load, and how it runs."""

    stored_spec: dict[str, str | int]
    threads: int | None = None
    device: Device = "cpu"
    embedder_url: str | None = None


def how(spec: EmbedderSpec, threads: int | None, device: Device, embedder_url: str | None) -> How:
    """The same for a spec."""
    return How(spec.stored(), threads, device, embedder_url)


@dataclass(frozen=True, slots=True)
class _Task:
    started_at_s: float
    how: How
    growth: Growth


@dataclass(frozen=True, slots=True)
class _Message:
    cold_start: ColdStart | None = None
    store: StorePoint | None = None
    retrieval: Retrieval | None = None
    doing: Doing | None = None

    @classmethod
    def of(cls, item: GrowthItem) -> "_Message":
        """An item in its place."""
        if isinstance(item, Doing):
            return cls(doing=item)
        if isinstance(item, ColdStart):
            return cls(cold_start=item)
        return cls(store=item) if isinstance(item, StorePoint) else cls(retrieval=item)

    @property
    def item(self) -> GrowthItem | None:
        """What is in its place."""
        return self.cold_start or self.store or self.retrieval or self.doing


def grow_alone(how: How, growth: Growth) -> Iterator[GrowthItem]:
    """`grow_here` in a new process, which like it waits after an item until the next is asked for.

    Raises StoreError with what that process said.
    """
    command = module_command("agentmem_cli.bench.alone")
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said) as process,
    ):
        try:
            yield from _talk(process, _Task(time.time(), how, growth))
        except BaseException:
            process.kill()
            raise
        if process.wait() != 0:
            said.seek(0)
            last = said.read().decode(errors="replace").strip().rpartition("\n")[2]
            raise StoreError(f"benchmark: the process that measures {how.stored_spec['name']} alone ended: {last}")


def _talk(process: "subprocess.Popen[bytes]", task: _Task) -> Iterator[GrowthItem]:
    assert process.stdin is not None
    assert process.stdout is not None
    _send(process.stdin, msgspec.json.encode(task))
    for line in process.stdout:
        item = msgspec.json.decode(line, type=_Message).item
        if item is not None:
            yield item
        _send(process.stdin, b"")


def _send(stdin: IO[bytes], line: bytes) -> None:
    with suppress(BrokenPipeError):  # it has ended, and says why
        stdin.write(line + b"\n")
        stdin.flush()


def _main() -> None:
    task = msgspec.json.decode(sys.stdin.buffer.readline(), type=_Task)
    process_s = time.time() - task.started_at_s

    def load() -> Embedder:
        from agentmem_cli.embedding import catalog

        spec, how = EmbedderSpec.from_stored(task.how.stored_spec), task.how
        return catalog.load(spec, how.threads, how.device, embedder_url=how.embedder_url)

    try:
        for item in grow_here(load, task.growth, process_s):
            sys.stdout.buffer.write(msgspec.json.encode(_Message.of(item)) + b"\n")
            sys.stdout.buffer.flush()
            sys.stdin.buffer.readline()
    except AgentMemError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:  # who started this process has been told too
        sys.exit(130)


if __name__ == "__main__":
    _main()
