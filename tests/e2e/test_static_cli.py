"""The static model on the command line: made once with progress on stderr, used by name, carried by its store."""

import functools
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from agentmem_cli.embedding import distill
from tests.e2e.conftest import Cli, Ingested
from tests.tiny_models import onnx_folder, static_spec

STATIC: Final = "all-MiniLM-L6-v2-static"


@pytest.fixture
def agentmem(agentmem: Cli) -> Cli:
    """With a model cache of its own."""
    return replace(agentmem, models=agentmem.folder / "models")


@pytest.fixture
def made(agentmem: Cli) -> Cli:
    """With the static model in the cache, as if it had been made."""
    folder = Path(static_spec().folder)
    shutil.copytree(folder, agentmem.folder / "models" / "static" / STATIC / folder.name)
    return agentmem


def test_a_store_of_the_static_model_outlives_the_cache(made: Cli) -> None:
    memories = made.write(
        "memories.jsonl", {"id": "1", "text": "the ferry leaves at nine"}, {"id": "2", "text": "red tea"}
    )
    ingested = made("ingest", memories, "--model", "minilm-static", "--json", "--progress", "none")
    assert (ingested.exit_code, ingested.stderr) == (0, "")
    assert ingested.json()["added"] == 2
    shutil.rmtree(made.folder / "models")
    for model in ((), ("--model", "minilm-static")):
        found = made("search", "ferry", "-k", "1", "--json", *model)
        assert (found.exit_code, [hit["id"] for hit in found.json()]) == (0, ["1"])
    more = made.write("more.jsonl", {"id": "3", "text": "a ladder"})
    assert made("ingest", more, "--quiet").exit_code == 0
    assert made("verify").exit_code == 0
    assert made("compact").exit_code == 0
    assert len(made("export").stdout.splitlines()) == 3
    files = made("stats", "--json").json()["bytes_by_file"]
    assert len([name for name in files if name.startswith("model/")]) == 2
    assert not (made.folder / "models").exists()


def test_a_lost_model_is_one_line_that_says_where_it_should_be(made: Cli) -> None:
    memories = made.write("memories.jsonl", {"text": "the ferry leaves at nine"})
    made("ingest", memories, "--model", "minilm-static", "--quiet")
    shutil.rmtree(made.folder / "models")
    shutil.rmtree(made.folder / ".agentmem" / "model")
    result = made("search", "ferry")
    assert result.exit_code == 1
    assert result.error().startswith(f"model {STATIC} (revision {static_spec().revision[:12]}) is whole in none of ")


def test_a_store_can_be_changed_to_it(made: Cli, ingested: Ingested) -> None:
    shutil.copytree(ingested.store, made.folder / ".agentmem")
    result = made("reembed", "--model", "minilm-static", "--json")
    assert (result.exit_code, result.json()["to"]) == (0, STATIC)
    assert len(made("search", "tea", "--json").json()) == 10


def test_it_is_listed_with_its_alias(made: Cli) -> None:
    listed = {entry["name"]: entry for entry in made("models", "--json").json()}
    assert (listed[STATIC]["alias"], listed[STATIC]["here"]) == ("minilm-static", True)


def test_a_model_is_distilled_fitted_listed_and_used(agentmem: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distill, "distill", functools.partial(distill.distill, count=60))
    folder = onnx_folder(agentmem.folder / "onnx")
    own = agentmem.write("own.jsonl", {"text": "the red cat"}, {"text": "a dog"})
    result = agentmem(
        "models", "distill", "--model-path", folder, "--dim", "8", "--name", "pets", "--fit", own, "--json"
    )
    assert result.exit_code == 0
    assert "making the static model" in result.stderr
    assert result.json() == {
        "name": "pets",
        "revision": result.json()["revision"],
        "dim": 8,
        "folder": str(agentmem.folder / "models" / "static" / "pets" / result.json()["revision"][:16]),
    }
    assert "pets" in {entry["name"] for entry in agentmem("models", "--json").json()}
    ingested = agentmem("ingest", own, "--model", "pets", "--json")
    assert ingested.json()["added"] == 2
    assert json.loads(agentmem("search", "cat", "-k", "1", "--jsonl").stdout)["text"] == "the red cat"
    again = agentmem("models", "distill", "--model-path", folder, "--dim", "8", "--name", "pets")
    assert (again.exit_code, again.error()) == (2, "there is already a model named pets: give another --name")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        ((), 2, "needs NAME or --model-path"),
        (("minilm", "--name", "../up"), 2, "can't be named '../up'"),
        (("minilm", "--fit", "nowhere"), 2, "there is no such file or store"),
        (("minilm", "--dim", "385"), 2, "--dim 385: model all-MiniLM-L6-v2 has 384 dims"),
        (("minilm-static",), 2, "it is static already"),
    ],
)
def test_what_can_not_be_distilled_is_one_line(
    arguments: tuple[str, ...], exit_code: int, said: str, made: Cli
) -> None:
    result = made("models", "distill", *arguments)
    assert result.exit_code == exit_code
    assert said in result.error()
