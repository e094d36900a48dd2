"""REALTALK (Lee et al. 2025): a file for each chat between two people, with questions.

A turn is a memory of the chat that the file is named after. Turns without text, which are pictures, are left out.
"""

import re
from collections.abc import Iterator
from typing import Final

from agentmem_cli.records.formats.format import Element, Fields, Format, list_at, objects, strings, text_at

_SESSION: Final = re.compile(r"session_\d+")
_TURN: Final = re.compile(r"D\d+:\d+")
_TIME: Final = re.compile(r"(\d{2})\.(\d{2})\.(\d{4}), (\d{2}:\d{2}:\d{2})")  # 29.12.2023, 22:42:04


def _memories(element: Element) -> Iterator[Fields]:
    chat = element.file_stem
    for session in sorted(filter(_SESSION.fullmatch, element.fields), key=_number):
        for turn in objects(session, list_at(element.fields, session)):
            text = text_at(turn, "clean_text" if "clean_text" in turn else "text")
            if text.strip():
                speaker, date = text_at(turn, "speaker"), text_at(turn, "date_time")
                yield {
                    "id": f"{chat}:{text_at(turn, 'dia_id')}",
                    "text": f"{speaker}: {text}",
                    "speaker": speaker,
                    "agent_id": "realtalk",
                    "user_id": chat,
                    "memory_type": "episodic",
                    "created_at": _TIME.sub(r"\3-\2-\1T\4Z", date),
                    "metadata": {"session": session, "date": date},
                }


def _queries(element: Element) -> Iterator[Fields]:
    chat, turns = element.file_stem, {memory["id"] for memory in _memories(element)}
    for question in objects("qa", list_at(element.fields, "qa")):
        evidence = _TURN.findall(" ".join(strings(list_at(question, "evidence"))))
        relevant = sorted({f"{chat}:{turn}" for turn in evidence} & turns)
        yield {
            "query": text_at(question, "question"),
            "user_id": chat,
            "relevant": [*relevant],
            "category": question.get("category"),
        }


def _number(session: str) -> int:
    return int(session.removeprefix("session_"))


FORMAT: Final = Format("REALTALK", (frozenset({"name", "session_1", "qa"}),), _memories, _queries)
