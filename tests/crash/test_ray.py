"""What users of an ingest by many machines would lose: to nodes, workers and readers that die, and to order."""

import gzip
import importlib.util
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from agentmem_cli.api import AgentMem
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.errors import EmbeddingError, StoreError, StoreMismatchError
from agentmem_cli.ingest import on_ray
from agentmem_cli.ingest.on_ray import Failure, Setup, Worker
from agentmem_cli.ingest.options import IngestOptions
from agentmem_cli.records.memory import Memory
from agentmem_cli.store.base import Block, SharedStore
from tests.crash.ray_embedders import DyingEmbedder, FailingEmbedder, SlowEmbedder
from tests.fakes import FakeEmbedder
from tests.postgres_server import IS_THERE, MISSING
from tests.stores import At, events_of

if TYPE_CHECKING:
    from ray._private.node import Node

_HAS_RAY: Final = importlib.util.find_spec("ray") is not None
pytestmark = [
    pytest.mark.skipif(not IS_THERE, reason=MISSING),
    pytest.mark.skipif(not _HAS_RAY, reason="needs Ray: pip install 'agentmem-cli[ray]'"),
]
_ROOT: Final = Path(__file__).parents[2]
# For Ray at 127.0.0.1, before it is imported; its processes find the tests' embedders, and report to nobody.
_SETTINGS: Final = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "PYTHONPATH": str(_ROOT),
}
_NODE: Final = {"node_ip_address": "127.0.0.1", "object_store_memory": 10**8, "include_dashboard": False}
_PIN: Final = FakeEmbedder().spec.fingerprint()
_PASSWORD: Final = "s3cr3t"


class Running:
    """A cluster of a head and two nodes with a CPU each."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self.cluster: Cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **_NODE})
        self.nodes: list[Node] = [self.cluster.add_node(num_cpus=1, wait=False, **_NODE) for _ in range(2)]
        self.cluster.wait_for_nodes()

    @property
    def on(self) -> str:
        """Its address, for `--on`."""
        return f"ray:{self.cluster.address}"

    def kill_a_node(self) -> None:
        """Kills a node with all of its processes."""
        self.cluster.remove_node(self.nodes.pop(), allow_graceful=False)


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """One cluster for all tests: starting one takes long."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in _SETTINGS.items():
            patch.setenv(name, value)
        running = Running()
        yield running
        running.cluster.shutdown()


def _lines(file: Path, count: int) -> Path:
    lines = "".join(
        f'{{"id": "m{i}", "text": "memory {i} of a{i % 7}", "user_id": "u{i % 3}"}}\n' for i in range(count)
    )
    file.write_text(lines, encoding="utf-8")
    return file


def test_a_block_that_is_tried_again_is_stored_and_counted_once(postgres_url: str) -> None:
    from agentmem_cli.store.postgres.store import PostgresStore

    with closing(PostgresStore(postgres_url)) as store:
        store.open_for_writing(_PIN)
        job = store.start_job(["host:m.jsonl"])
        memories, vectors = [Memory("red apple", id="a")], FakeEmbedder().embed(["red apple"]).vectors
        plan = store.plan(memories)
        first = store.commit_block(Block(job, 1), plan, vectors, [], [])
        later = store.commit_block(
            Block(job, 2), store.plan([Memory("red apple", id="a", importance=1)]), vectors[:0], [], []
        )
        again = store.commit_block(Block(job, 1), plan, vectors, [], [])
        assert (first.counts.added, later.counts.updated, again) == (1, 1, first)
        assert [event.event for event in store.history("a")] == ["add", "update"]
        assert (store.end_job(job).counts.added, store.end_job(job).counts.added) == (1, 0)


def test_a_worker_with_another_model_says_on_which_machine_and_what_to_do() -> None:
    worker = Worker()
    worker.open(Setup(FakeEmbedder("other").spec, ModelChoice(), FakeEmbedder()))
    answer = worker.embed(["red apple"])
    assert isinstance(answer, Failure)
    assert isinstance(answer.error(), StoreMismatchError)
    assert answer.message.startswith(f"worker on {socket.gethostname()}: model fake there is not the one")


def test_a_password_of_the_environment_reaches_workers_and_nothing_that_is_shown(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", _PASSWORD)
    with AgentMem(postgres_url, embedder=FakeEmbedder()) as mem:
        assert isinstance(mem._store, SharedStore)
        url = mem._store.url_with_password
        monkeypatch.delenv("PGPASSWORD")
        assert _PASSWORD in url
        with AgentMem(url, embedder=FakeEmbedder()) as worker:
            assert _PASSWORD not in worker.location + mem.location
        assert _PASSWORD not in repr(Setup(mem.model, ModelChoice(), None, url))


def test_a_late_worker_of_an_ingest_that_was_started_again_changes_nothing(postgres_url: str) -> None:
    from agentmem_cli.store.postgres.store import PostgresStore

    with closing(PostgresStore(postgres_url)) as store:
        store.open_for_writing(_PIN)
        job = store.start_job(["host:m.jsonl", "host:n.jsonl"])
        plan = store.plan([Memory("red apple", id="a")])
        store.start_job(["host:n.jsonl"])
        with pytest.raises(StoreError, match="another one of the same input has started"):
            store.commit_block(Block(job, 1), plan, FakeEmbedder().embed(["red apple"]).vectors, [], [])
        assert store.count() == 0


def test_workers_store_what_an_ingest_by_one_process_stores(
    running: Running, postgres_url: str, tmp_path: Path
) -> None:
    file = _lines(tmp_path / "m.jsonl", 400)
    packed = tmp_path / "m.jsonl.gz"
    packed.write_bytes(gzip.compress(file.read_bytes() + b"not json\n"))
    options = IngestOptions(batch_size=20, on=running.on)
    with (
        AgentMem(postgres_url, embedder=FakeEmbedder()) as mem,
        AgentMem(tmp_path / "folder", embedder=FakeEmbedder(), index="off") as local,
    ):
        ours, theirs = mem.ingest(packed, options), local.ingest(packed)
        for name in ("read", "added", "updated", "unchanged", "rejected", "embedded", "reused", "truncated", "tokens"):
            assert getattr(ours, name) == getattr(theirs, name), name
        assert {m.id: m.text for m in mem.export()} == {m.id: m.text for m in local.export()}
        for query in ("memory 33 of a5", "a2", "memory"):
            found, expected = mem.search(query, 20, user_id="u1"), local.search(query, 20, user_id="u1")
            assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected], abs=1e-5)
        again = mem.ingest(file, options)
        assert (again.unchanged, again.embedded, len(mem)) == (400, 0, 400)
        position = mem._store.position(str(packed))
        assert position is not None
        assert position.complete


def test_the_later_line_wins_whichever_worker_is_faster(running: Running, postgres_url: str, tmp_path: Path) -> None:
    file = tmp_path / "m.jsonl"
    rounds = [f"{'x' * (turn * 3 % 4)}y turn {turn}" for turn in range(12)]  # of lengths that take differently long
    file.write_text("".join(f'{{"id": "m{i}", "text": "{text} of m{i}"}}\n' for text in rounds for i in range(10)))
    with AgentMem(postgres_url, embedder=SlowEmbedder()) as mem:
        report = mem.ingest(file, IngestOptions(batch_size=10, on=running.on, workers=2))
        assert (report.added, report.updated) == (10, 110)
        for i in range(10):
            texts = [event.previous_text for event in mem.history(f"m{i}")][1:]
            memory = mem.get(f"m{i}")
            assert memory is not None
            assert [*texts, memory.text] == [f"{text} of m{i}" for text in rounds]


def test_a_worker_that_dies_is_replaced(
    running: Running, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_ray, "_FIRST_WORKER_S", 30.0)
    with AgentMem(postgres_url, embedder=DyingEmbedder(tmp_path / "has-died")) as mem:
        report = mem.ingest(_lines(tmp_path / "m.jsonl", 100), IngestOptions(batch_size=10, on=running.on, workers=1))
        assert (tmp_path / "has-died").exists()
        assert (report.added, len(mem)) == (100, 100)


def test_a_worker_s_error_arrives_once_with_the_machine_and_no_password(
    running: Running, postgres_url: str, tmp_path: Path
) -> None:
    url = postgres_url.replace("agentmem@", f"agentmem:{_PASSWORD}@")
    file = _lines(tmp_path / "m.jsonl", 300)
    with (
        pytest.raises(EmbeddingError, match=r"^worker on \S+: model fake is out of order$"),
        AgentMem(url, embedder=FailingEmbedder()) as mem,
    ):
        mem.ingest(file, IngestOptions(batch_size=10, on=running.on))
    logs = Path(running.nodes[0].get_logs_dir_path())
    assert not [log for log in logs.rglob("*") if log.is_file() and _PASSWORD.encode() in log.read_bytes()]
    with AgentMem(url, embedder=FakeEmbedder()) as mem:
        assert 70 <= len(mem) < 300
        assert mem.ingest(file, IngestOptions(batch_size=25, on=running.on)).stored == 300
        assert events_of(mem, 300) == {("add",): 300}


def test_reembedding_by_workers_gives_every_text_its_new_vector(running: Running, postgres_url: str) -> None:
    with AgentMem(postgres_url, embedder=FakeEmbedder()) as mem:
        mem.add_batch([{"id": f"m{i}", "text": f"memory {i}"} for i in range(100)])
        mem.reembed(embedder=FakeEmbedder("other"), on=running.on)
        assert mem.model.name == "other"
        assert mem.search("memory 33", 1, mode="meaning")[0].score == pytest.approx(1, abs=1e-5)


_DRIVER: Final = """
import sys
from agentmem_cli.api import AgentMem
from agentmem_cli.ingest.options import IngestOptions
from tests.crash.ray_embedders import SlowEmbedder
url, file, on = sys.argv[1:]
with AgentMem(url, embedder=SlowEmbedder()) as mem:
    mem.ingest(file, IngestOptions(batch_size=10, on=on))
"""


def test_an_ingest_goes_on_after_its_reader_was_killed(running: Running, postgres_url: str, tmp_path: Path) -> None:
    file = _lines(tmp_path / "m.jsonl", 1000)
    with AgentMem(postgres_url, embedder=FakeEmbedder()) as mem:
        mem.open()
        driver = subprocess.Popen([sys.executable, "-c", _DRIVER, postgres_url, str(file), running.on])
        until = time.monotonic() + 60
        while len(mem) < 100 and time.monotonic() < until:
            time.sleep(0.02)
        driver.send_signal(signal.SIGKILL)
        assert driver.wait() == -signal.SIGKILL
        assert 100 <= len(mem) < 1000
        report = mem.ingest(file, IngestOptions(batch_size=37, on=running.on))
        assert (report.added + report.unchanged, report.updated, len(mem)) == (1000, 0, 1000)
        assert report.unchanged >= 100
        assert events_of(mem, 1000) == {("add",): 1000}


def test_the_command_reads_standard_input_and_workers_load_the_model(running: Running, postgres_url: str) -> None:
    lines = b"".join(b'{"id": "m%d", "text": "memory %d"}\n' % (i, i) for i in range(30))
    command = [sys.executable, "-m", "agentmem_cli", "ingest", "-", "--store", postgres_url, "--on", running.on]
    done = subprocess.run([*command, "--json"], input=lines, capture_output=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    with AgentMem(postgres_url) as mem:
        assert (len(mem), mem.model.name) == (30, "all-MiniLM-L6-v2")


def test_nothing_is_lost_or_doubled_where_a_node_is_killed(running: Running, postgres_url: str, tmp_path: Path) -> None:
    file = _lines(tmp_path / "m.jsonl", 800)
    with AgentMem(postgres_url, embedder=SlowEmbedder()) as mem:
        killed: list[int] = []

        def kill() -> None:
            killed.append(len(running.nodes))
            running.kill_a_node()

        report = mem.ingest(file, IngestOptions(batch_size=10, on=running.on, workers=2), At(20, kill))
        assert killed == [2]
        assert (report.read, report.added, report.unchanged, len(mem)) == (800, 800, 0, 800)
        assert events_of(mem, 800) == {("add",): 800}
