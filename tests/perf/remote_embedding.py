"""Throughput of the remote embedder by how many requests are under way at once, against a loopback server.

    python -m tests.perf.remote_embedding [--delay-ms 50] [--rate 0] [--texts 992] [--dim 384] [--float]

The server answers each request so many milliseconds after it came, all of them at once, as a fleet does; with --rate it
embeds so many texts a second in all. Prints the median and the ratio to one request at a time, measured in turn. With
--float the server ignores that it is asked for base64.
"""

import argparse
import random
import time

from agentmem_cli.embedding import catalog
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.support.statistics import median
from tests.embedding_server import serving
from tests.fakes import FakeEmbedder

AT_ONCE = (1, 2, 4, 8, 16, 32)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--delay-ms", type=float, default=50)
    parser.add_argument("--rate", type=float, default=0, help="texts a second; 0: as fast as it goes")
    parser.add_argument("--texts", type=int, default=992)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--float", action="store_true")
    arguments = parser.parse_args()
    choose = random.Random(0)
    words = [f"word{i}" for i in range(200)]  # the server has seen them all after the warm-up
    texts = [" ".join(choose.choices(words, k=25)) for _ in range(arguments.texts)]
    models = {"fake": FakeEmbedder("fake", arguments.dim)}
    with serving(models=models, speaks_base64=not arguments.float) as server:
        spec = catalog.resolve(ModelChoice(url=server.url))
        embedders = {at_once: catalog.load(spec, ModelChoice(threads=at_once)) for at_once in AT_ONCE}
        spent_s: dict[int, list[float]] = {at_once: [] for at_once in AT_ONCE}
        for embedder in embedders.values():
            embedder.embed(texts[:320])
        server.delay_s, server.texts_per_s = arguments.delay_ms / 1000, arguments.rate
        for _ in range(arguments.repeats):
            for at_once, embedder in embedders.items():
                start = time.perf_counter()
                embedder.embed(texts)
                spent_s[at_once].append(time.perf_counter() - start)
    for at_once, samples_s in spent_s.items():
        ratios = [one / this for one, this in zip(spent_s[1], samples_s, strict=True)]
        print(
            f"{at_once:3d} at once: {len(texts) / median(samples_s):8.0f} texts/s   {median(ratios):5.2f} times one at "
            f"a time ({min(ratios):.2f} to {max(ratios):.2f}, {len(ratios)} repeats)"
        )


if __name__ == "__main__":
    main()
