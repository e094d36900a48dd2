"""Benchmarks that measure in turn: each waits, before every step, until the other has taken one.

A shared machine is slow for seconds at a time; then both are slow, step by step, and their ratio stays what it is.
"""

import os
import sys
from collections.abc import Callable
from typing import Final

from agentmem_cli.errors import MeasurementError

IN_TURN: Final = "AGENTMEM_BENCH_IN_TURN"
OVER: Final = b'{"event":"step"}\n'  # what a process prints when its turn is over; it goes on when it is sent a line


def in_turn(on_step: Callable[[str], None]) -> Callable[[str], None]:
    """What to tell of each step before it begins: it returns when that step's turn has come.

    That is at once where IN_TURN is not set, as `bench ab` sets it. Raises MeasurementError where nobody gives turns.
    """
    if IN_TURN not in os.environ:
        return on_step

    def wait(step: str) -> None:
        on_step(step)
        sys.stdout.buffer.write(OVER)
        sys.stdout.buffer.flush()
        if not sys.stdin.buffer.readline():
            raise MeasurementError(f"{IN_TURN} is set, and nobody gives turns on standard input")

    return wait
