"""Embedding alone against fastembed's default call: the same model files, the same process, in turn.

    python -m tests.perf.embedding_speedup FILE.jsonl [--model minilm-int8] [--texts 1000] [--repeats 5] [--at-least 2]

The default call runs the published weights in fp32, whatever the model.
Prints a line a repeat and the median ratio; ends with code 4 if that is less than --at-least. Takes about a minute for
1,000 conversation turns on two cores.
"""

import argparse
import sys
import time

import numpy as np
from fastembed import TextEmbedding

from agentmem_cli.bench.workload import make_workload
from agentmem_cli.embedding import catalog, hub, minilm, model_files
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.errors import GateError
from agentmem_cli.support.statistics import median


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workload", help="a JSONL file, phase4 or mixed")
    parser.add_argument("--model", choices=["minilm", "minilm-int8"], default="minilm")
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--at-least", type=float, default=0.0)
    arguments = parser.parse_args()
    texts = make_workload(arguments.workload, arguments.texts, 0).texts()
    spec = catalog.resolve()
    ours = catalog.load(catalog.resolve(ModelChoice(arguments.model)))
    with model_files.from_vocabulary(minilm.published_weights(), minilm.VOCABULARY, spec.token_limit) as files:
        default = TextEmbedding(hub.registered_name(spec, files), specific_model_path=str(files))
    list(default.embed(texts[:64]))
    ours.embed(texts[:64])
    ratios = []
    for _ in range(arguments.repeats):
        start = time.perf_counter()
        plain = np.array(list(default.embed(texts)))
        middle = time.perf_counter()
        vectors = ours.embed(texts).vectors
        end = time.perf_counter()
        ratios.append((middle - start) / (end - middle))
        least, first_percent, middling = np.quantile((plain * vectors).sum(axis=1), [0, 0.01, 0.5])
        print(
            f"fastembed {len(texts) / (middle - start):7.1f}/s   agentmem {len(texts) / (end - middle):7.1f}/s   "
            f"ratio {ratios[-1]:.2f}   cosine: least {least:.5f}, 1st percentile {first_percent:.5f}, "
            f"median {middling:.5f}",
            flush=True,
        )
    print(f"median ratio {median(ratios):.2f} (from {min(ratios):.2f} to {max(ratios):.2f}, {len(ratios)} repeats)")
    if median(ratios) < arguments.at_least:
        sys.exit(GateError.exit_code)


if __name__ == "__main__":
    main()
