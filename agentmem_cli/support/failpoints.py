"""Hooks for tests: the steps of a write, at which tests crash the process, and stages that tests slow down."""

import os
import time
from collections.abc import Callable
from typing import Final

from agentmem_cli.errors import UsageError

STEPS: Final = (
    "create.schema",
    "create.named",
    "commit.begun",
    "commit.vectors",
    "commit.memories",
    "commit.history",
    "commit.chunks",
    "commit.words",
    "commit.position",
    "commit.done",
    "publish.written",
    "publish.synced",
    "publish.named",
    "publish.recorded",
    "publish.cleaned",
    "delete.rows",
    "delete.vectors",
    "stage.rows",
    "switch.vectors",
    "switch.pinned",
    "compact.unpublished",
    "compact.vacuumed",
)

# Set only by tests.
hook: Callable[[str], None] | None = None


def reached(step: str) -> None:
    """Reports that the process has reached a step of `STEPS`."""
    if hook is not None:
        hook(step)


SLOWDOWN_VARIABLE: Final = "AGENTMEM_TEST_SLOWDOWN"
_SLOWED: Final = ("embed", "commit")
_LEAST_SLEEP_S: Final = 0.002  # shorter sleeps are inaccurate


def slowdown() -> float:
    """The share of their own time that the costly stages of an ingest wait in addition: 0 except in tests of the gate.

    Raises UsageError if AGENTMEM_TEST_SLOWDOWN is not a share such as 0.2.
    """
    share = os.environ.get(SLOWDOWN_VARIABLE, "0")
    try:
        if 0 <= float(share) <= 100:
            return float(share)
    except ValueError:
        pass
    raise UsageError(f"{SLOWDOWN_VARIABLE} is {share}: it is a share such as 0.2, and for tests alone")


def slowed(stage: str, start_s: float) -> None:
    """Slows down a stage that began at `start_s` (`time.perf_counter`), if a test asks for it."""
    if stage not in _SLOWED or not (share := slowdown()):
        return
    until = time.perf_counter() + share * (time.perf_counter() - start_s)
    while (left_s := until - time.perf_counter()) > 0:
        if left_s > _LEAST_SLEEP_S:
            time.sleep(left_s - _LEAST_SLEEP_S)
