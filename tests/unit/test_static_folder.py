"""A static model's folder is whole or not there, and one that was changed is never loaded."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from agentmem_cli.embedding import static_files
from agentmem_cli.embedding.base import EmbedderSpec
from agentmem_cli.errors import ModelDamagedError, ModelError

VECTORS = np.arange(12, dtype=np.float16).reshape(6, 2)


def publish(parent: Path) -> EmbedderSpec:
    return static_files.publish(parent, "tiny", VECTORS, "{}", {"source": "fake", "own_texts": 3})


def test_what_was_published_is_read_again(tmp_path: Path) -> None:
    spec = publish(tmp_path / "models" / "tiny")
    folder = Path(spec.folder)
    assert folder.name == spec.revision[:16]
    assert (spec.dim, spec.name) == (2, "tiny")
    vectors, tokenizer_json = static_files.read(folder)
    np.testing.assert_array_equal(vectors, VECTORS)
    assert tokenizer_json == "{}"
    assert static_files.about(folder) == {"source": "fake", "own_texts": 3}
    assert static_files.spec_of("tiny", folder) == spec


def test_the_same_model_has_the_same_revision_every_time(tmp_path: Path) -> None:
    assert len({publish(tmp_path / str(i)).revision for i in range(5)}) == 1


def test_several_that_publish_at_once_leave_one_whole_model(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        specs = list(pool.map(publish, [tmp_path] * 24))
    assert len(set(specs)) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == [specs[0].revision[:16]]


def test_one_that_was_published_a_moment_before_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = publish(tmp_path)
    before = Path(spec.folder).stat().st_ino
    monkeypatch.setattr(shutil, "rmtree", _only_temporary(shutil.rmtree))
    assert publish(tmp_path) == spec
    assert Path(spec.folder).stat().st_ino == before


def _only_temporary(remove: Callable[..., None]) -> Callable[..., None]:
    def checked(path: Path, ignore_errors: bool = False) -> None:
        assert path.name.startswith(".making-")
        remove(path, ignore_errors=ignore_errors)

    return checked


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_changed_file_is_found_and_replaced(file: str, damage: str, tmp_path: Path) -> None:
    spec = publish(tmp_path)
    path = Path(spec.folder) / file
    content = path.read_bytes()
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(content[:-1] + (bytes([content[-1] ^ 1]) if damage == "flip" else b""))
    assert static_files.find(spec, [tmp_path]) is None
    with pytest.raises(ModelDamagedError) as error:
        static_files.spec_of("tiny", Path(spec.folder))
    assert spec.folder in str(error.value)
    assert publish(tmp_path) == spec
    assert path.read_bytes() == content
    assert static_files.find(spec, [tmp_path]) == Path(spec.folder)


def test_a_copy_is_the_same_model(tmp_path: Path) -> None:
    spec = publish(tmp_path / "cache")
    static_files.copy_into(tmp_path / "store", Path(spec.folder))
    shutil.rmtree(spec.folder)
    assert static_files.find(spec, [tmp_path / "cache", tmp_path / "store"]) == tmp_path / "store" / spec.revision[:16]


def test_a_copy_of_a_damaged_model_is_not_taken_for_it(tmp_path: Path) -> None:
    spec = publish(tmp_path / "cache")
    (Path(spec.folder) / "tokenizer.json").write_text("{ }")
    static_files.copy_into(tmp_path / "store", Path(spec.folder))
    assert static_files.find(spec, [tmp_path / "store"]) is None


def test_a_folder_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="can't be written to"):
        publish(tmp_path / "file" / "tiny")


def test_others_are_removed(tmp_path: Path) -> None:
    spec = publish(tmp_path)
    shutil.copytree(spec.folder, tmp_path / "0123456789abcdef")
    (tmp_path / ".making-a1b2c3_d").mkdir()
    (tmp_path / ".making-a1b2c3_d" / "tokenizer.json").write_text("half")
    static_files.keep_only(tmp_path, spec.revision)
    assert [entry.name for entry in tmp_path.iterdir()] == [spec.revision[:16]]
    static_files.keep_only(tmp_path, None)
    assert list(tmp_path.iterdir()) == []
