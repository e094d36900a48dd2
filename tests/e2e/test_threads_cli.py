"""`--threads` and `--device` reach the model, and what can't be is one line before anything is done."""

import pytest

from tests.e2e.conftest import EXAMPLES, Cli, Ingested

COMMANDS = [
    ("ingest", str(EXAMPLES / "memories.jsonl")),
    ("search", "tea"),
    ("reembed", "--model", "minilm-int8"),
    ("bench", "--sizes", "10", "--singles", "10"),
]
every_command = pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])


@every_command
@pytest.mark.parametrize("threads", ["0", "two"])
def test_a_number_of_threads_that_can_not_be_is_a_usage_error(
    command: tuple[str, ...], threads: str, agentmem: Cli, ingested: Ingested
) -> None:
    result = agentmem(*command, "--threads", threads, variables={"AGENTMEM_STORE": str(ingested.store)})
    assert result.exit_code == 2
    assert "--threads" in result.error()


@every_command
def test_cuda_where_there_is_none_is_one_line_that_says_what_to_install(
    command: tuple[str, ...], agentmem: Cli, ingested: Ingested
) -> None:
    result = agentmem(*command, "--device", "cuda", variables={"AGENTMEM_STORE": str(ingested.store)})
    assert result.exit_code == 1
    assert "pip install fastembed-gpu" in result.error()


def test_cuda_where_there_is_none_leaves_no_store(agentmem: Cli) -> None:
    assert agentmem("ingest", EXAMPLES / "memories.jsonl", "--device", "cuda").exit_code == 1
    assert not (agentmem.folder / ".agentmem").exists()


def test_a_device_that_nobody_knows_is_a_usage_error(agentmem: Cli, ingested: Ingested) -> None:
    result = agentmem("search", "tea", "--device", "tpu", "--store", ingested.store)
    assert result.exit_code == 2
    assert "--device" in result.error()


@pytest.mark.parametrize("threads", ["1", "3"])
def test_so_many_threads_as_asked_for_find_the_same(threads: str, agentmem: Cli) -> None:
    texts = [f"memory {i} is about {word}" for i in range(20) for word in ("tea", "rain", "boats", "chess", "salt")]
    agentmem.write("texts.jsonl", *({"text": text} for text in texts))
    assert agentmem("ingest", "texts.jsonl", "--threads", threads, "--quiet").exit_code == 0
    found = agentmem("search", "memory 7 is about chess", "-k", "1", "--threads", threads, "--json")
    assert [hit["text"] for hit in found.json()] == ["memory 7 is about chess"]


def test_int8_is_made_once_said_once_and_searched(agentmem: Cli) -> None:
    agentmem.write("texts.jsonl", {"text": "Maya drinks green tea."}, {"text": "The boat leaves at six."})
    cache = {"FASTEMBED_CACHE_PATH": str(agentmem.folder / "models")}
    first = agentmem("ingest", "texts.jsonl", "--model", "minilm-int8", "--quiet", variables=cache)
    assert (first.exit_code, first.stderr) == (
        0,
        "agentmem: making all-MiniLM-L6-v2-int8 from the installed weights, once\n",
    )
    (made,) = (agentmem.folder / "models").iterdir()
    found = agentmem("search", "what does she drink?", "-k", "1", "--json", variables=cache)
    assert (found.json()[0]["text"], found.stderr) == ("Maya drinks green tea.", "")
    made.write_bytes(made.read_bytes()[:-1])
    again = agentmem("search", "what does she drink?", "-k", "1", "--json", variables=cache)
    assert (again.json(), again.stderr) == (found.json(), first.stderr)


def test_a_model_cache_that_can_not_be_written_stops_int8_and_slows_fp32(agentmem: Cli) -> None:
    agentmem.write("texts.jsonl", {"text": "Maya drinks green tea."})
    (agentmem.folder / "file").write_text("no folder")
    nowhere = {"FASTEMBED_CACHE_PATH": "", "XDG_CACHE_HOME": str(agentmem.folder / "file")}
    int8 = agentmem("ingest", "texts.jsonl", "--model", "minilm-int8", "--store", "int8", variables=nowhere)
    assert int8.exit_code == 1
    assert "set FASTEMBED_CACHE_PATH to a folder that can" in int8.error()
    fp32 = agentmem("ingest", "texts.jsonl", "--json", "--quiet", variables=nowhere)
    assert (fp32.exit_code, fp32.json()["added"]) == (0, 1)
    assert fp32.stderr.startswith("agentmem: warning: model all-MiniLM-L6-v2 runs slower than it could: ")
    assert len(fp32.stderr.splitlines()) == 1
