"""Lines that were damaged in every way: each is a memory or is rejected with a reason, and nothing else happens."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Final

import orjson
import pytest

from agentmem_cli import AgentMem, Memory
from agentmem_cli.errors import InvalidMemoryError
from agentmem_cli.ingest.options import Observer
from agentmem_cli.records.jsonl import parse_memory
from agentmem_cli.records.memory import Rejection
from tests.fakes import FakeEmbedder

SEEDS: Final = [
    b'{"text":"red apple"}',
    b'{"id":"a","text":"red apple","user_id":"ana","agent_id":"g","run_id":"r","memory_type":"semantic"}',
    b'{"text":"blue whale","importance":0.5,"created_at":"2024-05-01T10:00:00Z","metadata":{"a":[1,null,true]}}',
    b'{"text":"\\u8a18\\u61b6 \\ud83d\\ude00","created_at":1714557600.25,"metadata":{"deep":{"er":{"x":-1e-9}}}}',
    '{"text":"«ü» 記憶 😀","topic":"food","n":18446744073709551615}'.encode(),
    b'{"text":"with a vector","agentmem_vector":{"revision":"other-1","float32":"AACAPwAAgD8="}}',
]
TOKENS: Final = [
    *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"-0.0", b"-"),
    *(b'"text":', b'"id":"",', b'"metadata":[],', b'"created_at":', b'"importance":"1",', b'"text":7,', b'"id":null,'),
    *(b'"text":"again",', b'"metadata":{"a":1},', b'"memory_type":"dream",', b'"user_id":"\\ud800",', b'"":{},'),
    *(b"\\ud800", b"\\udc00\\ud800", b"\\u0000", b"\x00", b"\x1b[2J", b"\x7f"),
    *(b"\xc2\x9b", b"\xe2\x80\xa8", b"\xef\xbb\xbf", b"\xff\xfe"),
    *(b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"9" * 18, b"9" * 19, b"9" * 20, b"9" * 5000),
    *(b"-9223372036854775809", b"1" + b"0" * 400, b"[" * 63, b"[" * 2000, b'{"a":' * 70, b"]" * 63, b" ", b"\t", b"\r"),
    *(b'"created_at":"2024-13-01",', b'"created_at":1e300,', b'"agentmem_vector":{},', b'"agentmem_vector":null,'),
]


def _flip(line: bytearray, chance: random.Random) -> None:
    line[chance.randrange(len(line))] ^= 1 << chance.randrange(8)


def _overwrite(line: bytearray, chance: random.Random) -> None:
    line[chance.randrange(len(line))] = chance.randrange(256)


def _cut(line: bytearray, chance: random.Random) -> None:
    del line[chance.randrange(len(line)) :]


def _drop(line: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(line))
    del line[start : start + chance.randrange(1, 9)]


def _insert(line: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(line))
    line[start:start] = chance.choice(TOKENS)


def _insert_a_key(line: bytearray, chance: random.Random) -> None:
    line[1:1] = chance.choice([token for token in TOKENS if token.endswith(b",") and len(token) > 1])


def _nest(line: bytearray, chance: random.Random) -> None:
    depth = chance.choice([1, 62, 63, 64, 200, 1100])
    line[1:1] = b'"deep":' + b"[" * depth + b"]" * depth + b","


def _repeat(line: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(line))
    line[start:start] = line[start : start + chance.randrange(1, 40)]


def _insert_a_number(line: bytearray, chance: random.Random) -> None:
    integer, real = chance.getrandbits(chance.randrange(1, 80)), chance.gauss(0, 1e200)
    number = chance.choice([str(integer), repr(real), "-0", "1e-400"])
    line[1:1] = b'"%s":%s,' % (chance.choice([b"n", b"importance", b"created_at", b"text"]), number.encode())


MUTATIONS: Final[list[Callable[[bytearray, random.Random], None]]] = [
    *(_flip, _overwrite, _cut, _drop, _insert, _insert, _insert_a_key, _nest, _repeat, _insert_a_number)
]


def mutant(chance: random.Random) -> bytes:
    """A valid line with one to four damages."""
    line = bytearray(chance.choice(SEEDS))
    for _ in range(chance.choice([1, 1, 1, 2, 2, 3, 4])):
        if line:
            chance.choice(MUTATIONS)(line, chance)
    return bytes(line)


def outcome(line: bytes) -> Memory | str:
    """The memory, or why it is none; anything else is a failure that shows the line."""
    try:
        return parse_memory(line)
    except InvalidMemoryError as error:
        return str(error)
    except BaseException as error:
        raise AssertionError(f"{line!r} raised {error!r}") from error


def check(count: int, seed: int) -> None:
    chance = random.Random(seed)
    memories = 0
    for _ in range(count):
        line = mutant(chance)
        became = outcome(line)
        if isinstance(became, str):
            assert became, line
        else:
            memories += 1
            if memories % 10 == 0:
                assert parse_memory(orjson.dumps(became.to_dict())) == became, line
    assert count / 10 < memories < count * 9 / 10  # both kinds were tried


def test_every_damaged_line_is_a_memory_or_has_a_reason() -> None:
    check(20_000, seed=0)


@pytest.mark.soak
def test_soak_a_million_damaged_lines_are_memories_or_have_reasons() -> None:
    check(1_000_000, 1_000_000)


class Rejects(Observer):
    """Counts rejections, and looks at them as whoever prints them does."""

    def __init__(self) -> None:
        self.count = 0

    def rejected(self, rejection: Rejection) -> None:
        assert rejection.reason
        assert rejection.line
        self.count += 1


def test_a_file_of_damaged_lines_is_taken_in_to_its_end(tmp_path: Path) -> None:
    chance = random.Random(20_000)
    path = tmp_path / "damaged.jsonl"
    path.write_bytes(b"\n".join(mutant(chance) for _ in range(3_000)))
    rejects = Rejects()
    with AgentMem(tmp_path / "store", embedder=FakeEmbedder()) as mem:
        report = mem.ingest([str(path)], observer=rejects)
        assert report.read == report.added + report.updated + report.unchanged + report.rejected
        assert report.read > 2_250
        assert report.rejected == rejects.count
        assert report.added > 150
        assert mem.verify() == []
        again = mem.ingest([str(path)])
        assert (again.read, again.rejected) == (report.read, report.rejected)
        assert again.added == 0
        assert mem.verify() == []
