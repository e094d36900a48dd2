"""What the figures of a benchmark amount to, in sentences: what limits it, and what could be done next."""

from collections.abc import Iterator
from typing import Final

from agentmem_cli.bench.bottleneck import Bottleneck
from agentmem_cli.report.translations import Words

_MATTERS: Final = 0.1  # the share of the time from which a part is worth a sentence
_COUNTS_MS: Final = 0.05


def analysis(found: Bottleneck, words: Words) -> list[str]:
    """Two to five sentences: the longest part, its limit, what batching saves and why no more, and storage."""
    return [sentence for sentence in _analysis(found, words) if sentence]


def _analysis(found: Bottleneck, words: Words) -> Iterator[str]:
    best, smallest = found.best, found.smallest
    part = words(f"part.{best.part}")
    if smallest.batch_size == best.batch_size:
        yield words("found.longest", part, best.ratio, best.batch_size)
    elif smallest.part == best.part:
        yield words("found.both", part, best.ratio, best.batch_size, smallest.ratio, smallest.batch_size)
    else:
        other = words(f"part.{smallest.part}")
        yield words("found.two", part, best.ratio, best.batch_size, other, smallest.ratio, smallest.batch_size)
    if found.ceiling_ratio is not None and best.part == "embedding":
        yield words("found.ceiling", found.ceiling_ratio, 1 / found.ceiling_ratio)
    commit = found.costs["commit"]
    if found.fsync_ms is not None and smallest.part == "commit" and commit.fixed_ms > _COUNTS_MS:
        yield words("found.fsync", commit.fixed_ms, found.fsync_ms)
    yield _of_batching(found, words)
    if best.part == "embedding" and found.storage_ratio < _MATTERS:
        yield words("found.storage", found.storage_ops_per_s, found.storage_ratio)


def _of_batching(found: Bottleneck, words: Words) -> str:
    cost, most = found.cost, found.most_speedup
    if cost.fixed_ms <= _COUNTS_MS or most is None or found.single_ms is None:
        return ""
    fixed = max(found.costs, key=lambda part: found.costs[part].fixed_ms)
    each = max(found.costs, key=lambda part: found.costs[part].each_ms)
    parts = words(f"part.{fixed}"), words(f"part.{each}")
    return words("found.batching", cost.fixed_ms, parts[0], cost.each_ms, parts[1], found.single_ms, most)
