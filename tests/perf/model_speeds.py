"""What models cost, in turn in one process with one thread: processor time per query, and per text of a batch.

    python -m tests.perf.model_speeds MEMORIES.jsonl QUERIES.jsonl [--models minilm multilingual] [--repeats 3]

Processor time, unlike elapsed time, depends little on what else the machine does. Prints medians over the repeats, with
their range.
"""

import argparse
import time

from agentmem_cli.bench.workload import make_workload
from agentmem_cli.embedding import catalog
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.search.query_file import read_queries
from agentmem_cli.support.statistics import median


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("memories")
    parser.add_argument("queries")
    parser.add_argument("--models", nargs="+", default=["minilm", "minilm-int8", "multilingual"])
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    texts = make_workload(arguments.memories, arguments.texts, 0).texts()
    queries = [labelled.query.text for labelled in read_queries(arguments.queries)][:60]
    embedders = {name: catalog.load(catalog.resolve(ModelChoice(name, threads=1))) for name in arguments.models}
    query_ms: dict[str, list[float]] = {name: [] for name in embedders}
    text_ms: dict[str, list[float]] = {name: [] for name in embedders}
    for _ in range(arguments.repeats):
        for name, embedder in embedders.items():
            start = time.process_time()
            for query in queries:
                embedder.embed_query(query)
            middle = time.process_time()
            embedder.embed(texts)
            query_ms[name].append(1000 * (middle - start) / len(queries))
            text_ms[name].append(1000 * (time.process_time() - middle) / len(texts))
    for name in embedders:
        print(f"{name}: {_shown(query_ms[name])} a query, {_shown(text_ms[name])} a text")


def _shown(figures_ms: list[float]) -> str:
    return f"{median(figures_ms):.1f} ms ({min(figures_ms):.1f} to {max(figures_ms):.1f})"


if __name__ == "__main__":
    main()
