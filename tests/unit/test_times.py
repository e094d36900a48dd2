"""Times that bound a filter: as memories have them, or as an age."""

from datetime import datetime, timedelta, timezone

import pytest

from agentmem_cli.errors import UsageError
from agentmem_cli.records.filter import SearchFilter
from agentmem_cli.records.times import bound

NOON = datetime(2025, 3, 1, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2025-03-01T12:00:00Z", NOON),
        ("2025-03-01 12:00", NOON),
        ("2025-03-01T13:00+01:00", NOON),
        ("2025-03-01T17:30:00+0530", NOON),
        ("2025-03-01T07:00:00.5-05", NOON.replace(microsecond=500_000)),
        (datetime(2025, 3, 1, 12), NOON),
        (NOON.astimezone(timezone(timedelta(hours=-8))), NOON),
        ("2025-03-01", NOON.replace(hour=0)),
        (None, None),
    ],
)
def test_a_bound_is_a_time_or_an_iso_string_and_utc_where_no_zone_is_said(
    value: datetime | str | None, expected: datetime | None
) -> None:
    assert bound("since", value) == expected


@pytest.mark.parametrize(
    ("age", "length"),
    [
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("12h", timedelta(hours=12)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
        ("0d", timedelta(0)),
    ],
)
def test_an_age_counts_back_from_now(age: str, length: timedelta) -> None:
    before = datetime.now(timezone.utc)
    found = bound("since", age)
    assert found is not None
    assert before - length <= found <= datetime.now(timezone.utc) - length


@pytest.mark.parametrize(
    "value", ["", "yesterday", "7", "7y", "-7d", "7 d", "7D", "٧d", "2025-3-1", "2025-02-30", 1700000000]
)
def test_what_is_no_time_is_refused_with_what_to_write(value: str) -> None:
    with pytest.raises(UsageError, match=r"^until .*: write it as 2025-03-01, .* or 7d for seven days ago$"):
        bound("until", value)


@pytest.mark.parametrize("value", ["999999999d", "999999999w", "9999-12-31T23:59:59-14:00"])
def test_a_time_out_of_range_is_refused(value: str) -> None:
    with pytest.raises(UsageError, match="out of range"):
        bound("since", value)


def test_a_span_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(UsageError, match="since 2025-03-02 is not before until 2025-03-01"):
        SearchFilter.of(since="2025-03-02", until="2025-03-01")
    with pytest.raises(UsageError, match="is not before"):
        SearchFilter.of(since=NOON, until=NOON)
