"""Files that are made once: found again when whole, made again when damaged, whole whoever makes them at once."""

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from agentmem_cli.embedding.cache import made

KEY = "model-1"
SHA256 = hashlib.sha256(b"weights").hexdigest()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty model cache, whose folder is not there yet."""
    monkeypatch.setenv("FASTEMBED_CACHE_PATH", str(tmp_path / "deep" / "cache"))
    return tmp_path / "deep" / "cache"


class Maker:
    """Writes a file, and counts how often it was asked to."""

    def __init__(self, content: bytes = b"weights") -> None:
        self.made = 0
        self._content = content

    def __call__(self, target: Path) -> None:
        self.made += 1
        target.write_bytes(self._content)


def test_a_file_is_made_once(folder: Path) -> None:
    maker = Maker()
    first, second = made(KEY, SHA256, maker), made(KEY, SHA256, maker)
    assert first == second
    assert (first.read_bytes(), maker.made) == (b"weights", 1)
    assert list(folder.iterdir()) == [first]


def test_files_of_two_keys_are_two_files() -> None:
    one, other = made(KEY, "0", Maker(b"one")), made("model-2", "0", Maker(b"other"))
    assert (one.read_bytes(), other.read_bytes()) == (b"one", b"other")


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(b"weightz"),
        lambda file: file.write_bytes(b"weight"),
        lambda file: file.write_bytes(b""),
        lambda file: file.unlink(),
    ],
    ids=["a byte", "cut", "empty", "gone"],
)
def test_a_damaged_file_is_made_again_in_its_place(damage: Callable[[Path], object], folder: Path) -> None:
    maker = Maker()
    whole = made(KEY, SHA256, maker)
    damage(whole)
    assert made(KEY, SHA256, maker).read_bytes() == b"weights"
    assert maker.made == 2
    assert list(folder.iterdir()) == [whole]


def test_what_another_onnx_makes_otherwise_is_used_and_made_again_the_next_time() -> None:
    maker = Maker(b"the same weights, written otherwise")
    first, second = made(KEY, SHA256, maker), made(KEY, SHA256, maker)
    assert first == second
    assert (first.read_bytes(), maker.made) == (b"the same weights, written otherwise", 2)


def test_a_maker_that_fails_leaves_nothing_and_can_be_tried_again(folder: Path) -> None:
    def fail(target: Path) -> None:
        target.write_bytes(b"half")
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        made(KEY, SHA256, fail)
    assert list(folder.iterdir()) == []
    assert made(KEY, SHA256, Maker()).read_bytes() == b"weights"


def test_makers_at_once_all_get_a_whole_file(folder: Path) -> None:
    makers, found = 4, list[Path]()
    together = threading.Barrier(makers)

    def make(target: Path, content: bytes) -> None:
        together.wait(10)  # every one has found the cache empty by now
        target.write_bytes(content)

    def run(content: bytes) -> None:
        found.append(made(KEY, SHA256, lambda target: make(target, content)))

    threads = [
        threading.Thread(target=run, args=(b"weights" if i % 2 else b"written otherwise",)) for i in range(makers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(file.read_bytes() for file in found) == [b"weights"] * 2 + [b"written otherwise"] * 2
    assert made(KEY, SHA256, lambda target: pytest.fail("made again")).read_bytes() == b"weights"
    assert set(folder.iterdir()) == set(found)


def test_a_cache_that_can_not_be_written_is_an_oserror(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.parent.mkdir()
    folder.write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    with pytest.raises(OSError, match=folder.name):
        made(KEY, SHA256, Maker())
