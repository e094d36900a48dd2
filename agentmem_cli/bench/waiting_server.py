"""An embeddings server on loopback that answers each request after a given time and computes next to nothing.

It stands for a fast server at that latency, such as one with a GPU: what remains is what its clients have to do.
"""

import base64
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

import numpy as np
import orjson

from agentmem_cli.embedding import remote
from agentmem_cli.embedding.endpoint import Limits

_NAME: Final = "waiting"
_REQUEST_TEXTS: Final = remote.MAX_REQUEST_TEXTS - 1  # one text of each request is the probe


@dataclass(frozen=True, slots=True)
class Waiting:
    """An embedder of such a server, and what a request takes client and server apart from the waiting, in seconds."""

    embedder: remote.RemoteEmbedder
    latency_s: float
    request_s: float

    def embedding_s(self, texts: int) -> float:
        """The predicted time to embed this many texts: requests wait together, up to a limit, and work in turn."""
        requests = -(-texts // _REQUEST_TEXTS)
        waits = -(-requests // Limits().requests_at_once)
        return max(waits * self.latency_s, requests * self.request_s + self.latency_s)


@contextmanager
def waiting_server(latency_s: float, dim: int) -> Iterator[Waiting]:
    """Such a server, whose vectors have `dim` dimensions; it stops at the end."""
    waits_s = 0.0

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # an answer in one piece: in two, the second would wait for an acknowledgement

        def do_POST(self) -> None:
            start = time.perf_counter()
            texts = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
            body = orjson.dumps({"data": [{"index": i, "embedding": _vector(t, dim)} for i, t in enumerate(texts)]})
            time.sleep(max(0.0, waits_s - (time.perf_counter() - start)))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, name="waiting server", daemon=True)
        thread.start()
        try:
            embedder = remote.RemoteEmbedder(remote.probed(f"http://127.0.0.1:{server.server_port}", "", _NAME))
            request_s = _request_s(embedder)
            waits_s = latency_s
            yield Waiting(embedder, latency_s, request_s)
        finally:
            server.shutdown()
            thread.join()


def _request_s(embedder: remote.RemoteEmbedder) -> float:
    """The time of a request, of many at once that are answered without waiting."""
    requests = Limits().requests_at_once
    texts = ["a text of about as many characters as memories have, which is a hundred or so"] * (
        requests * _REQUEST_TEXTS
    )
    embedder.embed(texts)  # opens the connections
    start = time.perf_counter()
    embedder.embed(texts)
    return (time.perf_counter() - start) / requests


def _vector(text: str, dim: int) -> str:
    values = np.random.default_rng(zlib.crc32(text.encode())).standard_normal(dim, dtype=np.float32)
    return base64.b64encode(values.tobytes()).decode()
