"""An OpenAI-compatible embeddings server on loopback: sound unless it is told to fail, and then as servers fail.

Its vectors are those of `FakeEmbedder`. A sound answer is out of order, as the protocol allows.
"""

import base64
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.fakes import FakeEmbedder

Json = dict[str, Any]
Fault = Callable[["Exchange"], None]


@dataclass
class Server:
    """The server as a test sees it: what it shall do, and what it was asked."""

    url: str = ""
    models: dict[str, FakeEmbedder] = field(default_factory=lambda: {"fake": FakeEmbedder("fake")})
    faults: "deque[Fault]" = field(default_factory=deque)
    every: Fault | None = None
    speaks_base64: bool = True
    says_usage: bool = True
    delay_s: float = 0.0
    texts_per_s: float = 0.0  # of all requests together; 0 is as fast as it goes
    requests: list[Json] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    arrived_s: list[float] = field(default_factory=list)
    connections: int = 0
    at_once: int = 0
    most_at_once: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)
    turn: threading.Lock = field(default_factory=threading.Lock)
    model_turn: threading.Lock = field(default_factory=threading.Lock)


@dataclass
class Exchange:
    """One request, and what its fault may do with it."""

    server: Server
    handler: BaseHTTPRequestHandler
    request: Json

    def answer(self) -> Json:
        """The sound answer."""
        texts = self.request["input"]
        with self.server.model_turn:
            embedded = self.server.models[self.request["model"]].embed(texts)
            if self.server.texts_per_s:
                time.sleep(len(texts) / self.server.texts_per_s)
        as_base64 = self.request.get("encoding_format") == "base64" and self.server.speaks_base64
        data = [
            {
                "object": "embedding",
                "index": index,
                "embedding": base64.b64encode(row.tobytes()).decode() if as_base64 else row.tolist(),
            }
            for index, row in enumerate(embedded.vectors)
        ]
        usage = {"usage": {"prompt_tokens": embedded.tokens, "total_tokens": embedded.tokens}}
        return {"object": "list", "model": "?", "data": data[::-1], **(usage if self.server.says_usage else {})}

    def reply(self, status: int, body: bytes, claimed_bytes: int | None = None, **headers: str) -> None:
        """Sends an answer, perhaps shorter than it claims to be."""
        self.handler.send_response(status)
        for name, value in headers.items():
            self.handler.send_header(name.replace("_", "-"), value)
        self.handler.send_header("Content-Length", str(len(body) if claimed_bytes is None else claimed_bytes))
        self.handler.end_headers()
        self.handler.wfile.write(body)

    def reply_json(self, value: object, status: int = 200, **headers: str) -> None:
        """Sends JSON; NaN goes out as Python writes it."""
        self.reply(status, json.dumps(value).encode(), None, **headers)

    def hang_up(self) -> None:
        """Ends the connection here."""
        self.handler.close_connection = True


def sound(exchange: Exchange) -> None:
    """No fault."""
    model = exchange.request["model"]
    if model in exchange.server.models:
        exchange.reply_json(exchange.answer())
    else:
        exchange.reply_json({"error": {"message": f"no model is named {model}"}}, 404)


def status(code: int, message: str = "not now", **headers: str) -> Fault:
    """An error of this status."""
    return lambda exchange: exchange.reply_json({"error": {"message": message}}, code, **headers)


def changed(change: Callable[[Json], object]) -> Fault:
    """A sound answer that `change` has been at, in place, or that is what it returns."""

    def fault(exchange: Exchange) -> None:
        answer = exchange.answer()
        instead = change(answer)
        exchange.reply_json(answer if instead is None else instead)

    return fault


def raw(body: bytes) -> Fault:
    """200, and these bytes."""
    return lambda exchange: exchange.reply(200, body)


def hang_up(exchange: Exchange) -> None:
    """The connection ends before the answer."""
    exchange.hang_up()


def cut_off(exchange: Exchange) -> None:
    """The connection ends within the answer."""
    body = json.dumps(exchange.answer()).encode()
    exchange.reply(200, body[: len(body) // 2], claimed_bytes=len(body))
    exchange.hang_up()


def silent(exchange: Exchange) -> None:
    """No answer for as long as the test runs."""
    exchange.server.stopping.wait(30)
    exchange.hang_up()


def dripping(exchange: Exchange) -> None:
    """A byte now and then: no single read takes long."""
    with suppress(OSError):
        exchange.reply(200, b"{", claimed_bytes=1000)
        while not exchange.server.stopping.wait(0.05):
            exchange.handler.wfile.write(b" ")
            exchange.handler.wfile.flush()
    exchange.hang_up()


def endless(exchange: Exchange) -> None:
    """An answer that goes on and on."""
    with suppress(OSError):
        exchange.reply(200, b"{", claimed_bytes=1 << 50)
        while not exchange.server.stopping.is_set():
            exchange.handler.wfile.write(b" " * 65_536)
    exchange.hang_up()


@contextmanager
def serving(**settings: Any) -> Iterator[Server]:  # noqa: ANN401 - the fields of Server
    """A server on a port that the system picks, until the block ends."""
    server = Server(**settings)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            server.connections += 1

        def do_GET(self) -> None:
            exchange = Exchange(server, self, {})
            if server.every is not None:
                return server.every(exchange)
            if self.path != "/v1/models":
                return exchange.reply_json({"error": "no such path"}, 404)
            return exchange.reply_json({"data": [{"id": name} for name in server.models]})

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server.turn:
                server.requests.append(request)
                server.headers.append({name.lower(): value for name, value in self.headers.items()})
                server.arrived_s.append(time.monotonic())
                server.at_once += 1
                server.most_at_once = max(server.most_at_once, server.at_once)
                fault = server.faults.popleft() if server.faults else server.every or sound
            try:
                if server.delay_s:
                    server.stopping.wait(server.delay_s)
                with suppress(ConnectionError):  # whoever asked may have gone
                    fault(Exchange(server, self, request))
            finally:
                with server.turn:
                    server.at_once -= 1

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Listener(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # a client that hangs up is none

    with Listener(("127.0.0.1", 0), Handler) as listener:
        server.url = f"http://127.0.0.1:{listener.server_address[1]}/v1"
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.stopping.set()
            listener.shutdown()
            thread.join()
