"""Store a few memories, change one, search them and show what changed.

Run it with ``python examples/quickstart.py``. The store lives in a temporary
folder, so every run starts from nothing.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from agentmem_cli import AgentMem


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, AgentMem(Path(folder) / "store") as mem:
        nuts = mem.add(
            "Maya is allergic to cashews and pistachios.",
            user_id="maya",
            memory_type="core",
            metadata={"topic": "food", "confirmed": True},
        )
        first = mem.add_batch(
            [
                {"id": "dinner", "text": "Olla for a quiet dinner.", "user_id": "maya", "metadata": {"topic": "food"}},
                {"id": "race", "text": "The half marathon is on 27 April.", "user_id": "maya"},
                {"id": "undo", "text": "Bad release? Run ops/undo.sh.", "user_id": "kenji"},
                {"id": "hike", "text": "他喜欢在周末去爬山", "user_id": "li-wei"},
            ]
        )
        # The same id with another text replaces the memory and keeps the old text in its history.
        second = mem.add_batch([{"id": "race", "text": "The race moved to 4 May.", "user_id": "maya"}])
        print(f"{len(mem)} memories: {first.added} added, then {second.updated} updated")
        print("the first one:", mem.get(nuts))

        for hit in mem.search("what must she not eat?", k=3, user_id="maya", where={"topic": "food"}):
            print(f"{hit.score:.3f}  {hit.id}  {hit.text}")

        for event in mem.history("race"):
            print(f"{event.event}: {event.previous_text!r} -> {event.text!r}")


if __name__ == "__main__":
    main()
