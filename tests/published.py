"""Small files in the shape of published data sets, made up for the tests."""

import json
from pathlib import Path
from typing import Final

LOCOMO: Final = [
    {
        "sample_id": "conv-7",
        "conversation": {
            "speaker_a": "Ana",
            "speaker_b": "Ben",
            "session_1_date_time": "1:56 pm on 8 May, 2023",
            "session_1": [
                {"speaker": "Ana", "dia_id": "D1:1", "text": "I bought a red kayak."},
                {"speaker": "Ben", "dia_id": "D1:2", "text": "Nice!", "blip_caption": "a boat", "img_url": ["x"]},
            ],
            "session_2_date_time": "12:05 am on 1 June, 2023",
            "session_2": [{"speaker": "Ben", "dia_id": "D2:1", "text": 'My dog "Rex" eats }{[ \\ kale.'}],
            "session_3_date_time": "9:00 am on 2 June, 2023",
        },
        "qa": [
            {"question": "What did Ana buy?", "answer": "a kayak", "evidence": ["D1:1"], "category": 1},
            {"question": "What does Rex eat?", "answer": 1, "evidence": ["D2:1", "D9:9", "D"], "category": 2},
            {"question": "Two in one?", "answer": "x", "evidence": ["D1:1; D2:1"], "category": 1},
            {"question": "Who sold a car?", "adversarial_answer": "Ben", "evidence": ["D1:1"], "category": 5},
        ],
        "event_summary": {},
    }
]
REALTALK: Final = {
    "name": {"speaker_1": "Ana", "speaker_2": "Ben"},
    "session_2": [
        {"clean_text": "The kayak leaks.", "speaker": "Ana", "date_time": "02.01.2024, 08:00:00", "dia_id": "D2:1"}
    ],
    "session_2_date_time": "02.01.2024, 08:00:00",
    "session_1": [
        {"clean_text": "I bought a kayak.", "speaker": "Ana", "date_time": "29.12.2023, 22:42:04", "dia_id": "D1:1"},
        {"clean_text": " ", "img_url": "x", "speaker": "Ben", "date_time": "29.12.2023, 22:43:00", "dia_id": "D1:2"},
    ],
    "session_1_date_time": "29.12.2023, 22:42:04",
    "events_session_1": {"Ana": []},
    "qa": [{"question": "What leaks?", "answer": "it", "evidence": ["D2:1; D1:1", "D1:2"], "category": 3}],
}


def _asked(id: str, answering: list[str], marked: bool) -> dict[str, object]:
    turns = [
        {"role": "user", "content": "I moved to Porto.", "has_answer": marked},
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": "Enjoy!"},
    ]
    return {
        "question_id": id,
        "question_type": "multi-session",
        "question": "Where do I live?",
        "answer": "Porto",
        "question_date": "2023/06/01 (Thu) 10:00",
        "haystack_session_ids": ["s1", "s2"],
        "haystack_dates": ["2023/05/20 (Sat) 02:21", "2023/05/21 (Sun) 23:59"],
        "haystack_sessions": [[{"role": "user", "content": "Tea, please."}], turns],
        "answer_session_ids": answering,
    }


LONGMEMEVAL: Final = [_asked("q1", ["s2"], True), _asked("q2", ["s2"], False), _asked("q3_abs", ["s2"], True)]


def written(path: Path, content: object, indent: int | None = None) -> str:
    """Writes a value as JSON, and returns the name of the file."""
    path.write_text(json.dumps(content, indent=indent), encoding="utf-8")
    return str(path)
