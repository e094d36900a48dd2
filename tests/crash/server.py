"""A process that has loaded everything and forks a child a request, so that starting one costs milliseconds.

Run as `python -m tests.crash.server DESCRIPTOR` by `tests.crash.forks`, with one end of a socket pair.
"""

import gc
import json
import os
import signal
import socket
import sys
import traceback
from contextlib import suppress
from typing import Any

from agentmem_cli.errors import AgentMemError
from tests.crash import programs


def main(descriptor: str) -> None:
    programs.warm_up()
    gc.freeze()
    alive: set[int] = set()
    with socket.socket(fileno=int(descriptor)) as connection:
        try:
            while (received := _receive(connection)) is not None:
                request, pipe = received
                if "stopped" in request:
                    _, status = os.waitpid(request["stopped"], os.WUNTRACED)
                    answer = int(os.WIFSTOPPED(status))
                elif "wait" in request:
                    _, status = os.waitpid(request["wait"], 0)
                    alive.discard(request["wait"])
                    answer = os.waitstatus_to_exitcode(status)
                else:
                    answer = os.fork()
                    if answer == 0:
                        connection.close()
                        _run(request["run"], request["arguments"], pipe)
                    alive.add(answer)
                    os.close(pipe)
                connection.sendall(b"%d\n" % answer)
        finally:
            for pid in alive:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _receive(connection: socket.socket) -> tuple[dict[str, Any], int] | None:
    message, descriptors = b"", [-1]
    while not message.endswith(b"\n"):
        part, passed, _, _ = socket.recv_fds(connection, 65536, 1)
        if not part:
            return None
        message, descriptors = message + part, passed or descriptors
    return json.loads(message), descriptors[0]


def _run(program: str, arguments: list[Any], pipe: int) -> None:
    """Runs a program of `tests.crash.programs`, and never returns."""

    def note(line: str) -> None:
        os.write(pipe, f"{line}\n".encode())

    code = 70
    try:
        getattr(programs, program)(note, *arguments)
        code = 0
    except AgentMemError as error:
        note(f"error {type(error).__name__}: {error}")
        code = error.exit_code
    except BaseException:  # noqa: BLE001 - a child must not go on as a second server
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
