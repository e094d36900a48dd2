"""Where tests take a hand: the steps between which a crash may fall, and the stages that can be slowed down."""

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

# Only tests set it.
hook: Callable[[str], None] | None = None


def reached(step: str) -> None:
    """Says that a step of `STEPS` has been taken."""
    if hook is not None:
        hook(step)


SLOWDOWN_VARIABLE: Final = "AGENTMEM_TEST_SLOWDOWN"
_SLOWED: Final = ("embed", "commit")
_LEAST_SLEEP_S: Final = 0.002  # a shorter sleep takes longer than it was asked to


def slowdown() -> float:
    """By which share of their own time the costly stages of an ingest are slowed down: 0 but in tests of the gate.

    Raises UsageError where AGENTMEM_TEST_SLOWDOWN is not a share such as 0.2.
    """
    share = os.environ.get(SLOWDOWN_VARIABLE, "0")
    try:
        if 0 <= float(share) <= 100:
            return float(share)
    except ValueError:
        pass
    raise UsageError(f"{SLOWDOWN_VARIABLE} is {share}: it is a share such as 0.2, and for tests alone")


def slowed(stage: str, start_s: float) -> None:
    """Waits in a stage that began at `start_s` of `time.perf_counter`, if a test wants it to take longer."""
    if stage not in _SLOWED or not (share := slowdown()):
        return
    until = time.perf_counter() + share * (time.perf_counter() - start_s)
    while (left_s := until - time.perf_counter()) > 0:
        if left_s > _LEAST_SLEEP_S:
            time.sleep(left_s - _LEAST_SLEEP_S)
