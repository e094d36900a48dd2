"""What a query names: one of the speakers, and days, months and years, in English and Chinese.

Regular expressions find them, so that "may", "march" and a bare number in a sentence are not taken for dates.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Final

from agentmem_cli.records.times import MONTHS

_DAYS_LATER: Final = 4  # people tell of a day on that day and the three after it
_WORD: Final = re.compile(r"\w+")
_UNSPACED: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]+")
_UNSPACED_NAME: Final = range(2, 9)  # characters of a name
_MOST_NAMES: Final = 1_000  # of a query as long as a book
_MONTH: Final = rf"(?P<month>(?:{'|'.join([*MONTHS, *(m[:3] for m in MONTHS), 'sept'])})\b)\.?"
_YEAR: Final = r"(?P<year>(?:19|20)\d\d)\b"
_DAY: Final = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?\b"
_BEFORE_MONTH: Final = r"in|on|of|during|since|by|until|this|early|late|mid|around|before|after|from|and|to|between|for"
_DATES: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b{_YEAR}-(?P<number>\d\d)-(?P<day>\d\d)\b",
        rf"\b{_DAY}(?: of)?,? {_MONTH}(?:,? (?:of )?{_YEAR})?",
        rf"\b{_MONTH} {_DAY}(?:,? {_YEAR})?",
        rf"\b{_MONTH},? (?:of )?{_YEAR}",
        r"(?P<year>(?:19|20)\d\d)\s*年(?:\s*(?P<number>\d{1,2})\s*月)?(?:\s*(?P<day>\d{1,2})\s*[日号])?",
        r"(?<!\d)(?P<number>\d{1,2})\s*月(?:\s*(?P<day>\d{1,2})\s*[日号])",
        rf"\b{_YEAR}",
    )
)
_BARE_MONTH: Final = re.compile(  # "in May", but not "may I": the month has a capital
    rf"\b(?i:{_BEFORE_MONTH}) (?P<month>{'|'.join(name.title() for name in MONTHS)})\b"
)
_HOLIDAYS: Final = {
    "christmas": (12, 25),
    "new year": (1, 1),
    "halloween": (10, 31),
    "圣诞节": (12, 25),
    "元旦": (1, 1),
}
_HOLIDAY: Final = re.compile(rf"(?:\blast |去年的?)(?P<holiday>{'|'.join(_HOLIDAYS)})", re.IGNORECASE)
_LAST_MONTH: Final = re.compile(rf"\blast (?P<month>{'|'.join(MONTHS)})\b", re.IGNORECASE)
# In days: before now, and how many.
_RELATIVE_DAYS: Final = {
    "today": (0, 1), "今天": (0, 1), "yesterday": (1, 1), "昨天": (1, 1), "前天": (2, 1),
}  # fmt: skip
_RELATIVE: Final = re.compile(
    r"\b(?:today|yesterday|(?:last|this) (?:week|month|year))\b"
    r"|今天|昨天|前天|上周|上个?星期|本周|这周|上个?月|这个?月|本月|去年|今年|前年",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Period:
    """A time that a query names, from `start` up to `stop`, UTC. Without `in_year`, it recurs every year."""

    start: datetime
    stop: datetime
    in_year: bool = True

    def holds(self, time: datetime) -> bool:
        """Whether a time is within it."""
        if self.in_year:
            return self.start <= time < self.stop
        length = self.stop - self.start
        for year in (time.year, time.year - 1):
            try:
                start = self.start.replace(year=year)
            except ValueError:  # 29 February
                continue
            if start <= time < start + length:
                return True
        return False


def named_times(query: str, now: datetime) -> list[Period]:
    """The times that a query names, each once; relative ones, such as "last Christmas", count from `now`."""
    found: list[Period] = []
    taken: list[tuple[int, int]] = []
    for match, spans in _matches(query, now):
        if not any(match.start() < stop and start < match.end() for start, stop in taken):
            taken.append(match.span())
            found += spans
    return found


def _matches(query: str, now: datetime) -> Iterator[tuple[re.Match[str], list[Period]]]:
    for match in _HOLIDAY.finditer(query):
        yield match, [_latest(*_HOLIDAYS[match["holiday"].lower()], now)]
    for match in _LAST_MONTH.finditer(query):
        month = MONTHS.index(match["month"].lower()) + 1
        yield match, [_month(now.year if month < now.month else now.year - 1, month)]
    for match in _RELATIVE.finditer(query):
        yield match, [_relative(match[0].lower(), now)]
    for pattern in _DATES:
        for match in pattern.finditer(query):
            yield match, _dated(match.groupdict())
    for match in _BARE_MONTH.finditer(query):
        month = MONTHS.index(match["month"].lower()) + 1
        start = _month(2000, month)
        yield match, [Period(start.start, start.stop, in_year=False)]


def _dated(parts: Mapping[str, str | None]) -> list[Period]:
    """The span of a date's parts; none for a day that no calendar has."""
    name, number = parts.get("month"), parts.get("number")
    month = int(number) if number else None
    if name:
        month = [known[:3] for known in MONTHS].index(name[:3].lower()) + 1
    year, day = (int(value) if (value := parts.get(part)) else None for part in ("year", "day"))
    try:
        if month is None:
            return [] if year is None else [Period(_utc(year, 1, 1), _utc(year + 1, 1, 1))]
        if day is None:
            return [] if year is None else [_month(year, month)]
        start = _utc(2000 if year is None else year, month, day)
    except ValueError:
        return []
    return [Period(start, start + timedelta(days=_DAYS_LATER), in_year=year is not None)]


def _relative(words: str, now: datetime) -> Period:
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if words in _RELATIVE_DAYS:
        before, days = _RELATIVE_DAYS[words]
        start = today - timedelta(days=before)
        return Period(start, start + timedelta(days=days))
    if "week" in words or "周" in words or "星期" in words:
        monday = today - timedelta(days=today.weekday())
        start = monday if words[0] in "t本这" else monday - timedelta(days=7)
        return Period(start, start + timedelta(days=7))
    if "month" in words or "月" in words:
        if words[0] in "t本这":
            return _month(now.year, now.month)
        return _month(now.year, now.month - 1) if now.month > 1 else _month(now.year - 1, 12)
    years_ago = {"this year": 0, "今年": 0, "前年": 2}.get(words, 1)
    return Period(_utc(now.year - years_ago, 1, 1), _utc(now.year - years_ago + 1, 1, 1))


def _latest(month: int, day: int, now: datetime) -> Period:
    """The last day of this name before now, and the days after it on which people tell of it."""
    start = _utc(now.year, month, day)
    if start + timedelta(days=_DAYS_LATER) > now:
        start = _utc(now.year - 1, month, day)
    return Period(start, start + timedelta(days=_DAYS_LATER))


def _month(year: int, month: int) -> Period:
    return Period(_utc(year, month, 1), _utc(year + month // 12, month % 12 + 1, 1))


def _utc(year: int, month: int, day: int) -> datetime:
    return datetime(year, month, day, tzinfo=timezone.utc)


def names_in(query: str) -> list[str]:
    """The keys of the speakers that a query may name: its words, and the parts of unspaced text as long as a name."""
    keys: dict[str, None] = {}
    for word in _WORD.findall(query):
        keys[word.casefold()] = None
        for run in _UNSPACED.findall(word):
            keys |= {run[i : i + n]: None for n in _UNSPACED_NAME for i in range(len(run) - n + 1)}
    return list(keys)[:_MOST_NAMES]


def named_speaker(speakers: Iterable[str]) -> frozenset[str]:
    """The one speaker of those that a query names, as each spelling of the name; empty for none or several."""
    named = frozenset(speakers)
    return named if len({speaker.casefold() for speaker in named}) == 1 else frozenset()
