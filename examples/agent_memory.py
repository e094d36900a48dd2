"""An agent that remembers between runs, without a key and without a network.

Run it twice:

    python examples/agent_memory.py "My name is Maya and I am allergic to cashews." "Suggest a snack."
    python examples/agent_memory.py "What am I allergic to?"

The second run is a new process with an empty conversation; what it knows comes from the store in `agent-memory/`.
`ScriptedModel` stands for a language model: it gets the same messages as one, and calls the same two tools. To use a
real model, replace `ScriptedModel.reply` by a call of it.
"""

import argparse
import re
from dataclasses import dataclass

from agentmem_cli import AgentMem

USER = "maya"


@dataclass(frozen=True)
class Reply:
    """What a model says, or a tool that it calls with a text."""

    text: str = ""
    tool: str = ""


class ScriptedModel:
    """Remembers each statement, looks up each question, and answers with the best of what was found."""

    def reply(self, messages: list[dict[str, str]]) -> Reply:
        last = messages[-1]
        if last["role"] == "user":
            is_request = last["content"].endswith("?") or re.match(r"(suggest|tell|show)\b", last["content"], re.I)
            return Reply(last["content"], tool="recall" if is_request else "remember")
        if last["content"].startswith("remembered"):
            return Reply("I will remember that.")
        facts = last["content"].splitlines()
        return Reply(f"You told me: {facts[0]}" if facts else "You have not told me yet.")


def run_turn(model: ScriptedModel, mem: AgentMem, said: str) -> str:
    """One turn of the conversation: calls the tools that the model asks for until it answers."""
    messages = [{"role": "user", "content": said}]
    while True:
        reply = model.reply(messages)
        if not reply.tool:
            return reply.text
        if reply.tool == "remember":
            mem.add(reply.text, user_id=USER, speaker=USER)
            result = f"remembered: {reply.text}"
        else:
            result = "\n".join(hit.text for hit in mem.search(reply.text, k=3, user_id=USER))
        messages.append({"role": "tool", "content": result})


def main() -> None:
    parser = argparse.ArgumentParser(description="Talk to an agent that remembers.")
    parser.add_argument("said", nargs="+", help="what the user says, one turn each")
    parser.add_argument("--store", default="agent-memory")
    arguments = parser.parse_args()
    with AgentMem(arguments.store) as mem:
        print(f"({len(mem)} memories from earlier runs)")
        for said in arguments.said:
            print(f"user:  {said}")
            print(f"agent: {run_turn(ScriptedModel(), mem, said)}")


if __name__ == "__main__":
    main()
