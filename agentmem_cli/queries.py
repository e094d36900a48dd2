"""Query files: JSONL whose lines are questions, who they are about, and where it is known, which memories answer them.

A line has `query`, and may have scope fields (`agent_id`, `user_id`, `run_id`, `memory_type`) and `relevant`, a list of
ids. Other keys are ignored, and null means absent.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from agentmem_cli.errors import InvalidMemoryError, RejectedLineError
from agentmem_cli.ranking import Query
from agentmem_cli.records.jsonl import parse_object, pop_scope
from agentmem_cli.records.lines import MAX_LINE_BYTES, Line, LineSource, open_source
from agentmem_cli.records.memory import SearchFilter
from agentmem_cli.records.values import check_name, check_string, kind_of

_EVERYTHING: Final = SearchFilter()


@dataclass(frozen=True, slots=True)
class LabelledQuery:
    """A question, and the ids of the memories that answer it, each once; none where nobody has said."""

    query: Query
    relevant: tuple[str, ...] = ()


def read_queries(path: str, wanted: SearchFilter = _EVERYTHING) -> Iterator[LabelledQuery]:
    """The queries of a file, plain or gzip, or of standard input for `-`, as they are read.

    What a line leaves out of its scope is as `wanted` has it; its other conditions hold for every line.
    Raises InputError, and RejectedLineError at the first bad line.
    """
    with open_source(path) as source:
        for line in source.lines():
            yield _read(line, source, wanted)


def _read(line: Line, source: LineSource, wanted: SearchFilter) -> LabelledQuery:
    try:
        if line.too_long:
            raise InvalidMemoryError(f"line is longer than {MAX_LINE_BYTES} bytes")
        return parse_query(line.content, wanted)
    except InvalidMemoryError as error:
        raise RejectedLineError(f"{source.name}:{line.number}: {error}: correct the line or leave it out") from error


def parse_query(line: bytes, wanted: SearchFilter = _EVERYTHING) -> LabelledQuery:
    """The query on one line of JSONL. Raises InvalidMemoryError, whose message is the reason alone."""
    fields: dict[str, object] = {key: value for key, value in parse_object(line).items() if value is not None}
    if "query" not in fields:
        raise InvalidMemoryError('no "query"')
    text = check_string("query", fields["query"])
    if not text.strip():
        raise InvalidMemoryError("query is empty")
    scope = pop_scope(fields, wanted.scope)
    return LabelledQuery(Query(text, replace(wanted, scope=scope)), _relevant(fields.get("relevant", [])))


def _relevant(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise InvalidMemoryError(f"relevant must be a list of ids, not {kind_of(value)}")
    for identity in value:
        check_name("an id in relevant", check_string("an id in relevant", identity))
    return tuple(dict.fromkeys(value))
