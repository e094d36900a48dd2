"""Results of a benchmark made by hand, for tests of what is made of them."""

from collections.abc import Sequence
from dataclasses import replace

from agentmem_cli.bench.result import (
    BatchRun,
    BenchResult,
    CallsSample,
    ClientsRun,
    ColdStart,
    Comparison,
    Config,
    EfRun,
    Environment,
    IngestSample,
    Likeness,
    Machine,
    ModelFacts,
    ModelResult,
    ProcessesRun,
    Retrieval,
    StorePoint,
    TokenCounts,
    WorkloadFacts,
)


def batch_run(batch_size: int, totals_s: Sequence[float], *, unknown: int = 0, truncated: int = 0) -> BatchRun:
    """Batches whose texts have ten tokens, of which two are special, and that spend half their time embedding."""
    samples = [IngestSample(total_s, {"parse": 0.001, "embed": total_s / 2}) for total_s in totals_s]
    return BatchRun(batch_size, TokenCounts(batch_size, 10 * batch_size, 2 * batch_size, unknown, truncated), samples)


def comparison(single_s: Sequence[float], batch_s: Sequence[float], memories: int = 100) -> Comparison:
    """One by one, each as long as the others, against batches."""
    return Comparison(
        memories,
        TokenCounts(memories, 10 * memories, 2 * memories, 0, 0),
        [CallsSample(total_s, [total_s / memories] * memories) for total_s in single_s],
        [IngestSample(total_s, {}) for total_s in batch_s],
    )


def store_point(memories: int, found: Sequence[int] = ()) -> StorePoint:
    """A store with twenty searches of 1 to 20 ms."""
    return StorePoint(
        memories=memories,
        added=memories,
        ingest_s=memories / 2000,
        batches_s=[0.5] * (memories // 1000),
        index_s=0.25 if found else None,
        searches_s=[milliseconds / 1000 for milliseconds in range(1, 21)],
        bytes=1500 * memories,
        peak_resident_bytes=200_000_000,
        graph_found=list(found),
    )


def model_result(name: str = "fake", runs: Sequence[BatchRun] = ()) -> ModelResult:
    """A model with two sizes, a comparison, a cold start and a store."""
    return ModelResult(
        model=ModelFacts(name, "0123456789abcdef", 384, "fp32", 256, 1_000_000),
        batches=list(runs)
        or [
            batch_run(10, [0.012, 0.013, 0.0134, 0.014, 0.02]),
            batch_run(1000, [0.19, 0.195, 0.2, 0.205, 0.21]),
        ],
        comparison=comparison([1.2, 1.25, 1.25, 1.25, 1.3], [0.25, 0.25, 0.25, 0.25, 0.26]),
        cold_start=ColdStart(0.1, 0.7, 0.2, 10),
        stores=[store_point(1000, [10, 10, 9, 10])],
    )


def bench_result(
    *models: ModelResult, machine: Machine | None = None, repeats: int = 5, workload: WorkloadFacts | None = None
) -> BenchResult:
    """A run on two cores, on which matrix products reach 100 MFLOP/s and an fsync takes 1 ms."""
    return BenchResult(
        complete=True,
        started_at="2026-01-01T00:00:00+00:00",
        environment=Environment("0.1.0", "3.11.7", "Linux", "A CPU", 2, {"numpy": "2.0"}, 8 * 2**30),
        config=Config([10, 1000], 100, repeats, 1, threads=2),
        workload=workload or WorkloadFacts("mixed", 1000, "ab12"),
        machine=machine or Machine([1e11, 0.99e11, 0.98e11], [[0.001, 0.001]] * 3, 0.5, 0.0),
        models=list(models) or [model_result()],
        warnings=[],
    )


def full_result(name: str = "fake") -> BenchResult:
    """Two models, of which everything was measured that can be."""
    figures = {metric: [1.0, 0.0, 1.0, 0.5] for metric in ("recall@1", "recall@5", "recall@10", "mrr", "ndcg@10")}
    grown = replace(
        model_result(name),
        stores=[store_point(1000, [10, 10, 9, 10]), store_point(20_000, [10, 9, 9, 10])],
        retrieval=[Retrieval("hybrid", figures, 0, 0), Retrieval("meaning", figures, 0, 0)],
    )
    other = replace(grown, model=replace(grown.model, name=f"{name}-int8", precision="int8"))
    return bench_result(grown, replace(other, likeness=Likeness(name, [0.99, 0.995] * 10, [10, 9] * 10)))


def used_at_once(result: BenchResult) -> BenchResult:
    """A run of one model with five rounds of many clients, in which one thread makes 100 calls/s and four make 250, and
    with searches of the graph by ef."""

    def rounds(calls_per_s: float, calls: int = 100) -> list[CallsSample]:
        return [CallsSample(calls / calls_per_s, [0.01] * calls) for _ in range(5)]

    measured = replace(
        result.models[0],
        clients=[ClientsRun(1, rounds(100), rounds(50)), ClientsRun(4, rounds(250), rounds(55))],
        processes=ProcessesRun(2, 1000, rounds(80), rounds(60), rounds(100), rounds(70)),
        ef=[
            EfRun(16, 1000, [], [7, 8], [0.0001] * 20),
            EfRun(128, 1000, ["meaning"], [10, 9], [0.0002] * 20),
            EfRun(200, 1000, ["hybrid"], [10, 10], [0.0003] * 20),
        ],
    )
    return replace(result, models=[measured])
