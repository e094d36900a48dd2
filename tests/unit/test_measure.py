"""Measurements: what is done around them must not swallow an interrupt."""

import os
import signal

import pytest

from agentmem_cli.bench.measure import collect_garbage


class _InterruptedWhenCollected:
    """Garbage in a cycle; a signal comes while Python finalizes it."""

    def __init__(self) -> None:
        self.cycle = self

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupt_while_garbage_is_collected_is_not_lost() -> None:
    _InterruptedWhenCollected()
    with pytest.raises(KeyboardInterrupt):
        collect_garbage()
