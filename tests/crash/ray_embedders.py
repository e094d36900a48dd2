"""Embedders that workers on Ray get a copy of: slow ones, and ones that fail."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from agentmem_cli.embedding.base import Embedded
from agentmem_cli.errors import EmbeddingError
from tests.fakes import FakeEmbedder


class SlowEmbedder(FakeEmbedder):
    """Takes its time, more for some texts than for others."""

    def __init__(self, name: str = "fake", pause_s: float = 0.02) -> None:
        super().__init__(name)
        self._pause_s = pause_s

    def embed(self, texts: Sequence[str]) -> Embedded:
        time.sleep(self._pause_s * (1 + len(texts[0]) % 4))
        return super().embed(texts)


class DyingEmbedder(FakeEmbedder):
    """Ends its process, the first time in any process."""

    def __init__(self, has_died: Path) -> None:
        super().__init__()
        self._has_died = has_died

    def embed(self, texts: Sequence[str]) -> Embedded:
        if not self._has_died.exists():
            self._has_died.touch()
            os._exit(1)
        return super().embed(texts)


class FailingEmbedder(FakeEmbedder):
    """Fails at a text."""

    def embed(self, texts: Sequence[str]) -> Embedded:
        if any("memory 77 " in text for text in texts):
            raise EmbeddingError("model fake is out of order")
        return super().embed(texts)
