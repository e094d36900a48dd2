"""What users of a store in PostgreSQL would lose: to servers that die, to other writers, and to messages."""

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agentmem_cli.api import AgentMem
from agentmem_cli.errors import InvalidMemoryError, PlanOutdatedError, StoreError, StoreWriteError, UsageError
from agentmem_cli.ingest.options import IngestOptions
from agentmem_cli.records.memory import Memory
from agentmem_cli.store import open_store
from tests.fakes import FakeEmbedder
from tests.postgres_server import IS_THERE, MISSING, Server
from tests.stores import At, events_of, put

pytestmark = pytest.mark.skipif(not IS_THERE, reason=MISSING)
if IS_THERE:
    import psycopg

    from agentmem_cli.store.postgres import connection as pg
    from agentmem_cli.store.postgres.connection import Connection, LostConnectionError
    from agentmem_cli.store.postgres.store import PostgresStore

_PIN = FakeEmbedder().spec.fingerprint()
_WRITERS = 4


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of the test's own, which it may kill."""
    server = Server()
    try:
        server.start()
        yield server
    finally:
        server.remove()


def _lines(file: Path, count: int) -> Path:
    file.write_text("".join(f'{{"id": "m{i}", "text": "memory {i}"}}\n' for i in range(count)), encoding="utf-8")
    return file


def test_an_ingest_goes_on_after_the_server_was_killed(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pg, "_RECONNECT_S", 0.3)
    file, options = _lines(tmp_path / "m.jsonl", 400), IngestOptions(batch_size=20)
    with pytest.raises(StoreError, match="can't be reached"), AgentMem(server.url(), embedder=FakeEmbedder()) as mem:
        mem.ingest(file, options, At(6, server.kill))
    server.start()
    with AgentMem(server.url(), embedder=FakeEmbedder()) as mem:
        stored = len(mem)
        # Six batches were acknowledged; while the sixth was reported, others may have been committed.
        assert stored in (120, 140, 160, 180)
        report = mem.ingest(file, options)
        assert (report.added, len(mem)) == (400 - stored, 400)
        assert events_of(mem, 400) == {("add",): 400}


def test_a_store_that_is_open_reads_and_writes_after_its_server_restarted(server: Server) -> None:
    with AgentMem(server.url(), embedder=FakeEmbedder()) as mem:
        mem.add("red apple", id="a")
        server.kill()
        server.start()
        assert [hit.id for hit in mem.search("red apple")] == ["a"]
        mem.add("blue whale", id="b")
        server.kill()
        server.start()
        assert [event.event for event in mem.history("b")] == ["add"]
        mem.add("green pear", id="c")
        assert mem.delete("b") == 1
        assert [hit.id for hit in mem.search("green pear", 1)] == ["c"]


@pytest.mark.parametrize("is_committed", [True, False])
def test_a_batch_whose_answer_was_lost_is_stored_once_and_reported_as_added(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, is_committed: bool
) -> None:
    change = Connection.change
    lost: list[str] = []

    def changed(self: Connection, query: str, parameters: "tuple[str, ...]" = ()) -> int:
        if query == "COMMIT" and not lost and self._begin == "BEGIN":
            lost.append(query)
            if is_committed:
                change(self, query)
            self.close()
            raise LostConnectionError("the answer is lost")
        return change(self, query, parameters)

    with closing(PostgresStore(postgres_url)) as store:
        store.open_for_writing(_PIN)
        monkeypatch.setattr(Connection, "change", changed)
        assert put(store, Memory("red apple", id="a")).added == 1
        assert (lost, store.count()) == (["COMMIT"], 1)
        assert [event.event for event in store.history("a")] == ["add"]


def test_four_writers_of_the_same_ids_make_one_row_each_and_a_history_without_doubles(postgres_url: str) -> None:
    memories = [Memory(f"memory {i}", id=f"m{i}") for i in range(200)]
    ready = threading.Barrier(_WRITERS)
    added: list[int] = []
    failed: list[StoreError] = []

    def write(shift: int) -> None:
        with AgentMem(postgres_url, embedder=FakeEmbedder()) as mem:
            mem.open()
            order = memories[shift:] + memories[:shift]  # so that two would wait for each other, were there no order
            ready.wait()
            try:
                added.extend(mem.add_batch(order[start : start + 25]).added for start in range(0, 200, 25))
            except StoreError as error:
                failed.append(error)

    threads = [threading.Thread(target=write, args=(50 * place,)) for place in range(_WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with AgentMem(postgres_url, embedder=FakeEmbedder()) as mem:
        assert (failed, len(mem), sum(added)) == ([], 200, 200)
        assert mem.stats().vectors == 200
        assert events_of(mem, 200) == {("add",): 200}


def test_writers_that_share_and_drop_texts_lose_none(postgres_url: str) -> None:
    def write(name: str) -> None:
        with AgentMem(postgres_url, embedder=FakeEmbedder()) as mem:
            for turn in range(30):
                mem.add(f"text {turn % 3}", id=name)

    threads = [threading.Thread(target=write, args=(f"w{i}",)) for i in range(_WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with AgentMem(postgres_url, embedder=FakeEmbedder()) as mem:
        assert sorted(hit.id for hit in mem.search("text 2", mode="words")) == [f"w{i}" for i in range(_WRITERS)]
        assert mem.stats().vectors == 1
        assert [len(mem.history(f"w{i}")) for i in range(_WRITERS)] == [30] * _WRITERS


@pytest.mark.parametrize(("text", "outcome"), [("red apple", "unchanged"), ("green pear", "updated")])
def test_a_commit_says_what_happened_and_not_what_was_planned(postgres_url: str, text: str, outcome: str) -> None:
    with closing(open_store(postgres_url)) as one, closing(open_store(postgres_url)) as other:
        one.open_for_writing(_PIN)
        other.open_for_writing(_PIN)
        plan = one.plan([Memory("red apple", id="a"), Memory("blue whale", id="b")])
        put(other, Memory(text, id="a"))
        counts = one.commit(plan, FakeEmbedder().embed(list(plan.texts_to_embed)).vectors)
        assert plan.outcomes == [outcome, "added"]
        assert (counts.added, counts.updated + counts.unchanged) == (1, 1)
        memory = one.get("a")
        assert memory is not None
        assert memory.text == "red apple"


def test_a_text_that_another_writer_removed_after_the_plan_is_asked_for_again(postgres_url: str) -> None:
    with closing(open_store(postgres_url)) as one, closing(open_store(postgres_url)) as other:
        one.open_for_writing(_PIN)
        other.open_for_writing(_PIN)
        put(one, Memory("red apple", id="a"))
        plan = one.plan([Memory("red apple", id="b")])
        assert plan.texts_to_embed == []
        other.delete(["a"])
        with pytest.raises(PlanOutdatedError):
            one.commit(plan, FakeEmbedder().embed([]).vectors)
        assert put(one, Memory("red apple", id="b")).added == 1


def test_a_cancelled_statement_is_named(postgres_url: str) -> None:
    with AgentMem(postgres_url, embedder=FakeEmbedder()) as mem:
        mem.add("red apple", id="a")
    base, _, schema = postgres_url.rpartition("&schema=")
    with psycopg.connect(base) as blocking:
        blocking.execute(f"LOCK TABLE {schema}.memories".encode())
        limited = AgentMem(f"{postgres_url}&options=-c%20statement_timeout%3D100", embedder=FakeEmbedder())
        with pytest.raises(StoreError, match=r"cancelled a statement .*statement timeout"), limited as mem:
            mem.add("blue whale", id="b")
    with AgentMem(postgres_url, embedder=FakeEmbedder()) as mem:
        assert [memory.id for memory in mem.list_memories()] == ["a"]


def test_a_full_disk_is_named_and_stores_nothing(postgres_url: str) -> None:
    base, _, schema = postgres_url.rpartition("&schema=")
    with AgentMem(postgres_url, embedder=FakeEmbedder()) as mem:
        mem.add("red apple", id="a")
        with psycopg.connect(base, autocommit=True) as connection:  # the error as PostgreSQL raises it
            connection.execute(
                f"CREATE FUNCTION {schema}.no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION"
                " 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$".encode()
            )
            connection.execute(
                f"CREATE TRIGGER no_room BEFORE INSERT ON {schema}.history EXECUTE FUNCTION {schema}.no_room()".encode()
            )
        with pytest.raises(StoreWriteError, match="No space left on device: nothing was stored"):
            mem.add("blue whale", id="b")
        assert [memory.id for memory in mem.list_memories()] == ["a"]
        assert mem.search("blue whale", mode="words") == []


def test_a_password_is_in_no_message(postgres_url: str) -> None:
    with_password = postgres_url.replace("agentmem@", "agentmem:s3cr%25t@")
    with AgentMem(with_password, embedder=FakeEmbedder()) as mem:
        mem.add("red apple", id="a")
        assert "s3cr" not in repr(mem) + mem.location + str(mem.stats().to_dict())
        with pytest.raises(UsageError, match="kept by its server") as refused:
            mem.verify()
        assert "s3cr" not in str(refused.value)
    with pytest.raises(StoreError) as unreachable:
        AgentMem("postgresql://agentmem:s3cr%25t@127.0.0.1:1/db?connect_timeout=2", embedder=FakeEmbedder())
    causes = [unreachable.value, unreachable.value.__cause__]
    assert not any("s3cr" in f"{cause!r}{cause}" for cause in causes)


def test_a_text_with_a_nul_is_refused(postgres_url: str) -> None:
    with AgentMem(postgres_url, embedder=FakeEmbedder()) as mem:
        with pytest.raises(InvalidMemoryError, match="memory a has a NUL character"):
            mem.add("a\0b", id="a")
        mem.add_batch([Memory("text", id="b", metadata={"k": "\\u0000"})])
        assert len(mem) == 1


def test_a_hybrid_search_takes_few_round_trips(postgres_url: str) -> None:
    with AgentMem(postgres_url, embedder=FakeEmbedder()) as mem:
        mem.add_batch([{"text": f"Ann: memory {i} of apples", "user_id": "u", "run_id": "r"} for i in range(300)])
        store = mem._store
        assert isinstance(store, PostgresStore)
        before = store.round_trips
        assert len(mem.search("what did Ann say of apples", 10, user_id="u")) == 10
        assert 0 < store.round_trips - before <= 13


def test_a_server_that_may_lose_what_it_acknowledged_is_refused() -> None:
    server = Server()
    try:
        server.start("fsync=off")
        with pytest.raises(StoreError, match="has fsync off"):
            AgentMem(server.url(), embedder=FakeEmbedder())
    finally:
        server.remove()


def test_pgvector_is_found_where_the_host_of_a_database_installed_it(server: Server) -> None:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("CREATE SCHEMA extensions")
        connection.execute("CREATE EXTENSION vector SCHEMA extensions")
    for _ in range(2):
        with AgentMem(server.url(), embedder=FakeEmbedder()) as mem:
            mem.add("red apple", id="a")
            assert mem.search("red apple")[0].id == "a"


def test_a_schema_with_other_tables_is_left_alone(postgres_url: str) -> None:
    base, _, schema = postgres_url.rpartition("&schema=")
    with psycopg.connect(base, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema} CREATE TABLE others(x int)".encode())
    mem = AgentMem(postgres_url, embedder=FakeEmbedder())
    with pytest.raises(StoreError, match="tables that are not a store's"), mem:
        mem.add("red apple")
