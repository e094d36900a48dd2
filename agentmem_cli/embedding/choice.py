"""Which embedding model to use and how to run it. Loads nothing."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from agentmem_cli.errors import UsageError
from agentmem_cli.records.values import kind_of

Device: TypeAlias = Literal["cpu", "cuda"]
PROVIDERS: Final[dict[Device, str]] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}  # of onnxruntime
MAX_THREADS: Final = 256


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The model that a caller asks for. Raises UsageError for values that contradict each other or are out of range.

    The model is `name` (a name or alias of `agentmem models`), the model folder `path`, or a model that the
    OpenAI-compatible server at `url` serves; `name` then selects one of that server's models. With none of them it is
    the store's own model, or the default. `threads` is the number of threads that embed, by default one per core; for
    a server it is the number of concurrent requests.
    """

    name: str | None = None
    path: str | None = None
    url: str | None = None
    device: Device = "cpu"
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.path is not None and self.name is not None:
            raise UsageError("--model and --model-path name two models: give one of them")
        if self.path is not None and self.url is not None:
            raise UsageError("--embedder-url and --model-path name two models: give one of them")
        for argument, value in (("model", self.name), ("model_path", self.path), ("embedder_url", self.url)):
            if value is not None and not isinstance(value, str):
                raise UsageError(f"{argument} must be a string, not {kind_of(value)}: give its name, folder or address")
        if self.threads is not None and not isinstance(self.threads, int):
            raise UsageError(f"threads must be a whole number, not {kind_of(self.threads)}")
        if self.threads is not None and not 1 <= self.threads <= MAX_THREADS:
            raise UsageError(f"threads is {self.threads}: it must be from 1 to {MAX_THREADS}")
        if self.device not in get_args(Device):
            raise UsageError(f"device is {self.device}: it must be {' or '.join(get_args(Device))}")

    @property
    def names_a_model(self) -> bool:
        """Whether a model is named; otherwise the store's own or the default is used."""
        return (self.name, self.path, self.url) != (None, None, None)
