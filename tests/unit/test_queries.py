"""Query files: what a line may say, and how a bad one is named."""

import gzip
import json
from pathlib import Path

import pytest

from agentmem_cli.errors import InputError, InvalidMemoryError, RejectedLineError
from agentmem_cli.records.filter import SearchFilter
from agentmem_cli.records.memory import Scope
from agentmem_cli.search.query import LabelledQuery, Query
from agentmem_cli.search.query_file import parse_query, read_queries


def test_a_line_has_a_query_a_scope_and_relevant_ids_and_what_else_it_has_are_labels() -> None:
    line = b'{"query": "who?", "user_id": "ana", "memory_type": "core", "relevant": ["b", "a", "b"], "category": 3}'
    assert parse_query(line) == LabelledQuery(
        Query("who?", SearchFilter(Scope(user_id="ana", memory_type="core"))), ("b", "a"), {"category": 3}
    )


def test_null_is_as_good_as_absent() -> None:
    assert parse_query(b'{"query": "who?", "user_id": null, "relevant": null}') == LabelledQuery(Query("who?"))


def test_a_line_says_its_own_scope_and_the_rest_is_as_the_filter_has_it() -> None:
    wanted = SearchFilter.of("coder", "ana", where={"topic": "food"})
    found = parse_query(b'{"query": "who?", "user_id": "ben"}', wanted).query.filter
    assert found == SearchFilter.of("coder", "ben", where={"topic": "food"})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"query": "who?"', "not JSON"),
        (b'["who?"]', "not an object, but a list"),
        (b'{"text": "who?"}', 'no "query"'),
        (b'{"query": " \\n"}', "query is empty"),
        (b'{"query": 7}', "query must be a string, not a number"),
        (b'{"query": "who?", "user_id": 7}', "user_id must be a string, not a number"),
        (b'{"query": "who?", "memory_type": "dream"}', 'memory_type "dream" is unknown'),
        (b'{"query": "who?", "relevant": "a"}', "relevant must be a list of ids, not a string"),
        (b'{"query": "who?", "relevant": ["a", 7]}', "an id in relevant must be a string, not a number"),
        (b'{"query": "who?", "relevant": [""]}', "an id in relevant is empty"),
    ],
)
def test_a_bad_line_says_why(line: bytes, reason: str) -> None:
    with pytest.raises(InvalidMemoryError, match=reason):
        parse_query(line)


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_is_read_in_its_order_plain_or_gzip_and_blank_lines_are_passed_over(
    packed: bool, tmp_path: Path
) -> None:
    content = b'\xef\xbb\xbf{"query": "one"}\r\n\n{"query": "two"}'
    path = tmp_path / "queries"
    path.write_bytes(gzip.compress(content) if packed else content)
    assert [query.query.text for query in read_queries(str(path))] == ["one", "two"]


def test_a_bad_line_is_named_after_those_before_it_were_read(tmp_path: Path) -> None:
    path = tmp_path / "queries.jsonl"
    path.write_text('{"query": "one"}\n\n{"relevant": []}\n{"query": "two"}\n')
    queries = read_queries(str(path))
    assert next(queries).query.text == "one"
    with pytest.raises(RejectedLineError, match=r'queries\.jsonl:3: no "query": correct the line or leave it out'):
        next(queries)


def test_a_line_of_more_than_a_megabyte_is_a_bad_line(tmp_path: Path) -> None:
    path = tmp_path / "queries.jsonl"
    path.write_text(json.dumps({"query": "x" * 1_000_000}))
    with pytest.raises(RejectedLineError, match="line is longer than 1000000 bytes"):
        list(read_queries(str(path)))


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be read: No such file"):
        list(read_queries(str(tmp_path / "nowhere.jsonl")))
