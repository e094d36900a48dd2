"""The filter that SQLite applies is the one that the documentation says, whatever the metadata and the conditions."""

import operator
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from agentmem_cli import AgentMem, Memory
from agentmem_cli.records.filter import SearchFilter, Where
from agentmem_cli.records.values import JsonScalar, JsonValue
from tests.fakes import FakeEmbedder

_KEYS: Final = ("a", "b", "a.b", "b.a", ".", "", "é", '"', "\\", "\n", "$.a", "a[0]", "a') OR 1=1 --", "A")
_keys = st.sampled_from([*_KEYS, "a.a", "a.b.a", "b.", "a.\\", "é.é"]) | st.text(max_size=2).filter(
    lambda text: "\0" not in text and text.isprintable()
)
_NUMBERS: Final = (0, 1, 2, -1, 1.5, -0.0, 2**53 + 1, 2**63 - 1, -(2**63), 1e300, 0.1)
_TEXTS: Final = ("", "a", "b", "A", "é", "1", "true", "null", '"', "\\", "\n", "[1]", "\U0001f600", "\uffff")
_scalars: st.SearchStrategy[JsonScalar] = st.sampled_from([None, True, False, *_NUMBERS, *_TEXTS])
_metadata = st.dictionaries(
    _keys,
    st.recursive(
        _scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_keys, inner, max_size=2), max_leaves=4
    ),
    max_size=3,
)
_ordered = _scalars.filter(lambda value: isinstance(value, (str, int, float)) and not isinstance(value, bool))
_comparisons = st.one_of(
    _scalars,
    st.dictionaries(st.sampled_from(["=", "!="]), _scalars, min_size=1),
    st.dictionaries(st.sampled_from(["<", "<=", ">", ">="]), _ordered, min_size=1),
    st.dictionaries(st.sampled_from(["in", "not in"]), st.lists(_scalars, min_size=1, max_size=3), min_size=1),
    st.fixed_dictionaries({"exists": st.booleans()}),
)
_ORDER: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _kind(value: object) -> str:
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__


def _at(metadata: Mapping[str, JsonValue], key: str) -> Iterator[JsonValue]:
    """What a key leads to: as it is, and by its dots."""
    if key in metadata:
        yield metadata[key]
    value: JsonValue = dict(metadata)
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            return
        value = value[part]
    yield value


def _passes(value: JsonValue, asked: str, operand: object) -> bool:
    if asked == "in":
        assert isinstance(operand, list)
        return any(_kind(value) == _kind(other) and value == other for other in operand)
    return _kind(value) == _kind(operand) and _ORDER[asked](value, operand)


def _meets(metadata: Mapping[str, JsonValue], key: str, asked: str, operand: object) -> bool:
    if asked == "exists":
        return any(True for _ in _at(metadata, key)) is operand
    if asked in ("!=", "not in"):
        return not _meets(metadata, key, "=" if asked == "!=" else "in", operand)
    if asked == "=":
        return _meets(metadata, key, "in", [operand])
    return any(_passes(value, asked, operand) for value in _at(metadata, key))


def _matches(metadata: Mapping[str, JsonValue], where: Where) -> bool:
    return all(
        _meets(metadata, key, asked, operand)
        for key, comparisons in where.items()
        for asked, operand in (comparisons if isinstance(comparisons, dict) else {"=": comparisons}).items()
    )


@settings(max_examples=25, deadline=None)
@given(
    st.lists(_metadata, min_size=1, max_size=8), st.lists(st.dictionaries(_keys, _comparisons, max_size=2), max_size=8)
)
def test_a_filter_takes_what_a_look_at_each_memory_takes(
    metadata: list[dict[str, JsonValue]], filters: list[dict[str, JsonScalar]]
) -> None:
    with tempfile.TemporaryDirectory() as folder, AgentMem(Path(folder) / "s", embedder=FakeEmbedder()) as mem:
        mem.add_batch(Memory(f"text {i}", str(i), metadata=of_one) for i, of_one in enumerate(metadata))
        for where in filters:
            expected = [str(i) for i, of_one in enumerate(metadata) if _matches(of_one, where)]
            assert mem.ids_matching(SearchFilter.of(where=where)) == expected
