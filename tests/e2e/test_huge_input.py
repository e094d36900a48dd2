"""Input that is larger than it should be costs no more memory than other input, and harms nothing beside it."""

import gzip
import json
import resource
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from agentmem_cli import AgentMem
from tests.e2e.conftest import Cli
from tests.fakes import FakeEmbedder

MAX_RESIDENT_BYTES: Final = 300_000_000
_PAGE_BYTES: Final = resource.getpagesize()
_MB: Final = b"x" * 1_000_000


def resident_bytes(pid: int) -> int:
    """What a process holds now, and 0 where the system does not say."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0


def feed(process: "subprocess.Popen[bytes]", pieces: Iterator[bytes]) -> int:
    """Writes all pieces to a process, closes its input, and returns the most memory that it was seen to hold."""
    assert process.stdin is not None
    most = 0
    for piece in pieces:
        process.stdin.write(piece)
        most = max(most, resident_bytes(process.pid))
    process.stdin.close()
    return most


def watch(process: "subprocess.Popen[bytes]") -> int:
    """Waits for the end of a process, and returns the most memory that it was seen to hold."""
    most = 0
    while process.poll() is None:
        most = max(most, resident_bytes(process.pid))
        time.sleep(0.01)
    return most


def finish(process: "subprocess.Popen[bytes]") -> tuple[int, bytes, bytes]:
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout as stdout, process.stderr as stderr:
        out, err = stdout.read(), stderr.read()
    return process.wait(), out, err


def line(text: str, **fields: object) -> bytes:
    return json.dumps({"text": text, **fields}).encode() + b"\n"


@pytest.fixture
def known(agentmem: Cli) -> str:
    """A store that knows the texts "before" and "after", by a model that is never asked."""
    with AgentMem(agentmem.folder / "store", embedder=FakeEmbedder()) as mem:
        mem.add("before", id="1")
        mem.add("after", id="2")
    return "store"


@pytest.mark.parametrize(
    ("head", "tail"), [(b'{"text":"', b'"}\n'), (b"", b"\n"), (b'{"text":"', b"")], ids=["memory", "junk", "cut off"]
)
def test_a_line_of_hundreds_of_megabytes_is_rejected_and_the_lines_around_it_are_stored(
    agentmem: Cli, known: str, head: bytes, tail: bytes
) -> None:
    megabytes = 400 if head and tail else 100  # more than the process may hold
    before, after = line("before", id="3"), line("after", id="4") if tail else b""
    process = agentmem.start("ingest", "-", "--store", known, "--json", "--progress", "none")
    most = feed(process, iter([before, head, *[_MB] * megabytes, tail, after]))
    exit_code, out, err = finish(process)
    report = json.loads(out)
    assert exit_code == 3
    assert (report["read"], report["added"], report["rejected"]) == (2 + bool(after), 1 + bool(after), 1)
    assert err == b"<stdin>:2: rejected: line is longer than 1000000 bytes\n"
    assert 0 < most < MAX_RESIDENT_BYTES
    with AgentMem(agentmem.folder / known, create=False) as mem:
        assert [memory.id for memory in mem.export()] == ["1", "2", "3", *(["4"] if after else [])]
        assert mem.verify() == []


def test_millions_of_blank_lines_are_nothing(agentmem: Cli, known: str) -> None:
    process = agentmem.start("ingest", "-", "--store", known, "--json", "--progress", "none")
    most = feed(process, iter([line("before", id="3"), *[b" \r\n" * 300_000] * 10, line("after", id="4")]))
    exit_code, out, _ = finish(process)
    report = json.loads(out)
    assert (exit_code, report["read"], report["added"]) == (0, 2, 2)
    assert 0 < most < MAX_RESIDENT_BYTES


@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]])
def test_a_gzip_bomb_is_refused_in_a_clear_line(agentmem: Cli, known: str, dry_run: list[str]) -> None:
    with gzip.open(agentmem.folder / "bomb.jsonl.gz", "wb") as stream:
        stream.write(line("before", id="3"))
        for _ in range(100):
            stream.write(_MB)
    process = agentmem.start("ingest", "bomb.jsonl.gz", "--store", known, "--progress", "none", *dry_run)
    most = watch(process)
    exit_code, out, err = finish(process)
    assert (exit_code, out) == (1, b"")
    (said,) = err.splitlines()
    assert said.startswith(b"agentmem: error: bomb.jsonl.gz: this gzip file expands to more than 200 times its size")
    assert 0 < most < MAX_RESIDENT_BYTES
    assert agentmem("verify", "--store", known).exit_code == 0


def test_a_hundred_thousand_lines_are_taken_in_again_within_bounded_memory(agentmem: Cli, known: str) -> None:
    def memories() -> Iterator[bytes]:
        for start in range(0, 100_000, 1000):
            rows = range(start, start + 1000)
            yield b"".join(line("before", id=f"n{i}", metadata={"n": i}) for i in rows)

    for expected in ("added", "unchanged"):
        process = agentmem.start("ingest", "-", "--store", known, "--json", "--progress", "none")
        most = feed(process, memories())
        exit_code, out, err = finish(process)
        report = json.loads(out)
        assert (exit_code, err) == (0, b"")
        assert (report["read"], report[expected]) == (100_000, 100_000)
        assert 0 < most < MAX_RESIDENT_BYTES


@pytest.mark.parametrize("text", [b"[" * 900_000, b'{"a":' * 180_000, b'{"text":"' + b"\\u0000" * 160_000 + b'"}'])
def test_a_line_within_the_limit_may_be_as_odd_as_it_likes(agentmem: Cli, known: str, text: bytes) -> None:
    odd = line("before", id="3") + text + b"\n" + line("after", id="4")
    result = agentmem("ingest", "-", "--store", known, "--json", "--dry-run", "--progress", "none", stdin=odd)
    report = result.json()
    assert (report["read"], report["added"] + report["rejected"]) == (3, 3)
    assert result.exit_code == (3 if report["rejected"] else 0)
    assert len(result.stderr) < 1000
