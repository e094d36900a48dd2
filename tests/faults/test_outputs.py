"""Files that options name for output: what would be lost if a command wrote them without care."""

import io
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing, redirect_stderr
from pathlib import Path
from typing import Final

import pytest

from agentmem_cli.bench.growth import Growth, grow_alone
from agentmem_cli.bench.result_file import as_bytes
from agentmem_cli.cli import output_file
from agentmem_cli.cli.main import run
from agentmem_cli.cli.output_file import Output
from agentmem_cli.embedding.base import EmbedderSpec
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.errors import AgentMemError, StoreDamagedError, StoreError
from agentmem_cli.store.embedded.schema import PAGE_BYTES
from agentmem_cli.support.processes import module_command
from tests.bench_results import bench_result
from tests.e2e.conftest import TIMEOUT_S, Cli
from tests.faults.stores import fill, open_store, text_of

OLD: Final = b"an old file\n"
ONE, BAD = b'{"text": "tea"}\n', b'{"text": ""}\n'
_COUNT: Final = 60


@pytest.fixture
def agentmem(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where commands run: two inputs, a link and another name of one of them, a store and a link to it."""
    folder = tmp_path
    monkeypatch.chdir(folder)
    (folder / "a.jsonl").write_bytes(ONE)
    (folder / "b.jsonl").write_bytes(ONE + BAD)
    (folder / "link.jsonl").symlink_to("b.jsonl")
    (folder / "name.jsonl").hardlink_to(folder / "b.jsonl")
    fill(folder / "store", 3)
    (folder / "link").symlink_to("store")
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_bytes(b"{}")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(*arguments: str) -> str:
    """The one line with which a command is refused in the current folder, of which it changes no file."""
    before, handler = contents(Path()), signal.getsignal(signal.SIGTERM)
    said = io.StringIO()
    with redirect_stderr(said):
        exit_code = run(list(arguments))
    signal.signal(signal.SIGTERM, handler)
    assert exit_code == 2, said.getvalue()
    assert contents(Path()) == before
    (line,) = said.getvalue().splitlines()
    return line


@pytest.mark.parametrize("target", ["a.jsonl", "b.jsonl", "./b.jsonl", "link.jsonl", "name.jsonl"])
def test_an_input_is_not_emptied_by_the_rejected_lines(folder: Path, target: str) -> None:
    said = refused("ingest", "a.jsonl", "b.jsonl", "--store", "new", "--rejects", target)
    assert said == f"agentmem: error: --rejects {target} is an input of this command: give another file"


def test_the_file_that_standard_input_is_read_from_is_not_emptied(agentmem: Cli, folder: Path) -> None:
    command = [sys.executable, "-m", "agentmem_cli", "ingest", "-", "--dry-run", "--rejects", "b.jsonl"]
    with (folder / "b.jsonl").open("rb") as stdin:
        done = subprocess.run(command, stdin=stdin, cwd=folder, capture_output=True, timeout=TIMEOUT_S)
    assert (done.returncode, (folder / "b.jsonl").read_bytes()) == (2, ONE + BAD)


@pytest.mark.parametrize(
    "target", ["store/memories.db", "store/LOCK", "store/new", "link/memories.db", "store/index/new"]
)
def test_no_file_of_a_store_is_overwritten_or_made(folder: Path, target: str) -> None:
    (folder / "store" / "index").mkdir(exist_ok=True)
    place = f"{target} lies in the store {folder / 'store'}: give a file elsewhere"
    for store in ("store", "link", "another"):
        assert f"--rejects {place}" in refused("ingest", "b.jsonl", "--store", store, "--rejects", target)
    assert f"--output {place}" in refused("export", "--store", "store", "--output", target)


@pytest.mark.parametrize("target", ["new", "new/rejects.jsonl", "store", "missing/rejects.jsonl"])
def test_a_store_is_not_kept_from_being_made_by_its_rejected_lines(folder: Path, target: str) -> None:
    assert f"--rejects {target}" in refused("ingest", "b.jsonl", "--store", "new", "--rejects", target)


def test_what_is_left_of_a_damaged_store_is_not_overwritten(folder: Path) -> None:
    with (folder / "store" / "memories.db").open("r+b") as database:
        database.write(bytes(100))
    assert "lies in the store" in refused("export", "--store", "store", "--output", "store/memories.db")


@pytest.mark.parametrize(
    "arguments",
    [
        ("bench", "--workload", "w.json", "--output", "w.json"),
        ("bench", "--workload", "w.json", "--queries", "q.json", "--output", "q.json"),
        ("bench", "--workload", "w.json", "--junit", "w.json"),
        ("bench", "--junit", "pyproject.toml"),
        ("bench", "--model-path", "model", "--output", "model/config.json"),
        ("bench", "--output", "store/r.json"),
        ("bench", "show", "r.json", "--output", "r.json"),
        ("bench", "show", "r.json", "--junit", "r.json"),
        ("bench", "compare", "r.json", "s.json", "--output", "s.json"),
        ("bench", "compare", "r.json", "s.json", "--junit", "r.json"),
        ("bench", "ab", "--base", "/bin/true", "--workload", "w.json", "--output", "w.json"),
        ("ingest", "b.jsonl", "--model-path", "model", "--rejects", "model/config.json"),
    ],
    ids=" ".join,
)
def test_what_a_command_reads_survives_its_output(folder: Path, arguments: tuple[str, ...]) -> None:
    for name in ("r.json", "s.json"):
        (folder / name).write_bytes(as_bytes(bench_result()))
    for name in ("w.json", "q.json", "pyproject.toml"):
        (folder / name).write_bytes(b"")
    assert f"{arguments[-2]} {arguments[-1]} " in refused(*arguments)


def test_a_result_is_not_appended_to_by_its_own_summary(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "r.json").write_bytes(as_bytes(bench_result()))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "r.json")
    assert "--github-summary r.json is an input" in refused("bench", "show", "r.json", "--github-summary")


def started(agentmem: Cli, *arguments: str) -> "subprocess.Popen[bytes]":
    """A dry run of standard input that has met a bad line, and waits for more."""
    process = agentmem.start("ingest", "-", "--dry-run", "--rejects", "r.jsonl", *arguments)
    assert process.stdin is not None and process.stderr is not None
    process.stdin.write(BAD)
    process.stdin.flush()
    assert b"rejected" in process.stderr.readline()
    return process


@pytest.mark.parametrize(("sent", "exit_code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_former_file_of_rejected_lines_survives_an_ingest_that_is_stopped(
    agentmem: Cli, sent: signal.Signals, exit_code: int
) -> None:
    (agentmem.folder / "r.jsonl").write_bytes(OLD)
    process = started(agentmem)
    process.send_signal(sent)
    process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == exit_code
    assert (agentmem.folder / "r.jsonl").read_bytes() == OLD
    left = list(agentmem.folder.glob(".r.jsonl.agentmem-*.tmp"))
    assert len(left) == (1 if sent == signal.SIGKILL else 0)


def test_a_former_file_of_rejected_lines_survives_an_ingest_that_fails(agentmem: Cli) -> None:
    (agentmem.folder / "r.jsonl").write_bytes(OLD)
    (agentmem.folder / "a.jsonl").write_bytes(BAD)
    (agentmem.folder / "cut.jsonl.gz").write_bytes(b"\x1f\x8b")
    result = agentmem("ingest", "a.jsonl", "cut.jsonl.gz", "--dry-run", "--rejects", "r.jsonl")
    assert (result.exit_code, (agentmem.folder / "r.jsonl").read_bytes()) == (1, OLD)
    assert not list(agentmem.folder.glob(".*.tmp"))


def test_the_line_that_an_ingest_stops_at_is_kept(agentmem: Cli) -> None:
    (agentmem.folder / "r.jsonl").write_bytes(OLD)
    result = agentmem("ingest", "-", "--dry-run", "--on-error", "fail", "--rejects", "r.jsonl", stdin=ONE + BAD)
    (row,) = (agentmem.folder / "r.jsonl").read_text().splitlines()
    assert (result.exit_code, json.loads(row)["line"]) == (1, 2)


def failing(*_: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(("module", "call"), [(os, "fsync"), (Path, "replace"), (output_file, "fsync_folder")])
def test_a_former_file_survives_a_disk_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: object, call: str
) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(OLD)
    monkeypatch.setattr(module, call, failing)
    with pytest.raises(AgentMemError, match=r"--output .*r\.json: can't be written: No space left on device"):
        Output(str(path)).write(b"new")
    assert path.read_bytes() == (b"new" if call == "fsync_folder" else OLD)
    assert os.listdir(tmp_path) == ["r.json"]  # noqa: PTH208


def test_a_full_disk_leaves_the_former_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(OLD)
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "from agentmem_cli.cli.output_file import Output\n"
        f"with Output({str(path)!r}).opened() as stream:\n"
        "    while True: stream.write(bytes(1000))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=TIMEOUT_S)
    assert "AgentMemError: --output" in done.stderr
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (OLD, [path])


def test_a_private_file_stays_private_and_a_link_stays_a_link(tmp_path: Path) -> None:
    kept, link = tmp_path / "elsewhere" / "kept.json", tmp_path / "r.json"
    kept.parent.mkdir()
    kept.write_bytes(OLD)
    kept.chmod(0o600)
    link.symlink_to("elsewhere/kept.json")
    Output(str(link)).write(b"new")
    assert (link.is_symlink(), kept.read_bytes(), stat.S_IMODE(kept.stat().st_mode)) == (True, b"new", 0o600)
    before = os.umask(0o027)
    try:
        Output(str(tmp_path / "new.json")).write(b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new.json").stat().st_mode) == 0o640


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_write_protected_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(OLD)
    path.chmod(0o400)
    with pytest.raises(AgentMemError, match="write-protected"):
        Output(str(path)).write(b"new")
    assert path.read_bytes() == OLD


def test_a_name_as_long_as_a_file_system_takes_it_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 125 + ".json")
    Output(str(path)).write(b"new")
    assert path.read_bytes() == b"new"


def test_what_is_no_regular_file_is_written_as_it_comes(agentmem: Cli) -> None:
    os.mkfifo(agentmem.folder / "r.jsonl")
    with os.fdopen(os.open(agentmem.folder / "r.jsonl", os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
        process = started(agentmem)
        assert process.stdin is not None and process.stderr is not None
        process.stdin.write(BAD)
        process.stdin.flush()
        assert b"rejected" in process.stderr.readline()  # so the line before it has been written
        assert json.loads(reader.readline())["reason"] == "text is empty"
        process.communicate(timeout=TIMEOUT_S)
        assert (process.returncode, len(reader.read().splitlines())) == (3, 1)
    assert stat.S_ISFIFO((agentmem.folder / "r.jsonl").stat().st_mode)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
def test_what_stands_in_standard_output_already_is_not_lost(agentmem: Cli, folder: Path, name: str) -> None:
    (folder / "link").unlink()
    (folder / "link").symlink_to("/dev/stdout")
    (folder / "log").write_bytes(OLD)
    with (folder / "log").open("ab") as log:
        process = agentmem.start("ingest", "b.jsonl", "--dry-run", "--json", "--rejects", name, stdout=log.fileno())
        process.communicate(timeout=TIMEOUT_S)
    content = (folder / "log").read_bytes()
    assert process.returncode == 3
    assert content.startswith(OLD + b'{"file":"b.jsonl"')
    assert b'"rejected": 1' in content


def change(store: Path, sql: str, *parameters: object) -> None:
    """Changes a database as no command does."""
    with closing(sqlite3.connect(store / "memories.db")) as connection, connection:
        assert connection.execute(sql, parameters).rowcount > 0
    with closing(sqlite3.connect(store / "memories.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@pytest.fixture
def damaged(agentmem: Cli) -> Path:
    """A store in the folder of `agentmem`, of which memories 17 and 18 are damaged, and a good backup of it."""
    store = fill(agentmem.folder / "store", _COUNT)
    change(store, "UPDATE memories SET text = 'another' WHERE id = '17'")
    change(store, "UPDATE memories SET text = CAST(x'61ff' AS TEXT) WHERE id = '18'")
    (agentmem.folder / "backup.jsonl").write_bytes(OLD)
    return store


def test_the_last_good_backup_survives_an_export_of_a_damaged_store(agentmem: Cli, damaged: Path) -> None:
    result = agentmem("export", "--store", "store", "-o", "backup.jsonl")
    assert result.exit_code == 1
    assert result.error().startswith(f"memory 17 in {damaged}/memories.db is not what was stored")
    assert result.error().endswith("--skip-damaged exports the others")
    assert (agentmem.folder / "backup.jsonl").read_bytes() == OLD
    assert not list(agentmem.folder.glob(".*.tmp"))


def test_a_memory_whose_text_is_not_even_text_is_named(tmp_path: Path) -> None:
    store = fill(tmp_path / "store", 3)
    change(store, "UPDATE memories SET text = CAST(x'61ff' AS TEXT) WHERE id = '1'")
    with open_store(store) as mem, pytest.raises(StoreDamagedError, match=r"^memory 1 in .* is not what was stored"):
        list(mem.export())


def test_what_is_not_damaged_is_exported_and_what_is_missing_is_named(agentmem: Cli, damaged: Path) -> None:
    result = agentmem("export", "--store", "store", "-o", "backup.jsonl", "--skip-damaged")
    assert (result.exit_code, result.stderr.splitlines()) == (
        3,
        [
            "agentmem: left out: memory 17 is damaged",
            "agentmem: left out: memory 18 is damaged",
            f"agentmem: wrote {_COUNT - 2} memories to backup.jsonl",
        ],
    )
    rows = [json.loads(line) for line in (agentmem.folder / "backup.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == [str(i) for i in range(_COUNT) if i not in (17, 18)]
    piped = agentmem("export", "--store", "store", "--skip-damaged", "--json")
    assert piped.exit_code == 3
    assert piped.stdout == (agentmem.folder / "backup.jsonl").read_text()
    assert json.loads(piped.stderr) == {"exported": _COUNT - 2, "damaged": ["17", "18"]}


def test_a_store_that_is_damaged_all_over_is_told_of_in_few_lines(agentmem: Cli, damaged: Path) -> None:
    change(damaged, "UPDATE memories SET importance = 0.5")
    result = agentmem("export", "--store", "store", "--skip-damaged")
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (3, "", 21)
    assert result.stderr.endswith("agentmem: left out: 40 more damaged memories\n")


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM vectors WHERE vector_id = 18",
        "UPDATE vectors SET vector = zeroblob(128) WHERE vector_id = 18",
        "UPDATE vectors SET vector = 'text' WHERE vector_id = 18",
    ],
)
def test_a_memory_whose_vector_is_damaged_is_not_dropped_without_a_word(tmp_path: Path, sql: str) -> None:
    store = fill(tmp_path / "store", _COUNT)
    change(store, sql)
    with open_store(store) as mem:
        assert len(list(mem.export())) == _COUNT  # its text is whole
        with pytest.raises(StoreDamagedError, match="the vector of memory 17 "):
            list(mem.export(vectors=True))
        missing: list[str] = []
        assert len(list(mem.export(vectors=True, on_damaged=missing.append))) == _COUNT - 1
        assert missing == ["17"]


def test_memories_beside_a_damaged_page_are_exported(tmp_path: Path) -> None:
    store = fill(tmp_path / "store", 500)
    content = (store / "memories.db").read_bytes()
    leaves = [at for at in range(0, len(content), PAGE_BYTES) if content[at : at + PAGE_BYTES].count(b" of colour") > 9]
    with (store / "memories.db").open("r+b") as database:
        database.seek(leaves[1])
        database.write(b"\xff" * 100)
    with open_store(store) as mem:
        with pytest.raises(StoreDamagedError):
            list(mem.export())
        missing: list[str] = []
        there = {memory.id: memory.text for memory in mem.export(on_damaged=missing.append)}
        of_one_user = [memory.id for memory in mem.export(user_id="user3", on_damaged=lambda identity: None)]
    assert 0 < len(missing) < 250
    assert of_one_user == [identity for identity in there if int(identity) % 5 == 3]
    assert {*missing, *there} == {str(i) for i in range(500)}
    assert all(text == text_of(int(identity)) for identity, text in there.items())


_TRAP: Final = "import os, sys; open({!r}, 'w').close(); os._exit(99)\n"


@pytest.fixture
def trapped(agentmem: Cli) -> Path:
    """The folder that commands are started in, made by somebody else: the file that its modules leave when they run."""
    trace = agentmem.folder / "trace"
    for name in ("msgspec", "orjson", "numpy", "runpy", "json", "sqlite3", "hnswlib", "sitecustomize"):
        (agentmem.folder / f"{name}.py").write_text(_TRAP.format(str(trace)))
    return trace


@pytest.mark.parametrize(
    "module", ["agentmem_cli.bench.result_file", "agentmem_cli.store.embedded.graph_builder", "agentmem_cli"]
)
def test_no_module_of_the_current_folder_runs_in_a_child(agentmem: Cli, trapped: Path, module: str) -> None:
    command = module_command(module, "no-store")
    done = subprocess.run(command, cwd=agentmem.folder, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert not trapped.exists()
    assert "Traceback" not in done.stderr


def test_a_benchmark_runs_no_module_of_the_current_folder(
    agentmem: Cli, trapped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(agentmem.folder)
    no_model = EmbedderSpec("none", "0", dim=8, token_limit=8, pooling="mean", precision="fp32")
    with pytest.raises(StoreError, match=r"failed: .*none"):
        list(grow_alone(no_model, ModelChoice(), Growth(str(agentmem.folder), [], [], [], [])))
    assert not trapped.exists()


def test_a_child_finds_what_the_user_put_on_the_path(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text("print('found')\n")
    search_path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    printed = subprocess.check_output(
        module_command("theirs"), env={**os.environ, "PYTHONPATH": search_path}, cwd="/", text=True, timeout=TIMEOUT_S
    )
    assert printed == "found\n"
