"""What an ingest costs beside its embedding: JSONL to durable and searchable, against embedding the same texts alone.

    python -m tests.perf.end_to_end FILE.jsonl [--model minilm] [--repeats 5]

The model is loaded before. Both go in batches of 1,000 and in turn, in one process; another is first in each repeat.
"""

import argparse
import tempfile
import time
from pathlib import Path

from agentmem_cli import AgentMem
from agentmem_cli.embedding import catalog
from agentmem_cli.embedding.base import Embedder
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.records.jsonl import parse_memory
from agentmem_cli.support.statistics import median

BATCH = 1000


def main() -> None:
    """Measures and prints the ratio of the rates, and the share of an ingest's own time that is embedding."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    texts = list(dict.fromkeys(parse_memory(line).text for line in arguments.file.read_bytes().splitlines()))
    embedder = catalog.load(catalog.resolve(ModelChoice(arguments.model)))
    embedder.embed(texts[:200])
    ratios, shares = [], []
    for repeat in range(arguments.repeats):
        spent_s = {}
        for what in ("embed", "ingest") if repeat % 2 else ("ingest", "embed"):
            start = time.perf_counter()
            if what == "embed":
                _embed(embedder, texts)
            else:
                embedding_s = _ingest(embedder, arguments.file)
            spent_s[what] = time.perf_counter() - start
        shares.append(embedding_s / spent_s["ingest"])
        ratios.append(spent_s["embed"] / spent_s["ingest"])
        print(
            f"embedding alone {len(texts) / spent_s['embed']:8,.1f}/s   ratio {ratios[-1]:.3f}   share {shares[-1]:.3f}"
        )
    print(f"the ingest's rate against the embedding's: {median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")
    print(f"embedding's share of the ingest: {median(shares):.3f} ({min(shares):.3f} to {max(shares):.3f})")


def _embed(embedder: Embedder, texts: list[str]) -> None:
    for start in range(0, len(texts), BATCH):
        embedder.embed(texts[start : start + BATCH])


def _ingest(embedder: Embedder, file: Path) -> float:
    with (
        tempfile.TemporaryDirectory() as folder,
        AgentMem(Path(folder) / "store", embedder=embedder, index="off") as mem,
    ):
        return mem.ingest([str(file)]).stages_s["embed"]


if __name__ == "__main__":
    main()
