"""Tables hold the figures, and nothing in them that came from outside is obeyed."""

from datetime import datetime, timezone
from io import StringIO

import pytest
from rich.console import Console, RenderableType

from agentmem_cli.embedding.catalog import CatalogEntry
from agentmem_cli.ingest.report import IngestReport
from agentmem_cli.records.memory import Hit
from agentmem_cli.report.store_tables import hits_table, ingest_table, models_table

HOSTILE = "[red]x[/red] [/] :smile: \x1b[2J\x1b]0;t\x07\x9b31m\u202eevil\nline"
HARMLESS = "[red]x[/red] [/] :smile: \\u001b[2J\\u001b]0;t\\u0007\\u009b31m\\u202eevil\\nline"
OBEYED = "\x1b\x07\x9b\u202e"


def rendered(*renderables: RenderableType, width: int = 160, markup: bool = False) -> str:
    """What a console writes; one that takes no markup, like the commands' own, unless it is asked to."""
    file = StringIO()
    console = Console(file=file, width=width, markup=markup, emoji=markup, highlight=False)
    for renderable in renderables:
        console.print(renderable)
    return file.getvalue()


def words(shown: str) -> str:
    """The same without the space that a table is laid out with."""
    return " ".join(shown.split())


def hit(text: str = "likes tea", identity: str = "m1", score: float = 0.5, user: str | None = None) -> Hit:
    time = datetime(2024, 5, 1, 10, 30, tzinfo=timezone.utc)
    return Hit(identity, score, text, None, user, None, "core", None, time, {})


def test_hits_are_shown_best_first_with_score_scope_id_and_time() -> None:
    shown = rendered(hits_table([hit("likes tea", "m1", 0.91234, "ana"), hit("likes coffee", "m2", -0.1)], 2, 50))
    lines = [line.split() for line in shown.splitlines()]
    first = next(index for index, line in enumerate(lines) if "0.912" in line)
    assert lines[first] == ["0.912", "likes", "tea", "ana", "2024-05-01"]
    assert lines[first + 1] == ["m1", "core", "10:30", "UTC"]
    assert lines[first + 2] == ["-0.100", "likes", "coffee", "core", "2024-05-01"]
    assert "2 results" in shown
    assert "no other" not in shown


@pytest.mark.parametrize(("hits", "said"), [([], "0 results"), ([hit()], "1 result")])
def test_a_user_learns_when_nothing_else_matches(hits: list[Hit], said: str) -> None:
    assert f"{said}; no other of the 12,345 memories matches" in words(rendered(hits_table(hits, 10, 12_345)))


def test_a_long_text_is_folded_and_not_cut() -> None:
    shown = rendered(hits_table([hit("z" * 500)], 1, 1), width=80)
    assert shown.count("z") == 500


@pytest.mark.parametrize("markup", [False, True])
def test_hostile_texts_ids_and_scopes_of_hits_come_out_inert(markup: bool) -> None:
    for field in (hit(text=HOSTILE), hit(identity=HOSTILE)):
        shown = rendered(hits_table([field], 1, 1), markup=markup)
        assert HARMLESS in shown
        assert not set(OBEYED) & set(shown)
    folded = "".join(rendered(hits_table([hit(user=HOSTILE)], 1, 1), markup=markup).split())
    assert "[red]x[/red]" in folded
    assert not set(OBEYED) & set(folded)


def test_a_hostile_store_name_comes_out_inert() -> None:
    shown = rendered(ingest_table(IngestReport(), HOSTILE, "fake", dry_run=False))
    assert "".join(HARMLESS.split()) in "".join(shown.split())
    assert not set(OBEYED) & set(shown)


def test_the_table_of_an_ingest_holds_its_figures() -> None:
    report = IngestReport(
        read=12_345, added=12_000, updated=200, unchanged=100, rejected=45, embedded=11_000, reused=1_200, truncated=7,
        tokens=1_100, special_tokens=100, unknown_tokens=250, elapsed_s=2.0, stages_s={"embed": 1.25},
    )  # fmt: skip
    shown = rendered(ingest_table(report, "the-store", "fake", dry_run=False))
    rows = {" ".join(line.split()[:-1]): line.split()[-1] for line in shown.splitlines() if line.split()}
    assert "Ingested · the-store · fake" in shown
    assert {name: rows[name] for name in ("read", "added", "updated", "unchanged", "rejected")} == {
        "read": "12,345", "added": "12,000", "updated": "200", "unchanged": "100", "rejected": "45"
    }  # fmt: skip
    assert (rows["embedded"], rows["reused"], rows["truncated"]) == ("11,000", "1,200", "7")
    assert rows["tokens the model does not know"] == "25.0%"
    assert (rows["embed, s"], rows["total, s"], rows["memories/s"]) == ("1.250", "2.000", "6,150")


def test_a_dry_run_says_that_nothing_was_stored() -> None:
    shown = rendered(ingest_table(IngestReport(), "the-store", "fake", dry_run=True))
    assert "Dry run: nothing was stored · the-store" in shown
    assert "Ingested" not in shown


def test_models_are_listed_with_what_their_publisher_does_not_say_marked() -> None:
    entries = [
        CatalogEntry("all-MiniLM-L6-v2", "minilm", 384, 256, 21.4, "Apache-2.0", "PyPI", True),
        CatalogEntry("other", "", 512, None, None, "mit", "hub", False),
    ]
    lines = [words(line) for line in rendered(models_table(entries)).splitlines()]
    assert "all-MiniLM-L6-v2 (minilm) 384 256 21 Apache-2.0 PyPI yes" in lines
    assert "other 512 ? ? mit hub no" in lines
