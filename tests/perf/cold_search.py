"""How long a whole `agentmem search` process takes, from a cold start to its exit, and what it spends importing.

python -m tests.perf.cold_search STORE [--repeats 9] [--query TEXT]
"""

import argparse
import re
import subprocess
import sys
import time

from agentmem_cli.support.statistics import median

_LIBRARIES = ("numpy", "tokenizers", "safetensors", "typer", "rich", "hnswlib", "nanotoken", "fastembed")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--query", default="where is the spare key?")
    arguments = parser.parse_args()
    command = ["-m", "agentmem_cli", "search", arguments.query, "--store", arguments.store, "--json"]
    took_ms = []
    for _ in range(arguments.repeats):
        start = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
        took_ms.append(1000 * (time.perf_counter() - start))
    print(f"a search: median {median(took_ms):.0f} ms, from {min(took_ms):.0f} to {max(took_ms):.0f}")
    run = [sys.executable, "-X", "importtime", *command]
    said = subprocess.run(run, check=True, capture_output=True, text=True).stderr
    spent_us = {name.strip(): int(total) for total, name in re.findall(r"import time: +\d+ \| +(\d+) \|( +\S+)", said)}
    for name in _LIBRARIES:
        print(f"  import of {name}: " + (f"{spent_us[name] / 1000:.0f} ms" if name in spent_us else "not loaded"))


if __name__ == "__main__":
    main()
