"""Commands on a terminal of 60, 80 and 120 columns: no line is wider, and a bar moves while texts are embedded."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.conftest import MEMORIES, TIMEOUT_S

ROWS = 50
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("terminal")


def on_terminal(folder: Path, columns: int, arguments: Sequence[str | Path], **variables: str) -> str:
    """What a command writes to a terminal, where both its outputs go."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "agentmem_cli", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
        cwd=folder,
        env={**environment, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **variables},
        start_new_session=True,
    )
    os.close(terminal)
    written = bytearray()
    with suppress(OSError):  # Linux: the terminal is closed
        while part := os.read(controller, 65536):
            written += part
    os.close(controller)
    assert process.wait(TIMEOUT_S) == 0, written.decode()
    return written.decode()


def widest(written: str) -> int:
    """The columns of the longest line as it is drawn, without what moves the cursor; all characters are narrow here."""
    return max(len(CONTROL.sub("", line).rstrip()) for line in re.split(r"[\r\n]+", written))


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_an_ingest_a_search_and_a_benchmark_fit_the_terminal(folder: Path, static_models: Path, columns: int) -> None:
    def shown(*arguments: str | Path) -> str:
        return on_terminal(folder, columns, arguments, FASTEMBED_CACHE_PATH=str(static_models))

    store, model = ("--store", f"store-{columns}"), ("--model", "minilm-static")
    ingest = shown("ingest", MEMORIES, *store, *model)
    search = shown("search", "What is Maya allergic to?", "--explain", *store)
    bench = shown("bench", "--sizes", "10,20", "--singles", "10", "--repeats", "1", "--warmup", "0", *model)
    assert "Ingested" in ingest
    assert "cashews" in search
    assert "ops/s" in bench
    assert [widest(written) <= columns for written in (ingest, search, bench)] == [True, True, True]


def test_a_bar_moves_and_tells_the_time_left_before_the_first_commit(folder: Path) -> None:
    lines = [f'{{"text": "memory number {i} about a river, a boat and a very long journey"}}\n' for i in range(200)]
    (folder / "many.jsonl").write_text("".join(lines), encoding="utf-8")
    written = on_terminal(folder, 100, ["ingest", "many.jsonl", "--store", "many"], AGENTMEM_THREADS="1")
    shares = {int(share) for share in re.findall(r"(\d+)%", CONTROL.sub("", written).partition("Ingested")[0])}
    assert shares & set(range(1, 100))  # there is one commit, at the end
    assert " left" in written
