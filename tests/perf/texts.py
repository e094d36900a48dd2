"""A file of memories to measure with: the benchmark's mixed English, as long as conversation turns, of seven users.

python -m tests.perf.texts FILE COUNT
"""

import sys
from pathlib import Path

import orjson

from agentmem_cli.embedding.synthetic_texts import mixed_texts

USERS = 7


def write_texts(path: Path, memories: int) -> None:
    """Writes a file of so many distinct memories."""
    with path.open("wb") as stream:
        for i, text in enumerate(mixed_texts(memories)):
            row = {"id": str(i), "text": text, "user_id": str(i % USERS), "metadata": {"turn": i}}
            stream.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))


if __name__ == "__main__":
    write_texts(Path(sys.argv[1]), int(sys.argv[2]))
