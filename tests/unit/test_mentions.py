"""What a query names: times in English and Chinese, and one of the speakers."""

from datetime import datetime, timezone

import pytest

from agentmem_cli.records.memory import speaker_key
from agentmem_cli.search.mentions import named_speaker, named_times, names_in

_NOW = datetime(2024, 3, 15, 12, tzinfo=timezone.utc)  # a Friday


def held(query: str, *days: str) -> list[bool]:
    periods = named_times(query, _NOW)
    return [any(period.holds(datetime.fromisoformat(f"{day}T09:00:00+00:00")) for period in periods) for day in days]


@pytest.mark.parametrize(
    ("query", "inside", "outside"),
    [
        ("What did we do in May 2023?", "2023-05-31", "2023-06-01"),
        ("what happened in 2023", "2023-12-31", "2024-01-01"),
        ("Where was Ana on 8 May, 2023?", "2023-05-08", "2023-05-07"),
        ("the party on May 8th", "2021-05-10", "2021-05-20"),
        ("on the 8th of May 2023", "2023-05-11", "2023-05-12"),
        ("since 2023-05-08", "2023-05-08", "2023-04-08"),
        ("What did she buy in March?", "2022-03-09", "2022-04-01"),
        ("last Christmas", "2023-12-25", "2022-12-25"),
        ("yesterday", "2024-03-14", "2024-03-15"),
        ("last week", "2024-03-10", "2024-03-11"),
        ("this month", "2024-03-01", "2024-02-29"),
        ("last March", "2023-03-05", "2024-03-05"),
        ("last year", "2023-06-01", "2024-06-01"),
        ("2023年5月我们做了什么？", "2023-05-15", "2023-06-15"),
        ("2023年5月8日去了哪里", "2023-05-08", "2023-05-20"),
        ("5月8日的聚会", "2022-05-09", "2022-06-09"),
        ("昨天吃了什么", "2024-03-14", "2024-03-13"),
        ("上个月的会议", "2024-02-10", "2024-03-10"),
        ("去年圣诞节", "2023-12-25", "2024-12-25"),
        ("去年买的车", "2023-07-01", "2024-01-02"),
    ],
)
def test_a_time_that_a_query_names_holds_the_days_of_it(query: str, inside: str, outside: str) -> None:
    assert held(query, inside, outside) == [True, False]


@pytest.mark.parametrize(
    "query",
    [
        "May I come in?",
        "they march on",
        "room 2023b",
        "call 20231",
        "31 June 2023",
        "a sunny day",
        "十月怀胎",
        "99月9日",
    ],
)
def test_what_is_no_time_is_not_taken_for_one(query: str) -> None:
    assert named_times(query, _NOW) == []


def test_the_29th_of_february_is_of_leap_years_alone() -> None:
    assert held("on 29 February", "2024-02-29", "2023-03-01") == [True, False]


_SPEAKERS = ["Caroline", "Melanie", "Fahim Khan", "小明"]


def speaker_of(query: str, speakers: list[str]) -> set[str]:
    keys = names_in(query)
    return set(named_speaker([speaker for speaker in speakers if speaker_key(speaker) in keys]))


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("What did Caroline paint?", {"Caroline"}),
        ("what did CAROLINE's son say", {"Caroline"}),
        ("Did Fahim move?", {"Fahim Khan"}),
        ("Did Caroline meet Melanie?", set()),
        ("Carolines of the world", set()),
        ("who painted it?", set()),
        ("小明去了哪里", {"小明"}),
    ],
)
def test_a_speaker_is_named_by_the_first_word_of_the_name_and_alone(query: str, named: set[str]) -> None:
    assert speaker_of(query, _SPEAKERS) == named


def test_spellings_of_one_name_are_one_speaker_and_two_of_one_first_name_are_none() -> None:
    assert speaker_of("Elise?", ["elise", "Elise"]) == {"elise", "Elise"}
    assert speaker_of("Anna?", ["Anna Berg", "Anna Holm"]) == set()
