"""Files in the shapes in which other programs publish them become the memories that their users expect."""

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

import pytest

from agentmem_cli.errors import InputError, UsageError
from agentmem_cli.records.formats.names import FormatName
from agentmem_cli.records.formats.reading import Reading
from agentmem_cli.records.memory import Scope
from tests.inputs import Taken, taken
from tests.published import LOCOMO, LONGMEMEVAL, REALTALK

ALL_ROLES: Final = frozenset({"system", "tool"})
MEM0: Final = {
    "id": "892db2ae-06d9-49e5-8b3e-585ef9b85b8e",
    "memory": "Maya is allergic to cashews",
    "hash": "1a271c007316c94377175ee80e746a19",
    "metadata": {"source": "chat"},
    "score": None,
    "created_at": "2024-07-25T23:57:00.108347-07:00",
    "updated_at": None,
    "user_id": "maya",
    "categories": ["health"],
}
# https://platform.openai.com: a function call and its result between the turns.
OPENAI: Final = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {}}]},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "call_1", "type": "function", "function": {}}]},
    {"role": "tool", "tool_call_id": "call_1", "content": "a kayak"},
    {"role": "assistant", "content": "A red kayak."},
]
ANTHROPIC: Final = [
    {"role": "user", "content": "What is the weather?"},
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "I need a tool.", "signature": "x"},
            {"type": "text", "text": "I will look."},
            {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Porto"}},
        ],
    },
    {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "15 °C"}]}],
    },
]


def chatgpt_message(id: str, role: str, text: object, **changes: object) -> dict[str, object]:
    return {
        "id": id,
        "author": {"role": role, "name": None, "metadata": {}},
        "create_time": 1714557600.25,
        "update_time": None,
        "content": {"content_type": "text", "parts": [text]},
        "status": "finished_successfully",
        "end_turn": True,
        "weight": 1.0,
        "metadata": {},
        "recipient": "all",
        **changes,
    }


def chatgpt_conversation(**changes: object) -> dict[str, Any]:
    """A conversation whose second answer was generated again, after a search."""
    messages: dict[str, dict[str, object] | None] = {
        "root": None,
        "system": chatgpt_message("system", "system", "", metadata={"is_visually_hidden_from_conversation": True}),
        "ask": chatgpt_message("ask", "user", "Where can I paddle?"),
        "old": chatgpt_message("old", "assistant", "In the sea."),
        "call": chatgpt_message(
            "call", "assistant", "", recipient="browser", content={"content_type": "code", "text": "search('paddle')"}
        ),
        "found": chatgpt_message("found", "tool", "Two lakes."),
        "new": chatgpt_message("new", "assistant", "On two lakes."),
        "picture": chatgpt_message(
            "picture",
            "user",
            "",
            content={
                "content_type": "multimodal_text",
                "parts": [{"content_type": "image_asset_pointer"}, "This one?"],
            },
        ),
    }
    parents = {"system": "root", "ask": "system", "old": "ask", "call": "ask", "found": "call", "new": "found"}
    parents["picture"] = "new"
    mapping = {
        id: {
            "id": id,
            "message": message,
            "parent": parents.get(id),
            "children": [child for child, parent in parents.items() if parent == id],
        }
        for id, message in messages.items()
    }
    return {
        "title": "Lakes",
        "create_time": 1714557600.0,
        "update_time": 1714557700.0,
        "mapping": mapping,
        "moderation_results": [],
        "current_node": "picture",
        "conversation_id": "c-1",
        "id": "c-1",
        **changes,
    }


CLAUDE: Final = {
    "uuid": "conv-1",
    "name": "Moving",
    "created_at": "2024-05-01T09:59:00.000000Z",
    "updated_at": "2024-05-01T10:05:00.000000Z",
    "account": {"uuid": "account-1"},
    "chat_messages": [
        {
            "uuid": "m-1",
            "text": "I moved to Porto.",
            "content": [{"type": "text", "text": "I moved to Porto.", "citations": []}],
            "sender": "human",
            "created_at": "2024-05-01T10:00:00.000000Z",
            "updated_at": "2024-05-01T10:00:00.000000Z",
            "attachments": [],
            "files": [],
        },
        {
            "uuid": "m-2",
            "text": "This block is not supported on your current device yet.",
            "content": [
                {"type": "tool_use", "name": "search", "input": {}},
                {
                    "type": "tool_result",
                    "name": "search",
                    "content": [{"type": "text", "text": "Porto is in Portugal"}],
                },
                {"type": "text", "text": "Enjoy it!"},
            ],
            "sender": "assistant",
            "created_at": "2024-05-01T10:01:00.000000Z",
        },
        {"uuid": "m-3", "text": "Thanks.", "content": [], "sender": "human", "created_at": "2024-05-01T10:02:00Z"},
        {"uuid": "m-4", "text": "", "content": [], "sender": "assistant", "created_at": "2024-05-01T10:03:00Z"},
    ],
}
_SESSION: Final = {
    "userType": "external",
    "cwd": "/home/maya/kayak",
    "sessionId": "s-1",
    "version": "2.0.28",
    "gitBranch": "main",
    "isSidechain": False,
    "timestamp": "2024-05-01T10:00:00.000Z",
}
CLAUDE_CODE: Final = [
    {"type": "summary", "summary": "A kayak", "leafUuid": "u-3"},
    {"type": "file-history-snapshot", "messageId": "u-1", "snapshot": {}, "isSnapshotUpdate": False},
    {**_SESSION, "type": "user", "uuid": "u-1", "parentUuid": None, "message": {"role": "user", "content": "Fix it."}},
    {
        **_SESSION,
        "type": "assistant",
        "uuid": "u-2",
        "parentUuid": "u-1",
        "message": {
            "model": "claude",
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "content": [{"type": "text", "text": "I will run it."}, {"type": "tool_use", "id": "t", "name": "Bash"}],
        },
    },
    {
        **_SESSION,
        "type": "user",
        "uuid": "u-3",
        "parentUuid": "u-2",
        "message": {"role": "user", "content": [{"tool_use_id": "t", "type": "tool_result", "content": "1 passed"}]},
        "toolUseResult": {"stdout": "1 passed"},
    },
    {**_SESSION, "type": "user", "uuid": "u-4", "isSidechain": True, "message": {"role": "user", "content": "Warmup"}},
    {**_SESSION, "type": "user", "uuid": "u-5", "isMeta": True, "message": {"role": "user", "content": "Caveat"}},
    {**_SESSION, "type": "system", "uuid": "u-6", "subtype": "info", "content": "Compacted"},
]


def read(path: Path, value: object, indent: int | None = None, **options: Any) -> Taken:  # noqa: ANN401 - of `taken`
    path.write_text(json.dumps(value, indent=indent), encoding="utf-8")
    return taken(path, **options)


def read_lines(path: Path, values: list[Any], **options: Any) -> Taken:  # noqa: ANN401 - of `taken`
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return taken(path, **options)


def turns(found: Taken) -> list[tuple[str | None, str]]:
    assert found.rejected == []
    return [(memory.speaker, memory.text) for memory in found.memories]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize(
    "value",
    [
        {"results": [MEM0]},
        {"results": [MEM0], "relations": [{"source": "maya", "relationship": "is", "target": "allergic"}]},
        {"count": 1, "next": None, "previous": None, "results": [MEM0]},
        [MEM0],
        MEM0,
    ],
)
def test_a_memory_of_mem0_has_its_scopes_times_and_metadata(value: object, indent: int | None, tmp_path: Path) -> None:
    found = read(tmp_path / "export.json", value, indent)
    assert (found.kind.format, found.rejected) == ("mem0", [])
    (memory,) = found.memories
    assert (memory.id, memory.text) == (MEM0["id"], MEM0["memory"])
    assert memory.scope == Scope(user_id="maya")
    assert memory.created_at == datetime(2024, 7, 26, 6, 57, 0, 108347, timezone.utc)
    assert memory.metadata == {"source": "chat", "hash": MEM0["hash"], "categories": ["health"]}


def test_a_memory_of_mem0_expires_when_mem0_says_so(tmp_path: Path) -> None:
    (memory,) = read(tmp_path / "export.json", [{**MEM0, "expiration_date": "2030-01-31"}]).memories
    assert memory.expires_at == datetime(2030, 1, 31, tzinfo=timezone.utc)
    assert "expiration_date" not in memory.metadata


@pytest.mark.parametrize("shape", ["lines", "one object", "a conversation a line", "array"])
def test_a_message_of_openai_is_a_turn(shape: str, tmp_path: Path) -> None:
    path = tmp_path / "kayak.jsonl"
    options: dict[str, Any] = {"include": ALL_ROLES}
    if shape == "lines":
        found = read_lines(path, OPENAI, **options)
    elif shape == "a conversation a line":
        found = read_lines(path, [{"messages": OPENAI}], **options)
    else:
        found = read(path, OPENAI if shape == "array" else {"model": "gpt", "messages": OPENAI}, 1, **options)
    assert found.kind.format == "chat"
    expected = [("system", "Be brief."), ("user", "What is this?"), ("tool", "a kayak"), ("assistant", "A red kayak.")]
    assert turns(found) == expected
    (run,) = {memory.scope.run_id for memory in found.memories}
    assert run in ("kayak", "kayak-1")
    assert found.memories[1].metadata == {"role": "user"}


def test_system_and_tool_messages_are_left_out_unless_they_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    assert turns(read_lines(path, OPENAI)) == [("user", "What is this?"), ("assistant", "A red kayak.")]
    assert ("tool", "a kayak") in turns(taken(path, include=frozenset({"tool"})))
    assert ("system", "Be brief.") not in turns(taken(path, include=frozenset({"tool"})))
    with pytest.raises(UsageError, match="include bot: the roles to include are system and tool"):
        Reading(include=frozenset({"bot"}))


def test_the_blocks_of_anthropic_are_their_text_and_results_of_tools_are_the_tools(tmp_path: Path) -> None:
    path = tmp_path / "chat.json"
    said = [("user", "What is the weather?"), ("assistant", "I will look.")]
    assert turns(read(path, {"messages": ANTHROPIC})) == said
    assert turns(taken(path, include=ALL_ROLES)) == [*said, ("tool", "15 °C")]


def test_a_conversation_says_its_run_user_and_time_once_for_all_its_messages(tmp_path: Path) -> None:
    messages = [
        {"role": "user", "content": "Hi", "name": "Ana", "id": 1},
        {"role": "assistant", "content": "Hello", "id": 2},
    ]
    conversation = {"conversation_id": "c-7", "user": "ana", "created_at": 1714557600, "messages": messages}
    found = read_lines(tmp_path / "chats.jsonl", [conversation, {"messages": messages}])
    assert turns(found) == [("Ana", "Hi"), ("assistant", "Hello")] * 2
    assert [memory.scope.run_id for memory in found.memories] == ["c-7", "c-7", "chats-2", "chats-2"]
    assert [memory.id for memory in found.memories] == ["c-7:1", "c-7:2", "chats-2:1", "chats-2:2"]
    assert found.memories[1].scope.user_id == "ana"
    assert found.memories[0].metadata == {"role": "user"}
    assert found.memories[1].created_at == datetime(2024, 5, 1, 10, tzinfo=timezone.utc)


def test_what_a_message_says_of_itself_wins_over_its_conversation(tmp_path: Path) -> None:
    message = {"role": "user", "content": "Hi", "timestamp": "2024-05-01T10:00:00Z", "userId": "ben", "run": "r"}
    conversation = {"id": "c-7", "user_id": "ana", "created_at": 0, "agent": "bot", "messages": [message]}
    (memory,) = read(tmp_path / "chat.json", conversation).memories
    assert memory.scope == Scope(user_id="ben", agent_id="bot", run_id="r")
    assert memory.created_at == datetime(2024, 5, 1, 10, tzinfo=timezone.utc)


def test_what_is_nested_too_deep_is_rejected_alone(tmp_path: Path) -> None:
    deep = b'{"role": "user", "content": "Hi", "x": ' + b"[" * 500 + b"]" * 500 + b"}\n"
    (tmp_path / "chat.jsonl").write_bytes(deep + b'{"role": "user", "content": "Ho"}\n')
    found = taken(tmp_path / "chat.jsonl")
    assert (found.texts, found.rejected) == (["Ho"], [(1, "nested too deep")])


def test_a_message_may_have_scopes_a_time_and_other_keys_of_its_own(tmp_path: Path) -> None:
    message = {
        "role": "user",
        "content": "Hi",
        "timestamp": "2024-05-01T10:00:00Z",
        "sessionId": "s",
        "userId": "u",
        "mood": 3,
    }
    (memory,) = read_lines(tmp_path / "chat.jsonl", [message]).memories
    assert memory.scope == Scope(run_id="s", user_id="u")
    assert memory.metadata == {"mood": 3, "role": "user"}
    assert memory.created_at == datetime(2024, 5, 1, 10, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "dump",
    [
        lambda kind, name, text: {"type": kind, "data": {"content": text, "type": kind, "name": None, "id": None}},
        lambda kind, name, text: {
            "lc": 1,
            "type": "constructor",
            "id": ["langchain", "schema", "messages", name],
            "kwargs": {"content": text, "type": kind},
        },
        lambda kind, name, text: {
            "lc": 1,
            "type": "constructor",
            "id": ["langchain", "schema", "messages", name],
            "kwargs": {"content": text},
        },
        lambda kind, name, text: {"content": text, "additional_kwargs": {}, "type": kind, "name": None, "id": None},
    ],
    ids=["messages_to_dict", "dumpd", "dumpd without a type", "model_dump"],
)
@pytest.mark.parametrize("nested", [False, True])
def test_a_message_of_langchain_is_a_turn(dump: Any, nested: bool, tmp_path: Path) -> None:  # noqa: ANN401 - a lambda
    dumped = [
        dump("system", "SystemMessage", "Be brief."),
        dump("human", "HumanMessage", "I like tea."),
        dump("ai", "AIMessageChunk", [{"type": "text", "text": "Noted."}]),
        dump("tool", "ToolMessage", "saved"),
    ]
    found = read(tmp_path / "dump.json", {"messages": dumped} if nested else dumped)
    assert found.kind.format == ("chat" if nested else "langchain")
    assert turns(found) == [("user", "I like tea."), ("assistant", "Noted.")]
    assert len(taken(tmp_path / "dump.json", include=ALL_ROLES).memories) == 4


@pytest.mark.parametrize("shape", ["array", "one conversation", "a line each"])
def test_a_conversation_of_chatgpt_is_its_current_branch(shape: str, tmp_path: Path) -> None:
    path, conversation = tmp_path / "conversations.json", chatgpt_conversation()
    if shape == "a line each":
        found = read_lines(path, [conversation])
    else:
        found = read(path, [conversation] if shape == "array" else conversation)
    assert found.kind.format == "chatgpt"
    assert turns(found) == [("user", "Where can I paddle?"), ("assistant", "On two lakes."), ("user", "This one?")]
    assert [memory.id for memory in found.memories] == ["ask", "new", "picture"]
    first = found.memories[0]
    assert (first.scope, first.metadata) == (Scope(run_id="c-1"), {"title": "Lakes", "role": "user"})
    assert first.created_at == datetime(2024, 5, 1, 10, 0, 0, 250_000, timezone.utc)


def test_tools_of_chatgpt_are_taken_when_they_are_asked_for(tmp_path: Path) -> None:
    found = read(tmp_path / "conversations.json", [chatgpt_conversation()], include=ALL_ROLES)
    assert turns(found)[1:3] == [("tool", "search('paddle')"), ("tool", "Two lakes.")]


def test_a_conversation_of_chatgpt_whose_tree_is_damaged_ends_and_the_others_are_read(tmp_path: Path) -> None:
    circle, lost = chatgpt_conversation(), chatgpt_conversation(current_node="nowhere")
    circle["mapping"]["ask"]["parent"] = "picture"
    odd = chatgpt_conversation(mapping={"picture": 5})
    found = read(tmp_path / "conversations.json", [circle, lost, odd, chatgpt_conversation()])
    assert found.texts == ["Where can I paddle?", "On two lakes.", "This one?"] * 2
    assert found.rejected == [(4, 'element 2: "current_node" "nowhere" is not in "mapping"')]


@pytest.mark.parametrize("indent", [None, 2])
def test_a_conversation_of_claude_is_its_messages(indent: int | None, tmp_path: Path) -> None:
    path = tmp_path / "conversations.json"
    found = read(path, [CLAUDE], indent)
    assert found.kind.format == "claude"
    assert turns(found) == [("user", "I moved to Porto."), ("assistant", "Enjoy it!"), ("user", "Thanks.")]
    assert [memory.id for memory in found.memories] == ["m-1", "m-2", "m-3"]
    first = found.memories[0]
    assert (first.scope, first.metadata) == (Scope(run_id="conv-1"), {"title": "Moving", "role": "user"})
    assert first.created_at == datetime(2024, 5, 1, 10, tzinfo=timezone.utc)
    assert turns(taken(path, include=ALL_ROLES))[2] == ("tool", "Porto is in Portugal")


def test_a_conversation_of_claude_that_names_its_last_message_is_the_branch_to_it(tmp_path: Path) -> None:
    parents = {"m-1": "00000000-0000-4000-8000-000000000000", "m-2": "m-1", "m-3": "m-1", "m-4": "m-3"}
    messages: Any = CLAUDE["chat_messages"]
    branched = [{**message, "parent_message_uuid": parents[message["uuid"]]} for message in messages]
    conversation = {**CLAUDE, "chat_messages": branched, "current_leaf_message_uuid": "m-3"}
    assert read(tmp_path / "c.json", conversation).texts == ["I moved to Porto.", "Thanks."]


def test_a_session_of_claude_code_is_what_was_said_in_it(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    found = read_lines(path, CLAUDE_CODE)
    assert found.kind.format == "claude-code"
    assert turns(found) == [("user", "Fix it."), ("assistant", "I will run it.")]
    first = found.memories[0]
    assert (first.id, first.scope) == ("u-1", Scope(run_id="s-1"))
    assert first.metadata == {"cwd": "/home/maya/kayak", "git_branch": "main", "role": "user"}
    assert first.created_at == datetime(2024, 5, 1, 10, tzinfo=timezone.utc)
    assert turns(taken(path, include=ALL_ROLES))[2:] == [("tool", "1 passed"), ("system", "Compacted")]


@pytest.mark.parametrize(
    ("data", "format", "count"), [(LOCOMO, "locomo", 3), (REALTALK, "realtalk", 2), (LONGMEMEVAL, "longmemeval", 9)]
)
def test_published_data_sets_are_recognised(data: object, format: str, count: int, tmp_path: Path) -> None:
    found = read(tmp_path / "Chat_1.json", data)
    assert (found.kind.format, len(found.memories), found.rejected) == (format, count, [])


def test_a_message_of_another_shape_is_rejected_alone(tmp_path: Path) -> None:
    found = read_lines(tmp_path / "chat.jsonl", [OPENAI[1], {"text": "no message"}, {"role": 5}, OPENAI[4]])
    assert found.texts == ["What is this?", "A red kayak."]
    assert [number for number, _ in found.rejected] == [2, 3]
    assert found.rejected[0][1] == 'not a chat message: it has no "role"; its keys are "text"'


def test_a_format_that_is_asked_for_is_found_in_a_list_too(tmp_path: Path) -> None:
    value = {"users": [{"name": "maya"}], "results": [{"id": "m", "memory": "tea"}, {**MEM0, "metadata": None}]}
    assert read(tmp_path / "a.json", {"results": [MEM0]}, format="mem0").texts == [MEM0["memory"]]
    assert read(tmp_path / "b.json", {"export": [CLAUDE]}, 1, format="claude").texts[0] == "I moved to Porto."
    assert read(tmp_path / "c.json", value, format="json").texts == ["tea", MEM0["memory"]]


@pytest.mark.parametrize("format", ["chatgpt", "claude", "claude-code", "mem0", "chat", "langchain"])
def test_a_format_that_is_asked_for_and_is_not_there_is_one_line(format: FormatName, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "tea"}\n{"text": "more tea"}\n')
    with pytest.raises(InputError, match=r"a\.jsonl: line 1: not .*agentmem's own JSONL: leave out --format$"):
        taken(tmp_path / "a.jsonl", format)
    with pytest.raises(UsageError, match="leave out the text field"):
        Reading(format, "content")


def test_a_text_field_that_is_named_is_read_as_it_is_whatever_the_shape(tmp_path: Path) -> None:
    found = read_lines(
        tmp_path / "chat.jsonl", [{"role": "system", "content": "Be brief.", "name": "Ana"}], text_field="content"
    )
    assert (found.kind.format, turns(found)) == (None, [("Ana", "Be brief.")])
