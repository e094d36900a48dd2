"""What the figures of a benchmark amount to: what limits it, what would help, and what could be done next."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from agentmem_cli.bench.bottleneck import Bottleneck
from agentmem_cli.bench.figures import Figures, RemedyFigures
from agentmem_cli.embedding.catalog import DEFAULT_MODEL
from agentmem_cli.report.document import Cell, Row, Table, interval_text, table
from agentmem_cli.report.translations import Words

_MATTERS: Final = 0.1  # the share of the time from which a part is worth a sentence
_ONE_THREAD: Final = 1.25  # cores that one thread keeps busy at most, with what runs beside it
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
    elif (
        found.busy_cores is not None and found.cores is not None and found.cores > 1 and found.busy_cores < _ONE_THREAD
    ):
        yield words("found.cores", best.batch_size, found.busy_cores, found.cores)
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
    return words(
        "found.batching",
        cost.fixed_ms,
        parts[0],
        cost.each_ms,
        parts[1],
        found.single_ms,
        most,
        found.batched_ms or 0.0,
    )


# nDCG@10 of hybrid search in LoCoMo's development half: `python -m tests.perf.ranking_quality`.
_QUALITY: Final = {"minilm": 0.609, "static": 0.592}
_STEADY: Final = ("int8", "threads", "larger", "clients")  # remedies that keep the model, whatever the texts


def remedies(found: Sequence[RemedyFigures], words: Words) -> Table:
    """What was predicted of each remedy, what it brought, and what it costs."""
    rows: list[Row] = [
        [
            words(f"remedy.{remedy.name}", remedy.at),
            f"{remedy.predicted_speedup:.2f}x",
            Cell(f"{remedy.speedup:.2f}x", strong=True),
            interval_text(words, remedy.speedup_interval, ".2f"),
            _price(remedy, words),
        ]
        for remedy in found
    ]
    headings, caption = ("predicted", "measured", "interval", "cost"), words("advice.caption")
    shown = table(words, "advice", words("advice.title"), ("remedy",), headings, rows, caption=caption)
    last = len(shown.columns) - 1
    return replace(shown, columns=[replace(c, is_number=c.is_number and i < last) for i, c in enumerate(shown.columns)])


def _price(remedy: RemedyFigures, words: Words) -> str:
    if remedy.name == "static":
        return words("price.static", _QUALITY["static"], _QUALITY["minilm"])
    if remedy.cosine is not None:
        return words("price.cosine", remedy.cosine)
    return words(f"price.{remedy.name}")


def next_steps(figures: Figures, words: Words) -> list[str]:
    """The three ways to go on, with what was measured of each: this model, as it is, or small batches."""
    best, bottleneck, found = figures.best, figures.bottleneck, figures.remedies
    if best is None or bottleneck is None or not found:
        return []
    steps = []
    kept = max((r for r in found if r.name in _STEADY[:2]), key=lambda r: r.speedup, default=None)
    if kept is not None and kept.speedup > 1:
        name = words(f"remedy.{kept.name}", kept.at)
        steps.append(words("next.keep", name, kept.speedup, best.ops_per_s * kept.speedup))
    million_min = 1_000_000 / best.ops_per_s / 60
    steps.append(words("next.accept", best.ops_per_s, million_min))
    small, cost = bottleneck.smallest, bottleneck.cost
    gains = [words(f"remedy.{r.name}", r.at) + f" {r.speedup:.1f}x" for r in found if r.name in _STEADY[2:]]
    share = cost.fixed_ms / cost.of(small.batch_size) if cost.of(small.batch_size) else 0.0
    part = words(f"part.{small.part}")
    if gains:
        steps.append(words("next.small", small.batch_size, part, small.ratio, share, words("next.comma").join(gains)))
    return [f"{number}. {step}" for number, step in enumerate(steps, 1)]


def hint(model: str, found: Bottleneck, words: Words) -> str:
    """What `--advise` could find for a model that was measured without it."""
    if model == DEFAULT_MODEL and found.best.part == "embedding":
        return words("hint.static", found.best.ratio, _QUALITY["static"], _QUALITY["minilm"])
    return words("hint.any")
