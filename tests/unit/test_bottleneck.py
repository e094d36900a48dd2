"""What limits an ingest, told from its stages, and said in sentences."""

import pytest

from agentmem_cli.bench.bottleneck import Bottleneck, bottleneck_of, fitted
from agentmem_cli.report.findings import analysis
from agentmem_cli.report.translations import LANGS, Words

_SIZES = (10, 100, 1000)


def found(
    embed_ms: float, *, ceiling_ratio: float | None = None, commit_ms: float = 5.0, busy_cores: float | None = None
) -> Bottleneck:
    """A model of `embed_ms` a memory, over a commit of `commit_ms` and 0.02 ms a memory."""
    stages = {
        size: {"parse": 0.01 * size, "embed": embed_ms * size, "commit": commit_ms + 0.02 * size} for size in _SIZES
    }
    totals = {size: sum(stages[size].values()) for size in _SIZES}
    result = bottleneck_of(
        stages,
        totals,
        ceiling_ratio=ceiling_ratio,
        fsync_ms=1.0,
        single_ms=embed_ms + commit_ms,
        batched=(100, commit_ms + 100 * (embed_ms / 2 + 0.03)),
        busy_cores=busy_cores,
        cores=2,
    )
    assert result is not None
    return result


def test_a_fixed_cost_is_told_from_the_cost_of_each_memory() -> None:
    cost = found(4).cost
    assert (cost.fixed_ms, cost.each_ms) == pytest.approx((5, 4.03))
    assert cost.of(32) == pytest.approx(5 + 32 * 4.03)
    assert found(4).most_speedup == pytest.approx(9 / 2.03)  # as the comparison's texts are half as long


@pytest.mark.parametrize(
    ("times_ms", "fixed_ms", "each_ms"),
    [([10, 100, 1000], 0, 1), ([7, 7, 7], 7, 0), ([5, 100, 1000], 0, 2 / 3), ([0, 0, 0], 0, 0)],
)
def test_no_cost_is_below_nothing(times_ms: list[float], fixed_ms: float, each_ms: float) -> None:
    cost = fitted(_SIZES, times_ms)
    assert (cost.fixed_ms, cost.each_ms) == pytest.approx((fixed_ms, each_ms), abs=1e-3)


def test_a_single_size_has_no_fixed_cost() -> None:
    assert fitted([50], [100.0]).of(100) == pytest.approx(200)


def test_a_slow_model_limits_every_batch_and_storage_none() -> None:
    slow = found(4, ceiling_ratio=0.5)
    assert (slow.best.part, slow.smallest.part) == ("embedding", "embedding")
    assert slow.storage_ops_per_s == pytest.approx(1000 * 1000 / 35)
    said = analysis(slow, Words("en"))
    assert said[0].startswith("The longest part is embedding: 99% of the time of a batch of 1000, and 88% of a batch")
    assert "50% of the rate" in said[1]
    assert "2.0x at most" in said[1]
    assert "no batch is more than 4.4x as fast" in said[2]
    assert said[3].startswith("Without embedding, storage alone would take 28,571 memories/s")


def test_a_fast_model_leaves_small_batches_to_the_commit() -> None:
    said = analysis(found(0.05), Words("en"))
    assert said[0] == (
        "The longest part of a batch of 1000 is embedding: 59% of its time; of a batch of 10 it is the commit: 90%."
    )
    assert said[1] == "A commit takes 5.00 ms whatever its size; one fsync of this disk takes 1.00 ms."
    assert not any("limit nothing" in sentence for sentence in said)


def test_one_thread_is_a_limit_and_two_are_none() -> None:
    assert "keeps 1.0 of 2 cores busy" in " ".join(analysis(found(0.05, busy_cores=1.02), Words("en")))
    assert "cores busy" not in " ".join(analysis(found(0.05, busy_cores=1.8), Words("en")))


@pytest.mark.parametrize("lang", LANGS)
@pytest.mark.parametrize("embed_ms", [0.001, 0.05, 4])
def test_there_are_two_to_five_sentences(lang: str, embed_ms: float) -> None:
    assert (
        2 <= len(analysis(found(embed_ms, ceiling_ratio=0.4, busy_cores=1), Words("zh" if lang == "zh" else "en"))) <= 5
    )


def test_without_stages_nothing_is_said() -> None:
    assert bottleneck_of({10: {}}, {10: 1.0}) is None
