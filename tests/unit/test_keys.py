"""The fields of a memory are found under the names that other programs give them."""

from datetime import datetime, timezone
from typing import Any

import orjson
import pytest

from agentmem_cli.errors import InvalidMemoryError
from agentmem_cli.records.jsonl import parse_memory
from agentmem_cli.records.keys import OWN_KEYS, Keys
from agentmem_cli.records.memory import Memory, Scope

TEN = datetime(2024, 5, 1, 10, tzinfo=timezone.utc)


def parsed(fields: dict[str, Any], keys: Keys = OWN_KEYS) -> Memory:
    return parse_memory(orjson.dumps(fields), keys)


@pytest.mark.parametrize("key", ["text", "memory", "content", "message", "body"])
def test_the_text_is_found_under_the_names_that_others_give_it(key: str) -> None:
    memory = parsed({key: "likes tea", "id": "m", "n": 1})
    assert (memory.text, memory.metadata) == ("likes tea", {"n": 1})


def test_the_first_name_that_has_a_text_wins_and_the_others_stay_metadata() -> None:
    memory = parsed({"body": "b", "content": ["no", "text"], "message": "m", "memory": None})
    assert (memory.text, memory.metadata) == ("m", {"body": "b", "content": ["no", "text"]})
    assert parsed({"content": "c", "text": "t"}).metadata == {"content": "c"}


def test_a_text_of_a_wrong_kind_is_named_by_its_key() -> None:
    with pytest.raises(InvalidMemoryError, match="content must be a string, not a list"):
        parsed({"content": ["no", "text"]})


@pytest.mark.parametrize("text_field", ["data.text", "data.inner.text"])
def test_a_path_leads_to_a_text_and_takes_it_out_of_its_object(text_field: str) -> None:
    fields: dict[str, Any] = {"data": {"text": "a", "n": 1, "inner": {"text": "b"}}}
    memory = parsed(fields, Keys(text_field))
    left = {"n": 1, "inner": {"text": "b"}} if text_field == "data.text" else {"n": 1, "text": "a"}
    assert (memory.text, memory.metadata) == ("a" if text_field == "data.text" else "b", {"data": left})


def test_a_key_with_a_dot_wins_over_a_path() -> None:
    memory = parsed({"data": {"text": "path"}, "data.text": "key"}, Keys("data.text"))
    assert (memory.text, memory.metadata) == ("key", {"data": {"text": "path"}})


def test_a_named_text_field_is_the_only_one_that_counts() -> None:
    assert parsed({"note": "n", "text": "t"}, Keys("note")).text == "n"
    with pytest.raises(InvalidMemoryError, match='no "note"'):
        parsed({"text": "t"}, Keys("note"))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"id": "1", "note": "n", "n": 1},
            'no "text": its keys are "id", "note", "n"; name the one with the text, as in --text-field note',
        ),
        ({"id": "1", "data": {"n": 1, "text": "t"}}, "as in --text-field data.text"),
        ({"id": "1"}, "as in --text-field KEY"),
        ({}, "its keys are none"),
        ({f"k{n}": n for n in range(99)}, '"k11", …;'),
    ],
)
def test_a_missing_text_lists_the_keys_and_the_option_that_takes_one(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidMemoryError) as caught:
        parsed(fields)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(("id", "kept"), [(5, "5"), (2.5, "2.5"), (True, "true"), ("x", "x"), (2**63, str(2**63))])
def test_an_id_of_any_kind_is_kept_as_its_text(id: object, kept: str) -> None:
    assert parsed({"text": "t", "id": id}).id == kept


@pytest.mark.parametrize("key", ["created_at", "timestamp", "date", "time", "create_time", "createdAt"])
@pytest.mark.parametrize("value", ["2024-05-01T10:00:00Z", 1714557600])
def test_the_time_is_found_under_the_names_that_others_give_it(key: str, value: object) -> None:
    memory = parsed({"text": "t", key: value})
    assert (memory.created_at, memory.metadata) == (TEN, {})


def test_a_time_of_another_name_may_be_in_milliseconds() -> None:
    assert parsed({"text": "t", "createdAt": 1714557600000}).created_at == TEN


@pytest.mark.parametrize("value", ["Monday", True, [1], {"a": 1}, 1e300, -1e300, 1e17])
def test_what_is_no_time_under_such_a_name_stays_metadata(value: object) -> None:
    memory = parsed({"text": "t", "date": value})
    assert (memory.created_at, memory.metadata) == (None, {"date": value})


def test_a_time_of_our_own_name_wins() -> None:
    memory = parsed({"text": "t", "created_at": "2024-05-01T10:00:00Z", "date": "2020-01-01"})
    assert (memory.created_at, memory.metadata) == (TEN, {"date": "2020-01-01"})


@pytest.mark.parametrize(
    ("key", "scope"),
    [
        *((key, "user_id") for key in ("user_id", "userId", "user")),
        *((key, "agent_id") for key in ("agent_id", "agentId", "agent")),
        *((key, "run_id") for key in ("run_id", "runId", "run", "session_id", "sessionId", "threadId")),
    ],
)
def test_scopes_are_found_under_the_names_that_others_give_them(key: str, scope: str) -> None:
    memory = parsed({"text": "t", key: "x"})
    assert (memory.scope, memory.metadata) == (Scope(**{scope: "x"}), {})


def test_a_scope_of_another_name_may_be_a_number_and_what_can_be_none_stays_metadata() -> None:
    assert parsed({"text": "t", "userId": 7}).scope.user_id == "7"
    assert parsed({"text": "t", "user": {"name": "Ana"}}).metadata == {"user": {"name": "Ana"}}
    assert parsed({"text": "t", "user": "u", "user_id": "own"}).metadata == {"user": "u"}


@pytest.mark.parametrize("name", ["semantic", "Semantic", " SEMANTIC"])
def test_a_memory_type_may_be_in_any_case(name: str) -> None:
    assert parsed({"text": "t", "memory_type": name}).scope.memory_type == "semantic"
    assert Scope(memory_type=name).memory_type == "semantic"


def test_a_type_that_is_mapped_is_one_of_ours_and_others_are_rejected_with_the_list() -> None:
    keys = Keys(type_map={"preference": "semantic"})
    assert parsed({"text": "t", "memory_type": "Preference"}, keys).scope.memory_type == "semantic"
    with pytest.raises(InvalidMemoryError, match=r'"fact" is unknown: it is one of episodic, .*--type-map "fact"=TYPE'):
        parsed({"text": "t", "memory_type": "fact"}, keys)


@pytest.mark.parametrize(
    ("importance", "scale", "kept"), [(0, 1, 0), (1, 1, 1), (7, 10, 0.7), (0.5, 1, 0.5), (80, 100, 0.8)]
)
def test_importance_is_divided_by_its_scale(importance: float, scale: float, kept: float) -> None:
    assert parsed({"text": "t", "importance": importance}, Keys(importance_scale=scale)).importance == kept


@pytest.mark.parametrize(
    ("importance", "hint"), [(7, "; --importance-scale 10 divides it"), (80, "; --importance-scale 100"), (-1, "$")]
)
def test_an_importance_out_of_range_is_rejected_with_a_hint(importance: float, hint: str) -> None:
    with pytest.raises(InvalidMemoryError, match=f"importance {importance} is not between 0 and 1{hint}"):
        parsed({"text": "t", "importance": importance})
    with pytest.raises(InvalidMemoryError, match="is not between 0 and 1"):
        Memory("t", importance=importance)
