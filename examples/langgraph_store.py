"""LangGraph's long-term store in an agentmem store: what one graph run puts there, the next process finds.

    pip install 'agentmem-cli[langgraph]'
    python examples/langgraph_store.py

With a graph, give the same object to `builder.compile(store=store)`; a node that takes `store: BaseStore` gets it.
"""

import argparse

from langgraph.store.base import BaseStore

from agentmem_cli import AgentMem
from agentmem_cli.integrations.langgraph import AgentMemStore


def remember(store: BaseStore, user_id: str, key: str, text: str, topic: str) -> None:
    """What a node does to remember a fact."""
    store.put(("memories", user_id), key, {"text": text, "topic": topic})


def recall(store: BaseStore, user_id: str, question: str) -> list[str]:
    """What a node does before it asks the model: the two facts that answer best."""
    found = store.search(("memories", user_id), query=question, limit=2)
    return [f"{item.score:.2f} {item.value['text']}" for item in found]


def main() -> None:
    parser = argparse.ArgumentParser(description="Put facts into a store, and find them.")
    parser.add_argument("--store", default="langgraph-memory")
    with AgentMem(parser.parse_args().store) as mem:
        store = AgentMemStore(mem, index={"fields": ["text"]})
        remember(store, "maya", "allergy", "Maya is allergic to cashews and pistachios.", "health")
        remember(store, "maya", "race", "Maya runs the half marathon on 4 May.", "sport")
        remember(store, "kenji", "allergy", "Kenji is allergic to eggs.", "health")
        print("what must she not eat?", *recall(store, "maya", "what must she not eat?"), sep="\n  ")
        print("health:", [item.key for item in store.search(("memories",), filter={"topic": "health"})])
        print("namespaces:", store.list_namespaces(prefix=("memories",)))


if __name__ == "__main__":
    main()
