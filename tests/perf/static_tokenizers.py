"""Static embedding with each way to tokenize: nanotoken, words that were seen, and `tokenizers` alone; in turn.

    python -m tests.perf.static_tokenizers [mixed | FILE.jsonl] [--texts 10000] [--repeats 5]

A repeat reads texts of its own (the benchmark's mixed English, or parts of the file) in batches of 1,000, from a
tokenizer that has read nothing on; its halves are counted apart. No text is read twice, and `embed` is measured whole.
Prints texts/s, processor time and cores used, as medians with the least and the most, and ratios to nanotoken.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from agentmem_cli.bench.workload import make_workload
from agentmem_cli.embedding import catalog, static_files
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.embedding.static import StaticEmbedder
from agentmem_cli.embedding.tokens import TokenIds
from agentmem_cli.support.statistics import median

_BATCH = 1000
_WAYS = ("nanotoken", "words", "tokenizers")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workload", nargs="?", default="mixed")
    parser.add_argument("--texts", type=int, default=10_000, help="of a repeat")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    size: int = arguments.texts
    texts = make_workload(arguments.workload, size * arguments.repeats, 0).texts()
    wall_us: dict[tuple[str, str], list[float]] = defaultdict(list)
    cpu_us: dict[tuple[str, str], list[float]] = defaultdict(list)
    for repeat in range(arguments.repeats):
        embedders = {way: _embedder(way) for way in _WAYS}
        for at in range(repeat * size, (repeat + 1) * size, _BATCH):
            half = "first half" if at < (repeat + 0.5) * size else "second half"
            part = texts[at : at + _BATCH]
            rows = {}
            for way in (_WAYS, _WAYS[::-1])[at // _BATCH % 2]:
                wall_s, cpu_s = time.perf_counter(), time.process_time()
                rows[way] = embedders[way].embed(part).vectors
                cpu_us[half, way].append(1e6 * (time.process_time() - cpu_s) / len(part))
                wall_us[half, way].append(1e6 * (time.perf_counter() - wall_s) / len(part))
            if not all(np.array_equal(rows[_WAYS[0]], rows[way]) for way in _WAYS):
                raise SystemExit(f"vectors differ in the batch at text {at}")
    for half in ("first half", "second half"):
        for way in _WAYS:
            _print_line(half, way, wall_us[half, way], cpu_us[half, way])
        for way in _WAYS[1:]:
            print(
                f"{half}: {way} to nanotoken, speed by wall {_ratios(wall_us[half, _WAYS[0]], wall_us[half, way])}, "
                f"by processor time {_ratios(cpu_us[half, _WAYS[0]], cpu_us[half, way])}"
            )
    print("the vectors of all three are equal bit for bit")


def _print_line(half: str, way: str, wall_us: Sequence[float], cpu_us: Sequence[float]) -> None:
    slowest, fastest = 1e6 / max(wall_us), 1e6 / min(wall_us)
    print(
        f"{half}: {way:10} {1e6 / median(wall_us):9,.0f} texts/s ({slowest:,.0f} to {fastest:,.0f}), "
        f"{median(cpu_us):6.2f} us of a processor a text ({min(cpu_us):.2f} to {max(cpu_us):.2f}), "
        f"{sum(cpu_us) / sum(wall_us):.2f} cores"
    )


def _ratios(base: Sequence[float], other: Sequence[float]) -> str:
    ratios = [theirs / ours for theirs, ours in zip(base, other, strict=True)]
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def _embedder(way: str) -> StaticEmbedder:
    """A static model whose tokenizer reads texts that way and has read none."""
    spec = catalog.resolve(ModelChoice(catalog.STATIC_MODEL))
    embedder = StaticEmbedder(spec, Path(spec.folder))
    embedder.embed(["first"] * _BATCH)  # what is loaded for large batches is loaded
    tokens = TokenIds(static_files.read(Path(spec.folder))[1])
    if way == "nanotoken":
        tokens.speed_up()
        if tokens._nano is None:
            raise SystemExit("nanotoken is not installed: pip install 'agentmem-cli[fast]'")
    elif way == "tokenizers":
        tokens._words = None
    embedder._tokens = tokens
    return embedder


if __name__ == "__main__":
    main()
