"""`agentmem guide`: the list, one guide, the Chinese quick start, and a wrong topic."""

from pathlib import Path

import pytest

from agentmem_cli.cli.guide import TOPICS
from tests.e2e.conftest import Cli

GUIDES = Path(__file__).parents[2] / "agentmem_cli" / "guides"


def test_every_guide_is_listed_with_its_title_and_shown_as_it_is(agentmem: Cli) -> None:
    listed = agentmem("guide")
    assert listed.exit_code == 0
    assert {path.stem for path in GUIDES.glob("*.md")} == {*TOPICS, "quickstart.zh"}
    for topic in TOPICS:
        text = (GUIDES / f"{topic}.md").read_text(encoding="utf-8")
        assert f"{topic:<18} {text.splitlines()[0].removeprefix('# ')}\n" in listed.stdout


def test_a_guide_is_shown_as_markdown_where_there_is_no_terminal(agentmem: Cli) -> None:
    assert agentmem("guide", "models").stdout == (GUIDES / "models.md").read_text(encoding="utf-8")


def test_a_chinese_reader_gets_a_quick_start(agentmem: Cli) -> None:
    assert agentmem("guide", "--lang", "zh").stdout.startswith("# 十分钟上手\n")


@pytest.mark.parametrize("arguments", [("nonsense",), ("models", "--lang", "zh")])
def test_a_guide_that_there_is_not_is_a_usage_error(agentmem: Cli, arguments: tuple[str, ...]) -> None:
    result = agentmem("guide", *arguments)
    assert (result.exit_code, "guide" in result.error()) == (2, True)
