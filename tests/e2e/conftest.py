"""The command line, in a folder of its own, with an environment of its own and no network.

Most commands run in this process, which saves the start: that shows all but what a process has of its own, such as
signals, pipes and memory. For these there are `process` and `start`.
"""

import gc
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import pytest

from agentmem_cli.bench import machine
from agentmem_cli.cli.main import run
from agentmem_cli.embedding import catalog
from agentmem_cli.embedding.base import Embedder, EmbedderSpec
from agentmem_cli.embedding.catalog import STATIC_MODEL
from agentmem_cli.embedding.choice import ModelChoice
from tests.tiny_models import static_spec

EXAMPLES: Final = Path(__file__).parents[2] / "examples"
MEMORIES: Final = EXAMPLES / "memories.jsonl"
TIMEOUT_S: Final = 60
_KEPT_VARIABLES: Final = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "MPLCONFIGDIR")


@dataclass(frozen=True)
class Result:
    """What a finished command left."""

    exit_code: int
    stdout: str
    stderr: str

    def json(self) -> Any:  # noqa: ANN401 - the tests say what it is
        """The JSON value on stdout."""
        assert self.stdout, self.stderr
        return json.loads(self.stdout)

    def error(self) -> str:
        """The error, after a check that it is one line on stderr, and all there is."""
        assert self.stdout == ""
        (line,) = self.stderr.splitlines()
        assert line.startswith("agentmem: error: ")
        return line.removeprefix("agentmem: error: ")


@dataclass(frozen=True)
class Cli:
    """Runs agentmem in a folder, with the model cache that all tests share or one of its own.

    Commands of one process share the default model once it is loaded, unless variables are given, and benchmarks among
    them don't measure the machine's arithmetic.
    """

    folder: Path
    models: Path | None = None

    def __call__(
        self, *arguments: str | Path, stdin: bytes = b"", variables: Mapping[str, str] | None = None
    ) -> Result:
        """Runs a command to its end, in this process."""
        with (
            _streams(stdin) as (stdout, stderr),
            patch.dict(os.environ, {**_set_by_agentmem(), **self._environment(variables)}, clear=True),
            pytest.MonkeyPatch.context() as monkeypatch,
        ):
            monkeypatch.chdir(self.folder)
            monkeypatch.setattr(tempfile, "tempdir", None)
            monkeypatch.setattr(machine, "sgemm_flop_per_s", lambda: 1e11)  # it takes longer than a short benchmark,
            monkeypatch.setattr(gc, "collect", lambda: 0)  # and so does this where all tests are loaded
            if self.models is None and not variables:
                monkeypatch.setattr(catalog, "load", _loaded_once)
            terminate = signal.getsignal(signal.SIGTERM)
            try:
                exit_code = run([str(argument) for argument in arguments])
            finally:
                signal.signal(signal.SIGTERM, terminate)
            return Result(exit_code, stdout.getvalue().decode(), stderr.getvalue().decode())

    def process(self, *arguments: str | Path, stdin: bytes = b"", variables: Mapping[str, str] | None = None) -> Result:
        """Runs a command to its end, as a process."""
        done = subprocess.run(
            self._command(arguments),
            input=stdin,
            capture_output=True,
            cwd=self.folder,
            env=self._environment(variables),
            timeout=TIMEOUT_S,
        )
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, *arguments: str | Path, stdout: int = subprocess.PIPE) -> "subprocess.Popen[bytes]":
        """Starts a command whose standard input stays open; it is killed if it outlives its time."""
        process = subprocess.Popen(
            self._command(arguments),
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=subprocess.PIPE,
            cwd=self.folder,
            env=self._environment(None),
        )
        watchdog = threading.Timer(TIMEOUT_S, process.kill)
        watchdog.daemon = True
        watchdog.start()
        return process

    def write(self, name: str, *objects: object) -> str:
        """Writes a JSONL file into the folder, and returns its name."""
        (self.folder / name).write_bytes(jsonl(*objects))
        return name

    @property
    def temporary(self) -> Path:
        """Where the command keeps temporary files."""
        return self.folder / "tmp"

    def _command(self, arguments: tuple[str | Path, ...]) -> list[str]:
        return [sys.executable, "-m", "agentmem_cli", *map(str, arguments)]

    def _environment(self, variables: Mapping[str, str] | None) -> dict[str, str]:
        self.temporary.mkdir(exist_ok=True)
        return {
            **{name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
            "HOME": str(self.folder),
            "TMPDIR": str(self.temporary),
            "LC_ALL": "C.UTF-8",
            "FASTEMBED_CACHE_PATH": str(self.models or os.environ["FASTEMBED_CACHE_PATH"]),
            "HF_ENDPOINT": "http://127.0.0.1:9",
            "NO_COLOR": "1",
            "AGENTMEM_THREADS": "1",  # tests run in a process a core
            "OPENBLAS_NUM_THREADS": "1",
            "COLUMNS": "100",
            **(variables or {}),
        }


@dataclass(frozen=True)
class Ingested:
    """A store that holds the example memories, and what the ingest said."""

    store: Path
    memories: list[dict[str, Any]]
    result: Result

    def again(self, count: int, first: int = 0, pad: str = "") -> list[dict[str, Any]]:
        """New memories whose texts the store has: to take them in needs no model."""
        numbered = list(enumerate(self.memories))[first : first + count]
        return [{"id": f"again-{i}", "text": memory["text"], "metadata": {"pad": pad}} for i, memory in numbered]


_load: Final = catalog.load
_DEFAULT: Final = ModelChoice()


@cache
def _default_model() -> Embedder:
    return _load(catalog.resolve())


def _loaded_once(spec: EmbedderSpec, choice: ModelChoice = _DEFAULT, *, carried: Path | None = None) -> Embedder:
    """As `catalog.load`; loading the default model takes longer than most of what commands do with it."""
    if spec == catalog.resolve() and choice.threads is None and choice.device == "cpu":
        return _default_model()
    return _load(spec, choice, carried=carried)


def _set_by_agentmem() -> dict[str, str]:
    """What agentmem sets when it is imported, as it was above: it stays in a process, and so between commands."""
    return {"ORT_DISABLE_TELEMETRY": os.environ["ORT_DISABLE_TELEMETRY"]}


@contextmanager
def _streams(stdin: bytes) -> Iterator[tuple[BytesIO, BytesIO]]:
    """Standard streams: a pipe to read from, and what is written to the others."""
    stdout, stderr = BytesIO(), BytesIO()
    read_end, write_end = os.pipe()
    feeder = threading.Thread(target=_feed, args=(write_end, stdin))
    feeder.start()
    with (
        os.fdopen(read_end, encoding="utf-8") as sys_stdin,
        pytest.MonkeyPatch.context() as monkeypatch,
    ):
        monkeypatch.setattr(sys, "stdin", sys_stdin)
        for name, stream in (("stdout", stdout), ("stderr", stderr)):
            monkeypatch.setattr(sys, name, TextIOWrapper(stream, encoding="utf-8", write_through=True))
        log = logging.StreamHandler()  # what a process has by default, and pytest's own handlers take away
        log.setLevel(logging.WARNING)
        logging.getLogger().addHandler(log)
        try:
            yield stdout, stderr
        finally:
            logging.getLogger().removeHandler(log)
    feeder.join()


def _feed(write_end: int, content: bytes) -> None:
    with suppress(BrokenPipeError), os.fdopen(write_end, "wb") as stream:
        stream.write(content)


def jsonl(*objects: object) -> bytes:
    """Objects as JSONL."""
    return b"".join(json.dumps(value).encode() + b"\n" for value in objects)


def assert_inert(output: str) -> None:
    """Fails for anything that a terminal would obey: controls, but for the ends of lines, and changes of direction."""
    obeyed = {char for char in output if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"}}
    assert obeyed <= {"\n"}


@pytest.fixture
def agentmem(tmp_path: Path) -> Cli:
    """Runs the command line in an empty folder."""
    return Cli(tmp_path)


@pytest.fixture(scope="session")
def static_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model cache that has a tiny model in the place of the static one."""
    models, made = tmp_path_factory.mktemp("static_models"), Path(static_spec().folder)
    shutil.copytree(made, models / "static" / STATIC_MODEL / made.name)
    return models


@pytest.fixture
def static(agentmem: Cli, static_models: Path) -> Cli:
    """Runs the command line in the same folder; `--model minilm-static` is a model that is loaded in no time."""
    return replace(agentmem, models=static_models)


@pytest.fixture(scope="session")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Ingested:
    """The example memories, taken in once by the real model; tests that write take `filled` instead."""
    folder = tmp_path_factory.mktemp("ingested")
    result = Cli(folder).process("ingest", MEMORIES, "--json", "--progress", "none", "--store", "store")
    memories = [json.loads(line) for line in MEMORIES.read_text(encoding="utf-8").splitlines()]
    return Ingested(folder / "store", memories, result)


@pytest.fixture
def filled(ingested: Ingested, agentmem: Cli) -> str:
    """The name of a store with the example memories, in the folder of `agentmem`, to write to."""
    shutil.copytree(ingested.store, agentmem.folder / "filled")
    return "filled"
