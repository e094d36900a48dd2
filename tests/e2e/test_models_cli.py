"""`agentmem models` lists what can be named and what is here, and a model that isn't is refused in one line."""

from dataclasses import dataclass
from typing import Final

import pytest

from tests.e2e.conftest import Cli, Ingested, Result

ENTRY_KEYS: Final = ["name", "alias", "dim", "token_limit", "size_mb", "licence", "source", "here", "note"]


@dataclass(frozen=True)
class Listed:
    """The list of models as JSON and as a table, and where it was asked for."""

    cli: Cli
    json: Result
    table: Result


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Listed:
    """The list of models, asked for once in each format."""
    cli = Cli(tmp_path_factory.mktemp("models"))
    return Listed(cli, cli("models", "--json"), cli("models", variables={"COLUMNS": "250"}))


def test_json_lists_the_default_model_first_and_as_installed(listed: Listed) -> None:
    default, int8, *others = listed.json.json()
    assert (listed.json.exit_code, listed.json.stderr) == (0, "")
    assert list(default) == ENTRY_KEYS
    assert (default["name"], default["alias"], default["dim"]) == ("all-MiniLM-L6-v2", "minilm", 384)
    assert default["here"] is int8["here"] is True
    assert (int8["name"], int8["alias"]) == ("all-MiniLM-L6-v2-int8", "minilm-int8")
    assert "cosine" in int8["note"]
    assert len({entry["name"] for entry in others}) == len(others) > 10
    assert {entry["alias"] for entry in others if entry["here"]} <= {"multilingual"}


def test_the_table_names_every_model(listed: Listed) -> None:
    assert (listed.table.exit_code, listed.table.stderr) == (0, "")
    for entry in listed.json.json():
        assert f" {entry['name']} " in listed.table.stdout
        assert entry["note"] in " ".join(listed.table.stdout.split())


def test_to_list_models_leaves_no_files_behind(listed: Listed) -> None:
    assert [path for path in listed.cli.folder.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (("search", "tea", "--model", "BAAI/bge-small-en-v1.5"), 1, "the hub can't be reached"),
        (("ingest", "-", "--model", "BAAI/bge-small-en-v1.6"), 1, "did you mean BAAI/bge-small-en-v1.5?"),
        (("bench", "--model", "zzzzzz"), 1, "no model is named zzzzzz"),
        (("ingest", "-", "--model-path", "nowhere"), 1, "does not exist"),
        (("search", "tea", "--model-path", "."), 1, "has no model.onnx"),
        (("ingest", "-", "--model", "minilm", "--model-path", "."), 2, "two models"),
    ],
    ids=["not cached", "unknown", "like no other", "no folder", "no weights", "two"],
)
def test_a_model_that_can_not_be_had_is_one_line(
    arguments: tuple[str, ...], exit_code: int, said: str, agentmem: Cli, ingested: Ingested
) -> None:
    result = agentmem(*arguments, variables={"AGENTMEM_STORE": str(ingested.store)})
    assert result.exit_code == exit_code
    assert said in result.error()


def test_a_model_that_can_not_be_had_leaves_no_store(agentmem: Cli) -> None:
    assert agentmem("ingest", "-", "--model-path", "nowhere").exit_code == 1
    assert not (agentmem.folder / ".agentmem").exists()


@pytest.mark.parametrize("name", ["minilm", "all-MiniLM-L6-v2"])
def test_a_store_takes_its_own_model_by_name_and_alias(name: str, agentmem: Cli, ingested: Ingested) -> None:
    result = agentmem("search", "tea", "--user-id", "nobody", "--model", name, "--store", ingested.store, "--json")
    assert (result.exit_code, result.json()) == (0, [])
