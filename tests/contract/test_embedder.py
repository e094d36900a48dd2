"""What every embedder promises: unit vectors in the order of the texts, however they are batched, honestly counted."""

import json
import pickle
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pytest

from agentmem_cli.embedding import catalog, multilingual
from agentmem_cli.embedding.base import Embedded, Embedder, EmbedderSpec, TokenSpans, Vectors, embed_queries_checked
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.embedding.languages import MULTILINGUAL_MODEL
from tests.embedding_server import serving
from tests.fakes import FakeEmbedder
from tests.tiny_models import static_embedder

_REFERENCE = Path(__file__).parent.parent / "fixtures" / "minilm-reference-vectors.json"
_MIXED = [
    "short",
    "a memory of some length about red apples and green pears " * 5,
    "deux mots",
    "The user's sister, Ana, moved to Lisbon in 2021 and works as a nurse.",
    "数字 and words",
    "x" * 300,
    "?!",
    "user prefers dark roast coffee, no sugar",
]


def _multilingual() -> Embedder:
    if not multilingual.is_installed():
        pytest.skip("the extra 'multilingual' is not installed")
    return catalog.load(catalog.resolve(ModelChoice("multilingual")))


def _int8() -> Embedder:
    return catalog.load(catalog.resolve(ModelChoice("minilm-int8")))


@contextmanager
def _remote() -> Iterator[Embedder]:
    with serving() as server:
        yield catalog.load(catalog.resolve(ModelChoice(url=server.url)))


_EMBEDDERS: dict[str, Callable[[], AbstractContextManager[Embedder]]] = {
    "fake": lambda: nullcontext(FakeEmbedder()),
    "minilm": lambda: nullcontext(catalog.load(catalog.resolve())),
    "minilm-int8": lambda: nullcontext(_int8()),
    "multilingual": lambda: nullcontext(_multilingual()),
    "static": lambda: nullcontext(static_embedder()),
    "remote": _remote,
}


@pytest.fixture(scope="module", params=_EMBEDDERS)
def embedder(request: pytest.FixtureRequest) -> Iterator[Embedder]:
    with _EMBEDDERS[request.param]() as made:
        yield made


@pytest.fixture(scope="module")
def together(embedder: Embedder) -> Embedded:
    """The texts of mixed lengths, embedded in one call."""
    return embedder.embed(_MIXED)


@pytest.fixture(scope="module")
def alone(embedder: Embedder) -> list[Embedded]:
    """The same texts, each in a call of its own."""
    return [embedder.embed([text]) for text in _MIXED]


@pytest.fixture
def telling(embedder: Embedder) -> Embedder:
    """One that says what it cuts and what it does not know."""
    if embedder.spec.token_limit == 0:
        pytest.skip("a server does not say")
    return embedder


def _cosines(left: Vectors, right: Vectors) -> list[float]:
    return [float(cosine) for cosine in np.sum(left * right, axis=1)]


def test_rows_are_float32_of_unit_length(embedder: Embedder, together: Embedded) -> None:
    vectors = together.vectors
    assert vectors.shape == (len(_MIXED), embedder.spec.dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), np.ones(len(_MIXED)), atol=1e-5)


def test_texts_of_mixed_lengths_come_back_in_the_order_they_were_given(
    embedder: Embedder, alone: list[Embedded]
) -> None:
    vectors = embedder.embed(_MIXED * 9).vectors  # more than goes through a model at once
    cosines = vectors @ np.concatenate([one.vectors for one in alone]).T
    assert np.argmax(cosines, axis=1).tolist() == [*range(len(_MIXED))] * 9


def test_a_text_has_the_same_vector_alone_and_in_a_batch(together: Embedded, alone: list[Embedded]) -> None:
    assert min(_cosines(together.vectors, np.concatenate([one.vectors for one in alone]))) >= 0.99999


def test_the_order_of_a_batch_changes_no_vector(embedder: Embedder, together: Embedded) -> None:
    back = embedder.embed(_MIXED[::-1]).vectors
    assert min(_cosines(together.vectors, back[::-1])) >= 0.99999


def test_a_text_that_is_given_twice_has_the_same_vector_twice(embedder: Embedder) -> None:
    vectors = embedder.embed(["red apple", "blue whale", "red apple"]).vectors
    assert vectors.shape[0] == 3
    assert min(_cosines(vectors[:1], vectors[2:])) >= 0.99999
    assert max(_cosines(vectors[:1], vectors[1:2])) < 0.9


def test_a_query_has_the_unit_vector_of_its_text(embedder: Embedder) -> None:
    query = embedder.embed_query("red apple")
    assert query.shape == (embedder.spec.dim,)
    assert query.dtype == np.float32
    assert float(np.linalg.norm(query)) == pytest.approx(1, abs=1e-5)
    own, other = embedder.embed(["red apple", "blue whale"]).vectors @ query
    if embedder.spec.name == MULTILINGUAL_MODEL:  # reads another prefix before queries
        assert 0.99 > own > other + 0.05
    else:
        assert own >= 0.99999


def test_queries_have_together_and_in_their_order_the_vectors_that_each_has_alone(embedder: Embedder) -> None:
    queries = _MIXED * 4  # more than goes through a model at once
    together = embed_queries_checked(embedder, queries)
    assert together.shape == (len(queries), embedder.spec.dim)
    assert together.dtype == np.float32
    alone = np.array([embedder.embed_query(query) for query in _MIXED])
    assert min(_cosines(together, np.tile(alone, (4, 1)))) >= 0.99999
    assert embed_queries_checked(embedder, []).shape == (0, embedder.spec.dim)


def test_counts_of_a_batch_are_the_sums_of_its_texts(
    embedder: Embedder, together: Embedded, alone: list[Embedded]
) -> None:
    for name in ("tokens", "special_tokens", "unknown_tokens", "truncated"):
        assert getattr(together, name) == sum(getattr(one, name) for one in alone)
    assert 0 < together.tokens <= (embedder.spec.token_limit or 10_000) * len(_MIXED)
    assert together.special_tokens < together.tokens


def test_tokens_are_counted_up_to_the_limit_and_longer_texts_as_truncated(telling: Embedder) -> None:
    limit = telling.spec.token_limit
    own = limit - telling.embed(["word"]).special_tokens
    fits, over = telling.embed(["word " * own]), telling.embed(["word " * (own + 1)])
    assert (fits.tokens, fits.truncated) == (limit, 0)
    assert (over.tokens, over.truncated) == (limit, 1)


def test_each_text_that_is_cut_is_told_apart(telling: Embedder) -> None:
    limit = telling.spec.token_limit
    embedded = telling.embed(["short", "word " * (limit + 1), "", "word " * 2 * limit, "last"])
    assert embedded.cut.tolist() == [False, True, False, True, False]
    assert embedded.cut.dtype == np.bool_


def test_every_embedder_says_of_each_text_whether_it_was_cut(together: Embedded) -> None:
    assert together.cut.shape == (len(_MIXED),)


def test_the_spans_of_tokens_are_those_that_are_counted(telling: Embedder) -> None:
    assert isinstance(telling, TokenSpans)
    for text in ("hello world", "unbelievable cats, don't", "数字 and words", " two  spaces ", "hello 𓀀 world"):
        embedded, spans = telling.embed([text]), telling.token_spans(text)
        assert embedded.special_tokens == telling.special_tokens
        assert len(spans) == embedded.tokens - embedded.special_tokens
        assert spans == sorted(spans)
        assert all(0 <= start < stop <= len(text) for start, stop in spans)


def test_tokens_that_the_model_has_no_vector_for_are_counted(telling: Embedder) -> None:
    for word, unknown in (("word", 0), ("zz𓀀", 1)):
        assert telling.embed([f"hello {word} world"]).unknown_tokens == unknown


def test_a_spec_survives_pickling_and_storing(embedder: Embedder) -> None:
    spec = embedder.spec
    assert pickle.loads(pickle.dumps(spec)) == spec
    stored = json.loads(json.dumps(spec.stored()))
    assert EmbedderSpec.from_stored(stored) == spec


def test_the_same_model_loaded_again_has_the_same_fingerprint_without_its_folder(embedder: Embedder) -> None:
    spec = embedder.spec
    own = {"fake": FakeEmbedder().spec, static_embedder().spec.name: static_embedder().spec}
    if spec.name.startswith("remote:"):
        again = catalog.resolve(ModelChoice(url=spec.folder))
    else:
        again = own[spec.name] if spec.name in own else catalog.load(catalog.resolve(ModelChoice(spec.name))).spec
    assert again.fingerprint() == spec.fingerprint()
    assert set(again.fingerprint()) == {"name", "revision", "dim", "token_limit", "pooling", "precision"}


def test_minilm_of_no_texts_gives_no_rows(minilm: Embedder) -> None:
    embedded = minilm.embed([])
    assert embedded.vectors.shape == (0, 384)
    assert (embedded.tokens, embedded.special_tokens, embedded.unknown_tokens, embedded.truncated) == (0, 0, 0, 0)


def test_minilms_vectors_are_those_of_the_published_model(minilm: Embedder) -> None:
    reference = json.loads(_REFERENCE.read_text(encoding="utf-8"))["vectors"]
    expected = np.array([entry["embedding"] for entry in reference], dtype=np.float32)
    vectors = minilm.embed([entry["text"] for entry in reference]).vectors
    assert len(reference) == 16
    assert min(_cosines(vectors, expected / np.linalg.norm(expected, axis=1, keepdims=True))) >= 0.997


def test_minilm_reads_256_tokens_and_no_more(minilm: Embedder) -> None:
    assert minilm.spec.token_limit == 256
    words = ["apple", "river", "music", "winter"] * 80
    cut, shorter = " ".join(words[:254]), " ".join(words[:120])
    vectors = minilm.embed([" ".join(words), cut + " and something else entirely", cut, shorter]).vectors
    assert min(_cosines(vectors[:2], vectors[[2, 2]])) >= 0.99999
    assert max(_cosines(vectors[3:], vectors[2:3])) < 0.9999
    assert minilm.embed([" ".join(words), cut]).truncated == 1


def test_minilm_puts_what_means_the_same_nearer_than_what_does_not(minilm: Embedder) -> None:
    query = minilm.embed_query("How does she get to work?")
    near, far = minilm.embed(["Ana takes the tram to the office.", "The cake needs three eggs."]).vectors @ query
    assert near > far + 0.2


def test_int8_is_near_fp32_and_a_model_of_its_own(minilm: Embedder) -> None:
    texts, int8 = [*_MIXED, "Ana takes the tram to the office."], _int8()
    assert min(_cosines(int8.embed(texts).vectors, minilm.embed(texts).vectors)) >= 0.95
    assert int8.spec.revision != minilm.spec.revision
    assert (int8.spec.precision, minilm.spec.precision) == ("int8", "fp32")
