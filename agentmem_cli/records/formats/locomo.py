"""LoCoMo (Maharana et al. 2024): `locomo10.json`, long conversations between two people, with questions.

A turn is a memory. Evidence that is not exactly the id of a turn is left out, as in LoCoMo's own evaluation, and so are
the adversarial questions, which no turn answers.
"""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from agentmem_cli.records.formats.format import (
    Element,
    Fields,
    Format,
    list_at,
    object_at,
    objects,
    strings,
    text_at,
)
from agentmem_cli.records.times import MONTHS

_ADVERSARIAL: Final = 5
_SESSION: Final = re.compile(r"session_\d+")
_TIME: Final = re.compile(r"(\d{1,2}):(\d{2}) ([ap])m on (\d{1,2}) ([A-Za-z]+), (\d{4})")  # 1:56 pm on 8 May, 2023


def _memories(element: Element) -> Iterator[Fields]:
    user = _user(element)
    conversation = object_at(element.fields, "conversation")
    for session in filter(_SESSION.fullmatch, conversation):
        date = text_at(conversation, f"{session}_date_time")
        for second, turn in enumerate(objects(session, list_at(conversation, session))):
            speaker = text_at(turn, "speaker")
            yield {
                "id": f"{user}:{text_at(turn, 'dia_id')}",
                "text": f"{speaker}: {text_at(turn, 'text')}",
                "speaker": speaker,
                "agent_id": "locomo",
                "user_id": user,
                "memory_type": "episodic",
                "created_at": _time(date, second),
                "metadata": {"session": session, "date": date},
            }


def _queries(element: Element) -> Iterator[Fields]:
    user, turns = _user(element), {memory["id"] for memory in _memories(element)}
    for question in objects("qa", list_at(element.fields, "qa")):
        category = question.get("category")
        if category != _ADVERSARIAL:
            evidence = [f"{user}:{turn}" for turn in strings(list_at(question, "evidence"))]
            yield {
                "query": text_at(question, "question"),
                "user_id": user,
                "relevant": [turn for turn in evidence if turn in turns],
                "category": category,
            }


def _user(element: Element) -> str:
    return text_at(element.fields, "sample_id").removeprefix("conv-")


def _time(date: str, second: int) -> str:
    """The session's minute with the turn's second in ISO 8601; a date in another form as it is, to be rejected."""
    match = _TIME.fullmatch(date)
    if match is None or match[5].lower() not in MONTHS:
        return date
    hour, minute, half, day, month, year = match.groups()
    try:
        start = datetime(
            int(year), MONTHS.index(month.lower()) + 1, int(day), int(hour) % 12 + 12 * (half == "p"), int(minute)
        )
    except ValueError:
        return date
    return f"{(start + timedelta(seconds=second)).isoformat()}Z"


FORMAT: Final = Format("LoCoMo", (frozenset({"sample_id", "conversation", "qa"}),), _memories, _queries)
