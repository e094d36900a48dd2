"""Static embedding against fastembed's own StaticTextEmbedding: the same model folder, the same process, in turn.

    python -m tests.perf.static_speedup [FILE.jsonl] [--batches 20] [--repeats 5]

Every repeat has texts of its own (the benchmark's mixed English, or parts of the file), in batches of 1,000.
Prints a line a repeat and the median ratio, and how long one text takes. Makes the model at its first use.
"""

import argparse
import time

import numpy as np
from fastembed.text.static_embedding import StaticTextEmbedding

from agentmem_cli.bench.workload import make_workload
from agentmem_cli.embedding import catalog
from agentmem_cli.embedding.base import Embedder
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.support.statistics import median

_BATCH = 1000


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workload", nargs="?", default="mixed")
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    size = _BATCH * arguments.batches
    texts = make_workload(arguments.workload, size * (arguments.repeats + 1), 0).texts()
    spec = catalog.resolve(ModelChoice(catalog.STATIC_MODEL))
    ours = catalog.load(spec)
    # A name of its list is needed, the folder decides.
    theirs = StaticTextEmbedding("minishlab/potion-base-8M", specific_model_path=spec.folder)
    ratios = []
    for repeat in range(arguments.repeats + 1):
        part = texts[repeat * size : (repeat + 1) * size]
        start = time.perf_counter()
        plain = np.array(list(theirs.embed(part, batch_size=_BATCH)))
        middle = time.perf_counter()
        rows = np.concatenate([ours.embed(part[at : at + _BATCH]).vectors for at in range(0, size, _BATCH)])
        end = time.perf_counter()
        if repeat == 0:
            continue  # what is loaded at the first batch is loaded
        ratios.append((middle - start) / (end - middle))
        print(
            f"fastembed {size / (middle - start):9,.0f}/s   agentmem {size / (end - middle):9,.0f}/s   "
            f"ratio {ratios[-1]:5.1f}   least cosine {float((plain * rows).sum(axis=1).min()):.6f}",
            flush=True,
        )
    print(f"median ratio {median(ratios):.1f} (from {min(ratios):.1f} to {max(ratios):.1f}, {len(ratios)} repeats)")
    fresh = catalog.load(spec)
    alone_ms = [_alone_ms(fresh, text) for text in texts[:200]]
    print(f"one text, before anything more is loaded: median {median(alone_ms):.3f} ms, worst {max(alone_ms):.3f} ms")


def _alone_ms(embedder: Embedder, text: str) -> float:
    start = time.perf_counter()
    embedder.embed([text])
    return 1000 * (time.perf_counter() - start)


if __name__ == "__main__":
    main()
