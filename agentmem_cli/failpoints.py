"""The steps between which a crash may fall, named, so that a test can stop the process at each of them."""

from collections.abc import Callable
from typing import Final

STEPS: Final = (
    "create.schema",
    "create.named",
    "commit.begun",
    "commit.vectors",
    "commit.memories",
    "commit.history",
    "commit.windows",
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
