"""Threads and devices: what can't be is refused at once, and a model never runs elsewhere than it was asked to."""

from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
import pytest

from agentmem_cli import AgentMem
from agentmem_cli.embedding import catalog, hub
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.errors import DeviceError, UsageError

CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An onnxruntime that was built with CUDA, on a machine without its libraries."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])


@pytest.fixture
def running(installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a session that says that it runs on CUDA."""
    monkeypatch.setattr(onnxruntime.InferenceSession, "get_providers", lambda session: [CUDA, CPU])


@pytest.mark.parametrize("threads", [0, 257])
def test_so_many_threads_are_refused_at_once(threads: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"threads is {threads}: it must be from 1 to 256"):
        AgentMem(tmp_path / "store", threads=threads)


def test_a_device_that_nobody_knows_is_refused_at_once(tmp_path: Path) -> None:
    device: Any = "tpu"
    with pytest.raises(UsageError, match="device is tpu: it must be cpu or cuda"):
        AgentMem(tmp_path / "store", device=device)


def test_without_cuda_a_store_is_not_even_opened(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"has no CUDA: pip uninstall .*pip install fastembed-gpu") as error:
        AgentMem(tmp_path / "store", device="cuda")
    assert len(str(error.value).splitlines()) == 1
    assert not (tmp_path / "store").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("installed")
def test_cuda_without_its_libraries_is_an_error_and_not_a_slow_cpu(recwarn: pytest.WarningsRecorder) -> None:
    with pytest.raises(DeviceError, match="would run on the CPU, because CUDA could not be started"):
        catalog.load(catalog.resolve(), ModelChoice(device="cuda"))
    assert list(recwarn) == []


@pytest.mark.usefixtures("running")
def test_a_model_made_for_cpus_is_refused_on_cuda() -> None:
    with pytest.raises(DeviceError, match="all-MiniLM-L6-v2-int8 is made for CPUs: use --model minilm there"):
        catalog.load(catalog.resolve(ModelChoice("minilm-int8")), ModelChoice(device="cuda"))


@pytest.mark.usefixtures("running")
def test_a_model_without_a_session_is_refused_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    class Table:
        """As fastembed's static models: no onnxruntime inside."""

        model = object()

    monkeypatch.setattr(hub, "TextEmbedding", _Made(Table()))
    with pytest.raises(DeviceError, match="is a table of vectors and runs on the CPU"):
        catalog.load(catalog.resolve(), ModelChoice(device="cuda"))


class _Made:
    """Stands for fastembed's class: making one gives what was made before."""

    def __init__(self, model: object) -> None:
        self._model = model

    def __call__(self, *arguments: object, **options: object) -> object:
        return self._model

    def list_supported_models(self) -> list[dict[str, str]]:
        return []

    def add_custom_model(self, **options: object) -> None:
        return None


@pytest.mark.slow
@pytest.mark.usefixtures("running")
def test_on_cuda_one_session_takes_large_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = catalog.load(catalog.resolve(), ModelChoice(threads=2, device="cuda"))
    sessions: set[int] = set()
    parts: list[int] = []

    def run(session: object, _: object, feed: dict[str, np.typing.NDArray[np.int64]], *more: object) -> list[object]:
        sessions.add(id(session))
        parts.append(len(feed["input_ids"]))
        return [np.ones((*feed["input_ids"].shape, 384), dtype=np.float32)]

    monkeypatch.setattr(onnxruntime.InferenceSession, "run", run)
    embedder.embed(["cat " * 62] * 1200)
    assert (len(sessions), parts) == (1, [176] + 2 * [512])
