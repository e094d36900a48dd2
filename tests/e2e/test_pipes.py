"""Inputs that come slowly, or not at all: what has come is stored soon, and a signal ends the wait."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Final

import pytest

from agentmem_cli import AgentMem
from tests.e2e.conftest import TIMEOUT_S, Cli, jsonl
from tests.fakes import FakeEmbedder

_SIGNALS: Final = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
_OPTIONS: Final = ("--store", "store", "--progress", "jsonl", "--json")


@pytest.fixture(autouse=True)
def _known(agentmem: Cli) -> None:
    """A store that knows the text "known", by a model that is never asked."""
    with AgentMem(agentmem.folder / "store", embedder=FakeEmbedder()) as mem:
        mem.add("known", id="first")


@pytest.fixture
def fifo(agentmem: Cli) -> Path:
    path = agentmem.folder / "fifo"
    os.mkfifo(path)
    return path


def _memories(first: int, count: int) -> bytes:
    return jsonl(*({"id": f"m{i}", "text": "known"} for i in range(first, first + count)))


def _stored(agentmem: Cli) -> int:
    with AgentMem(agentmem.folder / "store", create=False) as mem:
        assert mem.verify() == []
        return len(mem) - 1


def _committed(process: "subprocess.Popen[bytes]") -> dict[str, Any]:
    """The next commit that a process tells of; waits for it."""
    assert process.stderr is not None
    row: dict[str, Any] = json.loads(process.stderr.readline())
    assert row["event"] == "committed"
    return row


def _ended(process: "subprocess.Popen[bytes]") -> tuple[int, bytes, bytes]:
    out, err = process.communicate(timeout=TIMEOUT_S)
    return process.returncode, out, err


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells when a process has opened a file")
@pytest.mark.parametrize("command", [("ingest",), ("search", "--queries")], ids=" ".join)
@pytest.mark.parametrize(("signal_number", "exit_code"), _SIGNALS)
def test_a_signal_ends_the_wait_for_a_fifo_that_nobody_writes_to(
    agentmem: Cli, fifo: Path, signal_number: signal.Signals, exit_code: int, command: tuple[str, ...]
) -> None:
    process = agentmem.start(*command, fifo, "--store", "store")
    while not _has_open(process, fifo) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal_number)
    assert _ended(process)[0] == exit_code


def _has_open(process: "subprocess.Popen[bytes]", path: Path) -> bool:
    try:
        links = [link.readlink() for link in Path(f"/proc/{process.pid}/fd").iterdir()]
    except OSError:
        return False
    return path in links


@pytest.mark.parametrize(("signal_number", "exit_code"), _SIGNALS)
def test_a_signal_ends_the_wait_for_more_of_a_fifo_and_keeps_what_came(
    agentmem: Cli, fifo: Path, signal_number: signal.Signals, exit_code: int
) -> None:
    process = agentmem.start("ingest", fifo, *_OPTIONS, "--batch-size", "10")
    with fifo.open("wb") as stream:
        stream.write(_memories(0, 15) + b'{"text": "cut o')
        stream.flush()
        assert _committed(process)["memories"] == 10
        assert _committed(process)["memories"] == 15
        process.send_signal(signal_number)
        code, _, err = _ended(process)
    assert code == exit_code
    assert err == b"agentmem: stopped: 15 memories are stored; run the same command again to continue\n"
    assert _stored(agentmem) == 15


def test_a_fifo_whose_writer_comes_late_is_read_to_its_end(agentmem: Cli, fifo: Path) -> None:
    process = agentmem.start("ingest", fifo, *_OPTIONS)
    time.sleep(0.5)  # it has long tried to read
    with fifo.open("wb") as stream:
        stream.write(_memories(0, 15))
    code, out, _ = _ended(process)
    assert (code, json.loads(out)["added"]) == (0, 15)


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="there is no /dev/fd")
def test_what_a_shell_passes_as_a_file_is_read_to_its_end(agentmem: Cli) -> None:
    script = f"{sys.executable} -m agentmem_cli ingest <(cat lines) <(cat empty) --store store --json --progress none"
    (agentmem.folder / "lines").write_bytes(_memories(0, 5000))
    (agentmem.folder / "empty").touch()
    done = subprocess.run(
        ["bash", "-c", script], cwd=agentmem.folder, env=agentmem._environment(None), capture_output=True, timeout=60
    )
    assert (done.returncode, json.loads(done.stdout)["added"]) == (0, 5000)


def _plain() -> Callable[[bytes], bytes]:
    return bytes


def _gzip() -> Callable[[bytes], bytes]:
    compressor = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    return lambda data: compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)


@pytest.fixture(params=["stdin", "fifo"])
def slow(request: pytest.FixtureRequest, agentmem: Cli) -> Iterator[tuple["subprocess.Popen[bytes]", IO[bytes], str]]:
    """An ingest that waits for its input, where that is written, and its name."""
    with ExitStack() as stack:
        if request.param == "stdin":
            process = agentmem.start("ingest", "-", *_OPTIONS)
            assert process.stdin is not None
            yield process, process.stdin, "<stdin>"
        else:
            fifo: Path = request.getfixturevalue("fifo")
            process = agentmem.start("ingest", fifo, *_OPTIONS)
            yield process, stack.enter_context(fifo.open("wb", buffering=0)), str(fifo)


@pytest.mark.parametrize("pack", [_plain, _gzip])
def test_what_a_slow_writer_has_written_is_durable_before_its_batch_is_full(
    agentmem: Cli,
    slow: tuple["subprocess.Popen[bytes]", IO[bytes], str],
    pack: Callable[[], Callable[[bytes], bytes]],
) -> None:
    process, stream, name = slow
    packed = pack()
    stream.write(packed(_memories(0, 3) + b'\nnot a memory\n{"id": "m3", "te'))
    stream.flush()
    assert process.stderr is not None
    assert json.loads(process.stderr.readline())["event"] == "message"
    assert _committed(process) == {"event": "committed", "file": name, "line": 5, "memories": 3}
    assert _stored(agentmem) == 3
    stream.write(packed(b'xt": "known"}\n') + packed(_memories(4, 2)))
    stream.flush()
    assert _committed(process)["line"] == 8
    assert _stored(agentmem) == 6
    process.send_signal(signal.SIGTERM)
    assert _ended(process)[0] == 143


def test_a_slow_input_ends_complete(agentmem: Cli) -> None:
    process = agentmem.start("ingest", "-", *_OPTIONS)
    assert process.stdin is not None
    process.stdin.write(_memories(0, 3))
    process.stdin.flush()
    assert _committed(process)["line"] == 3
    out, err = process.communicate(_memories(3, 4), TIMEOUT_S)
    assert json.loads(err.splitlines()[-1])["line"] == 7
    report = json.loads(out)
    assert (process.returncode, report["read"], report["added"]) == (0, 7, 7)
    with AgentMem(agentmem.folder / "store", create=False) as mem:
        position = mem._store.position("<stdin>")
    assert position is not None
    assert (position.line, position.complete) == (7, True)


def test_a_user_may_have_a_pipe_wait_for_full_batches(agentmem: Cli) -> None:
    process = agentmem.start("ingest", "-", *_OPTIONS, "--flush-interval", "1000")
    assert process.stdin is not None
    process.stdin.write(_memories(0, 3))
    process.stdin.flush()
    time.sleep(1.5)
    _, err = process.communicate(_memories(3, 4), TIMEOUT_S)
    assert [json.loads(line)["line"] for line in err.splitlines()] == [7]


def test_with_no_interval_what_has_come_is_stored_at_once(agentmem: Cli) -> None:
    process = agentmem.start("ingest", "-", *_OPTIONS, "--flush-interval", "0")
    assert process.stdin is not None
    for number in range(3):
        process.stdin.write(_memories(number, 1))
        process.stdin.flush()
        assert _committed(process)["line"] == number + 1
    assert _ended(process)[0] == 0


def test_a_gzip_file_on_a_pipe_is_read_to_its_end(agentmem: Cli) -> None:
    packed = gzip.compress(_memories(0, 2000)) + gzip.compress(_memories(2000, 500))
    result = agentmem("ingest", "-", "--store", "store", "--json", "--progress", "none", stdin=packed)
    assert (result.exit_code, result.json()["added"]) == (0, 2500)


@pytest.mark.parametrize("interval", ["-1", "nan", "soon"])
def test_an_interval_that_is_no_time_is_a_usage_error(agentmem: Cli, interval: str) -> None:
    result = agentmem("ingest", "-", "--store", "store", "--flush-interval", interval)
    assert result.exit_code == 2
    assert "interval" in result.error()
