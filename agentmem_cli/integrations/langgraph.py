"""AgentMemStore: a store of memories as the long-term store of LangGraph.

An item of LangGraph is one memory for each of its texts that a search by meaning finds: its parts. The id of a part is
JSON: `["langgraph", namespace, key, number of the part]`. The first two labels of the namespace are the memory's
`agent_id` and `user_id`, which the store has indexes for; its metadata holds the rest, under `langgraph`:

    {"namespace": {"0": "memories", "1": "maya"}, "key": "food", "value": {...}, "part": 0, "parts": 1,
     "indexed": true, "updated_at": "2026-11-25T08:42:00+00:00", "ttl_minutes": null}
"""

import asyncio
import json
import operator
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from itertools import chain, islice
from typing import Final, Literal, NamedTuple, TypeAlias, cast

try:
    from langgraph.store.base import (
        BaseStore,
        GetOp,
        IndexConfig,
        Item,
        ListNamespacesOp,
        MatchCondition,
        Op,
        PutOp,
        Result,
        SearchItem,
        SearchOp,
        TTLConfig,
        get_text_at_path,
    )
except ImportError as _error:  # private: what a module exports has a known type
    raise ImportError(
        "agentmem_cli.integrations.langgraph needs LangGraph's stores: pip install 'agentmem-cli[langgraph]'"
    ) from _error

from agentmem_cli.api import AgentMem
from agentmem_cli.errors import InvalidMemoryError, StoreNotFoundError, UsageError
from agentmem_cli.records.filter import SearchFilter
from agentmem_cli.records.memory import Memory, Scope
from agentmem_cli.records.times import parse_time, parse_ttl
from agentmem_cli.records.values import JsonScalar, JsonValue, is_object, plain_metadata, shown
from agentmem_cli.search.query import Mode, Query, Ranking

Namespace: TypeAlias = tuple[str, ...]
_Scored: TypeAlias = tuple["_Stored", float | None]
_ORIGIN: Final = "langgraph"  # begins the ids, and is the key of metadata
_NOT_INDEXED: Final = "(not indexed)"  # the text of items that no search by meaning finds; a memory has a text
_MOST_PARTS: Final = 10_000
_COMPARISONS: Final[dict[str, Callable[[float, float], bool]]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


class AgentMemStore(BaseStore):
    """LangGraph's BaseStore over an AgentMem, which the caller opens and closes.

    `index` says what is embedded: `{"fields": ["text", "tags[*]"]}` embeds each text at these paths, `None` the whole
    value as JSON, and `False` nothing: searches then ignore their query. The model is that of the store. `mode` is how
    a query is matched: by `meaning` the score is the cosine, as in LangGraph's own stores; `hybrid` also matches words.
    With `chunk`, texts that are longer than the model reads are split (see `AgentMem.add`). `ttl` has LangGraph's
    defaults for items that expire: an expired item is found by nothing, and `sweep_ttl` removes it.

    Values are JSON objects. A put keeps the `created_at` of the item that it replaces. Memories in the same store that
    are not items of LangGraph are left alone. Threads and tasks may share one object. Raises AgentMemError and its
    kinds.
    """

    supports_ttl = True

    def __init__(
        self,
        mem: AgentMem,
        *,
        index: IndexConfig | Literal[False] | None = None,
        mode: Mode = "meaning",
        chunk: bool = False,
        ttl: TTLConfig | None = None,
    ) -> None:
        """Raises UsageError for an `index` that names a model."""
        if index and index.keys() - {"fields"}:
            raise UsageError(
                "index takes only fields here: the model is that of the AgentMem, so leave out dims and embed"
            )
        self._mem = mem
        self._fields: Sequence[str] = [] if index is False else (index or {}).get("fields") or ["$"]
        self._ranking = Ranking(mode)
        self._chunk = chunk
        self.ttl_config = ttl
        self._turn = threading.Lock()  # held while an item's parts are replaced

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """The results of the operations, in their order.

        The reads see the store as it was before the writes. Of several puts of one item, the last counts. The puts
        become durable together.
        """
        ops = list(ops)
        results = [self._read(op) for op in ops]
        puts = {(op.namespace, op.key): op for op in ops if isinstance(op, PutOp)}
        if puts:
            with self._turn:
                self._write(puts.values())
        return results

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """As `batch`, in a thread."""
        return await asyncio.to_thread(self.batch, list(ops))

    def sweep_ttl(self) -> int:
        """Removes expired items durably, and returns how many memories they were stored as."""
        return self._mem.delete(where={f"{_ORIGIN}.parts": {"exists": True}}, expired=True)

    # Writing

    def _write(self, puts: Iterable[PutOp]) -> None:
        stale: list[str] = []
        memories: list[Memory] = []
        for put in puts:
            before = self._stored(put.namespace, put.key)
            parts = [] if put.value is None else self._parts(put, None if before is None else before.item.created_at)
            left_over = range(len(parts), 0 if before is None else before.parts)
            stale += [_PartId(put.namespace, put.key, number).dump() for number in left_over]
            memories += parts
        if stale:  # first: a search can do without a part, and must not find one that is left over
            self._mem.delete(*stale)
        if memories:
            self._mem.add_batch(memories, chunk=self._chunk)

    def _parts(self, put: PutOp, created_at: datetime | None) -> list[Memory]:
        """The memories that an item is stored as. Raises InvalidMemoryError."""
        value = cast(dict[str, JsonValue], put.value)
        fields = self._fields if put.index is None or not self._fields else put.index or []
        texts = [text for field in fields for text in get_text_at_path(value, field) if text.strip()]
        parts = texts or [_NOT_INDEXED]
        if len(parts) > _MOST_PARTS:
            raise InvalidMemoryError(
                f"the item has {len(parts)} texts to index: name fields with at most {_MOST_PARTS}"
            )
        agent_id, user_id, *_ = (*put.namespace, None, None)
        now = datetime.now(timezone.utc)
        return [
            Memory(
                text=text,
                id=_PartId(put.namespace, put.key, number).dump(),
                scope=Scope(agent_id, user_id),
                metadata={
                    _ORIGIN: {
                        "namespace": {str(depth): label for depth, label in enumerate(put.namespace)},
                        "key": put.key,
                        "value": value,
                        "part": number,
                        "parts": len(parts),
                        "indexed": bool(texts),
                        "updated_at": now.isoformat(),
                        "ttl_minutes": put.ttl,
                    }
                },
                created_at=created_at or now,
                expires_at=None if put.ttl is None else _expiry(now, put.ttl),
                clears=frozenset({"expires_at"} if put.ttl is None else {}),
            )
            for number, text in enumerate(parts)
        ]

    def _refresh(self, read: Iterable["_Stored"]) -> None:
        """Lets items that expire live for their whole time again."""
        lapsing = [stored for stored in read if stored.ttl_minutes is not None]
        if not lapsing:
            return
        with self._turn:
            now, memories = datetime.now(timezone.utc), list[Memory]()
            for stored in lapsing:
                expires_at = _expiry(now, stored.ttl_minutes or 0)
                for number in range(stored.parts):
                    part = self._mem.get(_PartId(stored.item.namespace, stored.item.key, number).dump())
                    memories += [] if part is None else [replace(part, expires_at=expires_at)]
            self._mem.add_batch(memories)

    # Reading

    def _read(self, op: Op) -> Result:
        if isinstance(op, GetOp):
            stored = self._stored(op.namespace, op.key)
            if stored is not None and op.refresh_ttl:
                self._refresh([stored])
            return None if stored is None else stored.item
        if isinstance(op, SearchOp):
            found = list(islice(self._found(op), op.offset, op.offset + op.limit))
            if op.refresh_ttl:
                self._refresh(stored for stored, _ in found)
            return [stored.found(score) for stored, score in found]
        if isinstance(op, ListNamespacesOp):
            return list(islice(self._namespaces(op), op.offset, op.offset + op.limit))
        return None

    def _stored(self, namespace: Namespace, key: str) -> "_Stored | None":
        first = self._mem.get(_PartId(namespace, key, 0).dump())
        return None if first is None else _Stored.of(first, namespace, key)

    def _found(self, op: SearchOp) -> Iterator[_Scored]:
        """The items that an operation searches for: the best first, then those that are not indexed, in order."""
        if not (op.query and op.query.strip() and self._fields):
            return self._in_order(op, {})
        return chain(self._best(op, op.query), self._in_order(op, {"indexed": False}))

    def _best(self, op: SearchOp, query: str) -> Iterator[_Scored]:
        """The items that answer a query, best first, each once, with the score of its best part."""
        asked, k = Query(query, _filter(op, {"indexed": True})), max(1, op.offset + op.limit)
        seen: set[tuple[Namespace, str]] = set()
        while True:
            hits = self._mem.search_many([asked], k, self._ranking)[0]
            for hit in hits:
                part = _PartId.parse(hit.id)
                if part is None or part[:2] in seen:
                    continue
                stored = self._stored(part.namespace, part.key)
                if stored is not None and _matches(stored.item.value, op.filter):
                    seen.add(part[:2])
                    yield stored, hit.score
            if len(hits) < k:
                return
            k *= 2  # several hits were parts of one item, or items that the filter refused

    def _in_order(self, op: SearchOp, marks: Mapping[str, JsonScalar]) -> Iterator[_Scored]:
        """The items that match, without a score: those of a namespace together, in order of arrival."""
        by_namespace: dict[Namespace, list[str]] = {}
        for part in self._first_parts(_filter(op, marks)):
            by_namespace.setdefault(part.namespace, []).append(part.key)
        for namespace, keys in by_namespace.items():
            for key in keys:
                stored = self._stored(namespace, key)
                if stored is not None and _matches(stored.item.value, op.filter):
                    yield stored, None

    def _namespaces(self, op: ListNamespacesOp) -> list[Namespace]:
        """The namespaces that hold items and match, cut to the depth, each once and sorted."""
        namespaces = {part.namespace for part in self._first_parts(SearchFilter())}
        wanted = [own for own in namespaces if all(_fits(own, condition) for condition in op.match_conditions or ())]
        return sorted({own[: op.max_depth] for own in wanted})

    def _first_parts(self, filter: SearchFilter) -> Iterator["_PartId"]:
        """The first parts of items that match, in order of arrival."""
        try:
            ids = self._mem.ids_matching(filter)
        except StoreNotFoundError:  # nothing has been put yet
            return
        for identity in ids:
            part = _PartId.parse(identity)
            if part is not None and part.number == 0:
                yield part


class _PartId(NamedTuple):
    """What the id of a part says."""

    namespace: Namespace
    key: str
    number: int

    def dump(self) -> str:
        """The id."""
        return json.dumps([_ORIGIN, self.namespace, self.key, self.number], ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def parse(cls, identity: str) -> "_PartId | None":
        """The inverse of `dump`; None for an id that `dump` did not make."""
        if not identity.startswith(f'["{_ORIGIN}",'):
            return None
        try:
            _, namespace, key, number = json.loads(identity)
            part = cls(tuple(namespace), key, number)
        except (TypeError, ValueError):
            return None
        names_an_item = all(isinstance(text, str) for text in (*part.namespace, key))
        return part if names_an_item and part.dump() == identity else None


@dataclass(frozen=True, slots=True)
class _Stored:
    """An item, the number of its parts, and how long it lives after it was read."""

    item: Item
    parts: int
    ttl_minutes: float | None

    @classmethod
    def of(cls, first: Memory, namespace: Namespace, key: str) -> "_Stored | None":
        """The item whose first part this memory is; None for a memory that `AgentMemStore` did not make."""
        about, created_at = first.metadata.get(_ORIGIN), first.created_at
        if not isinstance(about, dict) or created_at is None:
            return None
        value, parts, updated_at = about.get("value"), about.get("parts"), about.get("updated_at")
        if not isinstance(value, dict) or not isinstance(parts, int) or not isinstance(updated_at, str):
            return None
        if not 0 < parts <= _MOST_PARTS:
            return None
        ttl_minutes = about.get("ttl_minutes")
        item = Item(value=value, key=key, namespace=namespace, created_at=created_at, updated_at=parse_time(updated_at))
        return cls(item, parts, ttl_minutes if isinstance(ttl_minutes, (int, float)) else None)

    def found(self, score: float | None) -> SearchItem:
        """The item as a result of a search."""
        item = self.item
        return SearchItem(item.namespace, item.key, item.value, item.created_at, item.updated_at, score)


def _expiry(now: datetime, ttl_minutes: float) -> datetime:
    try:
        span = timedelta(minutes=ttl_minutes)
    except (OverflowError, ValueError) as error:
        raise UsageError(f"ttl is {ttl_minutes} minutes: give fewer, or None for an item that never expires") from error
    return now + parse_ttl("ttl", span)


def _filter(op: SearchOp, marks: Mapping[str, JsonScalar]) -> SearchFilter:
    """The memories in a namespace and those beneath it that have these marks.

    Of the operation's filter, it has the conditions that a store can check; `_matches` checks all.
    """
    agent_id, user_id, *further = (*op.namespace_prefix, None, None)
    where: dict[str, Mapping[str, list[JsonScalar]]] = {
        f"{_ORIGIN}.namespace.{depth}": {"in": [label]} for depth, label in enumerate(further, 2) if label is not None
    }
    where |= {f"{_ORIGIN}.{name}": {"in": [mark]} for name, mark in marks.items()}
    where |= {f"{_ORIGIN}.value.{key}": {"in": equals} for key, equals in _checkable(op.filter or {})}
    return SearchFilter.of(agent_id=agent_id, user_id=user_id, where=where)


def _checkable(filter: Mapping[str, object]) -> Iterator[tuple[str, list[JsonScalar]]]:
    """The keys of a filter whose value must equal a scalar, and all that equals it in Python, where True equals 1."""
    for key, asked in filter.items():
        wanted = asked["$eq"] if is_object(asked) and asked.keys() == {"$eq"} else asked
        if "." in key or not isinstance(wanted, (str, int, float)):
            continue
        try:
            plain_metadata({key: wanted})
        except InvalidMemoryError:  # no value that is stored equals it
            continue
        yield key, [wanted, int(wanted), bool(wanted)] if wanted in (0, 1) else [wanted]


def _matches(value: Mapping[str, object], filter: Mapping[str, object] | None) -> bool:
    return all(_is_as_asked(value.get(key), asked) for key, asked in (filter or {}).items())


def _is_as_asked(value: object, asked: object) -> bool:
    """Whether a value equals what is asked for, key by key in an object and place by place in a list, or passes its
    operators (`{"$gte": 3, "$lt": 9}`), of which those of order compare numbers. Raises UsageError."""
    if is_object(asked):
        if any(name.startswith("$") for name in asked):
            return all(_passes(value, name, operand) for name, operand in asked.items())
        return is_object(value) and _matches(value, asked)
    if isinstance(asked, (list, tuple)):
        return isinstance(value, list) and len(value) == len(asked) and all(map(_is_as_asked, value, asked))
    return value == asked


def _passes(value: object, name: str, operand: object) -> bool:
    if name == "$eq":
        return value == operand
    if name == "$ne":
        return value != operand
    if name not in _COMPARISONS:
        raise UsageError(f"the filter has {shown(name)}: use one of $eq, $ne, {', '.join(_COMPARISONS)}")
    try:
        return _COMPARISONS[name](float(cast(float, value)), float(cast(float, operand)))
    except (TypeError, ValueError):  # not numbers
        return False


def _fits(namespace: Namespace, wanted: MatchCondition) -> bool:
    """Whether a namespace begins or ends with a path; `*` stands for any label."""
    path = wanted.path
    if wanted.match_type not in ("prefix", "suffix"):
        raise UsageError(f"match_type {shown(wanted.match_type)} is unknown: it is prefix or suffix")
    if len(namespace) < len(path):
        return False
    labels = namespace[: len(path)] if wanted.match_type == "prefix" else namespace[len(namespace) - len(path) :]
    return all(label in ("*", own) for label, own in zip(path, labels, strict=True))
