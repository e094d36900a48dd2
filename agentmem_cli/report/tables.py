"""The style of all tables, and escaped text for their cells."""

from rich import box
from rich.table import Table
from rich.text import Text

from agentmem_cli.support.safe_text import printable


def plain_table(title: str | None, *, show_header: bool = True) -> Table:
    """An empty table in the common style; the title is escaped."""
    return Table(
        title=None if title is None else inert(title),
        title_justify="left",
        title_style="bold",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_header=show_header,
    )


def inert(text: str) -> Text:
    """Text from outside with control characters escaped."""
    return Text(printable(text))


def with_id(text: str, identity: str) -> Text:
    """A text from outside with an id on a line below it."""
    return Text.assemble(inert(text), "\n", (printable(identity), "dim"))
