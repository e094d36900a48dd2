"""LongMemEval (Wu et al. 2024): `longmemeval_s.json` and its kin, questions that each have a chat history of their own.

A memory is a turn or, in the other format, a whole session; its user is the question, so that each question is asked of
its own history. Questions whose answer is not in the history (abstention, `_abs`) are left out.
"""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from agentmem_cli.errors import InvalidMemoryError
from agentmem_cli.records.formats.format import Element, Fields, Format, list_at, objects, strings, text_at
from agentmem_cli.records.values import JsonValue

_KEYS: Final = ("question_id", "question", "haystack_sessions", "haystack_session_ids", "answer_session_ids")
_ABSTENTION: Final = "_abs"
_TIME: Final = re.compile(r"(\d{4})/(\d{2})/(\d{2}) \([A-Za-z]+\) (\d{2}):(\d{2})")  # 2023/05/20 (Sat) 02:21


class _Turn(NamedTuple):
    """A turn with text; `number` counts from 1 in its session, turns without text included."""

    number: int
    role: str
    text: str
    has_answer: bool


class _Session(NamedTuple):
    """A session of a history."""

    id: str
    date: str
    turns: list[_Turn]

    def fields(self, question: str, id: str, text: str, second: int, metadata: dict[str, JsonValue]) -> Fields:
        """The fields of a memory of this session."""
        return {
            "id": id,
            "text": text,
            "agent_id": "longmemeval",
            "user_id": question,
            "memory_type": "episodic",
            "created_at": _time(self.date, second),
            "metadata": {"session": self.id, "date": self.date, **metadata},
        }


def _turn_memories(element: Element) -> Iterator[Fields]:
    question = text_at(element.fields, "question_id")
    for session in _sessions(element.fields):
        for turn in session.turns:
            id = _turn_id(question, session, turn)
            yield session.fields(question, id, turn.text, turn.number - 1, {"role": turn.role})


def _session_memories(element: Element) -> Iterator[Fields]:
    question = text_at(element.fields, "question_id")
    for session in _sessions(element.fields):
        if session.turns:
            text = "\n".join(f"{turn.role}: {turn.text}" for turn in session.turns)
            yield session.fields(question, f"{question}:{session.id}", text, 0, {})


def _turn_queries(element: Element) -> Iterator[Fields]:
    """A turn is relevant that is marked to have the answer; without any, all turns of the sessions that have it."""
    question, answering = text_at(element.fields, "question_id"), _answering(element.fields)
    turns = [(session, turn) for session in _sessions(element.fields) for turn in session.turns]
    relevant = [(session, turn) for session, turn in turns if turn.has_answer]
    relevant = relevant or [(session, turn) for session, turn in turns if session.id in answering]
    yield from _query(element.fields, [_turn_id(question, *found) for found in relevant])


def _session_queries(element: Element) -> Iterator[Fields]:
    question, answering = text_at(element.fields, "question_id"), _answering(element.fields)
    sessions = [session.id for session in _sessions(element.fields) if session.turns]
    yield from _query(element.fields, [f"{question}:{id}" for id in sessions if id in answering])


def _query(fields: Fields, relevant: list[str]) -> Iterator[Fields]:
    question = text_at(fields, "question_id")
    if not question.endswith(_ABSTENTION):
        yield {
            "query": text_at(fields, "question"),
            "user_id": question,
            "relevant": [*relevant],
            "question_type": fields.get("question_type"),
        }


def _sessions(fields: Fields) -> Iterator[_Session]:
    names = ("haystack_session_ids", "haystack_dates", "haystack_sessions")
    ids, dates, sessions = (list_at(fields, name) for name in names)
    if not len(ids) == len(dates) == len(sessions):
        raise InvalidMemoryError(f"{', '.join(names)} have {len(ids)}, {len(dates)} and {len(sessions)} entries")
    for id, date, turns in zip(ids, dates, sessions, strict=True):
        if not (isinstance(id, str) and isinstance(date, str) and isinstance(turns, list)):
            raise InvalidMemoryError("a session must have an id, a date and a list of turns")
        yield _Session(id, date, list(_turns(turns)))


def _turns(turns: list[JsonValue]) -> Iterator[_Turn]:
    for number, turn in enumerate(objects("haystack_sessions", turns), start=1):
        text = text_at(turn, "content")
        if text.strip():
            yield _Turn(number, text_at(turn, "role"), text, turn.get("has_answer") is True)


def _turn_id(question: str, session: _Session, turn: _Turn) -> str:
    return f"{question}:{session.id}:{turn.number}"


def _answering(fields: Fields) -> set[str]:
    return set(strings(list_at(fields, "answer_session_ids")))


def _time(date: str, second: int) -> str:
    """The session's minute with the turn's second in ISO 8601; a date in another form as it is, to be rejected."""
    match = _TIME.fullmatch(date)
    if match is None:
        return date
    try:
        start = datetime(int(match[1]), int(match[2]), int(match[3]), int(match[4]), int(match[5]))
    except ValueError:
        return date
    return f"{(start + timedelta(seconds=second)).isoformat()}Z"


BY_TURN: Final = Format("LongMemEval", (frozenset(_KEYS),), _turn_memories, _turn_queries)
BY_SESSION: Final = Format("LongMemEval", (frozenset(_KEYS),), _session_memories, _session_queries)
