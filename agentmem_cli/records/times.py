"""Parses times, ages and spans. Times are aware and UTC. Standard library only."""

import re
from datetime import datetime, timedelta, timezone
from typing import Final

from agentmem_cli.errors import InvalidMemoryError, UsageError
from agentmem_cli.records.values import kind_of, shown

_ISO_TIME: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[Tt ](\d{2}:\d{2})(:\d{2}(?=[.+\-Zz]|$))?(\.\d{1,9})?(Z|z|[+-]\d{2}(?::?\d{2})?)?)?",
    re.ASCII,
)
_AGE: Final = re.compile(r"(\d{1,9})([smhdw])", re.ASCII)
MONTHS: Final = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
MAX_TTL_S: Final = 1e11  # 3,169 years: the time after it can still be written
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_time(value: str, name: str = "created_at") -> datetime:
    """The UTC time that an ISO 8601 string names. Raises InvalidMemoryError."""
    match = _ISO_TIME.fullmatch(value)
    try:
        if match is None:
            raise ValueError("no such form")
        day, clock, seconds, fraction, zone = match.groups(default="")
        # In the form that every version of Python parses.
        time = datetime.fromisoformat(f"{day}T{clock or '00:00'}{seconds or ':00'}.{fraction[1:7]:0<6}{_offset(zone)}")
    except ValueError as error:
        raise InvalidMemoryError(f"{name} {shown(value)} is not an ISO 8601 time") from error
    return as_utc(time, name)


def _offset(zone: str) -> str:
    """`+05:30` for `+05:30`, `+0530` and `+05`; no zone is UTC."""
    digits = zone[1:].replace(":", "")
    return f"{zone[0]}{digits[:2]}:{digits[2:] or '00'}" if digits else "+00:00"


def as_utc(time: datetime, name: str = "created_at") -> datetime:
    """The same instant in UTC; a time without a zone is taken as UTC."""
    if not isinstance(time, datetime):
        raise InvalidMemoryError(f"{name} must be a time, not {kind_of(time)}")
    try:
        return time.replace(tzinfo=timezone.utc) if time.tzinfo is None else time.astimezone(timezone.utc)
    except (OverflowError, ValueError) as error:
        raise InvalidMemoryError(f"{name} {time} is out of range") from error


def parse_span(name: str, value: str | timedelta) -> timedelta:
    """A span of time: a timedelta, or such as `30d` (s, m, h, d, w). Raises UsageError."""
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise UsageError(f"{name} must be a timedelta or a string such as 30d, not {kind_of(value)}")
    span = _AGE.fullmatch(value)
    try:
        if span is not None:
            return timedelta(**{_UNITS[span[2]]: int(span[1])})
    except OverflowError as error:
        raise UsageError(f"{name} {value} is out of range") from error
    raise UsageError(f"{name} {shown(value)} is not a span of time: write it as 12h, 30d or 8w")


def parse_ttl(name: str, value: str | timedelta) -> timedelta:
    """A span of time after which a memory expires, as `parse_span` has it. Raises UsageError unless it is above 0."""
    span = parse_span(name, value)
    if not 0 < span.total_seconds() <= MAX_TTL_S:
        raise UsageError(f"{name} is {value}: it must be more than 0 and at most {MAX_TTL_S:.0f} seconds")
    return span


def expiry(expires_at: datetime | str | float | None, ttl: timedelta | str | None) -> datetime | str | float | None:
    """When a memory expires: at a time, or `ttl` from now. Raises UsageError."""
    if ttl is None:
        return expires_at
    if expires_at is not None:
        raise UsageError("give either expires_at or ttl")
    return datetime.now(timezone.utc) + parse_ttl("ttl", ttl)


def bound(name: str, value: datetime | str | None) -> datetime | None:
    """The UTC time that bounds a filter: a time, an ISO 8601 string, or an age such as `7d` (s, m, h, d, w).

    Raises UsageError.
    """
    if value is None:
        return None
    try:
        if not isinstance(value, str):
            return as_utc(value, name)
        if _AGE.fullmatch(value) is None:
            return parse_time(value, name)
        return datetime.now(timezone.utc) - parse_span(name, value)
    except OverflowError as error:
        raise UsageError(f"{name} {value} is out of range") from error
    except InvalidMemoryError as error:
        raise UsageError(f"{error}: write it as 2025-03-01, 2025-03-01T09:30:00Z, or 7d for seven days ago") from error
