"""What an ingest did."""

from collections import Counter
from dataclasses import dataclass, field

from agentmem_cli.embedding.languages import ModelAdvice, Script
from agentmem_cli.records.values import JsonValue


@dataclass(slots=True)
class IngestReport:
    """What an ingest did. `embedded` counts texts that the model saw, `reused` memories whose vector was stored
    already.

    `unindexed` vectors were not in the published graph at the end, so searches scan them; `indexing` says whether it is
    being built. `truncated` counts added or updated memories that are longer than the model reads: a search by meaning
    sees only their beginning. `chunks` counts the parts that long memories were split into. Stages overlap, so the sum
    of `stages_s` may exceed `elapsed_s`. `letters` counts the embedded texts' characters by script (see
    `agentmem_cli.embedding.languages`).
    """

    read: int = 0
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    embedded: int = 0
    reused: int = 0
    truncated: int = 0
    tokens: int = 0
    special_tokens: int = 0
    unknown_tokens: int = 0
    unindexed: int = 0
    indexing: bool = False
    elapsed_s: float = 0.0
    stages_s: dict[str, float] = field(default_factory=dict)
    chunks: int = 0
    letters: Counter[Script] = field(default_factory=Counter)

    def add(self, other: "IngestReport") -> None:
        """Adds what a part of this ingest did elsewhere."""
        self.added += other.added
        self.updated += other.updated
        self.unchanged += other.unchanged
        self.embedded += other.embedded
        self.reused += other.reused
        self.truncated += other.truncated
        self.chunks += other.chunks
        self.tokens += other.tokens
        self.special_tokens += other.special_tokens
        self.unknown_tokens += other.unknown_tokens
        self.letters += other.letters
        for stage, spent_s in other.stages_s.items():
            self.stages_s[stage] = self.stages_s.get(stage, 0.0) + spent_s

    @property
    def stored(self) -> int:
        """How many of the ingest's memories the store holds."""
        return self.added + self.updated + self.unchanged

    @property
    def unknown_token_ratio(self) -> float:
        """The share of the embedded texts' own tokens that the model has no vector for."""
        own_tokens = self.tokens - self.special_tokens
        return self.unknown_tokens / own_tokens if own_tokens else 0.0

    def advice(self, model: str) -> ModelAdvice | None:
        """Which model reads the texts, where this one can't; None where it can."""
        return ModelAdvice.on(model, self.tokens - self.special_tokens, self.unknown_tokens, self.letters)

    @property
    def memories_per_s(self) -> float:
        """Memories stored a second of the whole run, model loading and indexing included."""
        return self.stored / self.elapsed_s if self.elapsed_s else 0.0

    def to_dict(self, *, dry_run: bool = False) -> dict[str, JsonValue]:
        """The JSON object that `ingest --json` prints; of a dry run, only what it has found out."""
        counts: dict[str, JsonValue] = {
            "read": self.read,
            "added": self.added,
            "updated": self.updated,
            "unchanged": self.unchanged,
            "rejected": self.rejected,
            "embedded": self.embedded,
            "reused": self.reused,
        }
        if dry_run:
            return counts
        return {
            **counts,
            "truncated": self.truncated,
            "chunks": self.chunks,
            "tokens": self.tokens,
            "unknown_token_ratio": self.unknown_token_ratio,
            "unindexed": self.unindexed,
            "indexing": self.indexing,
            "elapsed_s": self.elapsed_s,
            "memories_per_s": self.memories_per_s,
            "stages_s": dict(self.stages_s),
        }
