"""A client for one HTTP endpoint, with limits on connections, time, tries and bytes.

Temporary failures (no connection, no answer in time, 429, 5xx) are retried after the time of Retry-After, or after a
random part of a pause that doubles ("full jitter": Brooker, Exponential Backoff And Jitter, AWS Architecture Blog,
2015). All other answers are returned to the caller.
"""

import asyncio
import base64
import binascii
import ipaddress
import os
import random
import re
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar

import httpx
import numpy as np
import orjson

from agentmem_cli._version import __version__
from agentmem_cli.embedding.base import Vectors
from agentmem_cli.errors import EmbeddingError, UsageError
from agentmem_cli.support.processes import abandon, tell_after_fork
from agentmem_cli.support.safe_text import printable

MAX_DIM: Final = 16_384
_ENVELOPE_BYTES: Final = 65_536
_NUMBER_BYTES: Final = 64  # of a number in JSON with its white space


@dataclass(frozen=True, slots=True)
class Rows:
    """Vectors (n, dim) float32 as served, not scaled, and the number of tokens that the server counted, or 0."""

    vectors: Vectors
    tokens: int


def largest_answer_bytes(count: int, dim: int) -> int:
    """An upper bound on the size of an answer of `count` vectors."""
    return _ENVELOPE_BYTES + count * (dim * _NUMBER_BYTES + 256)


def read_rows(body: bytes, count: int) -> Rows:
    """The vectors of an answer to `count` texts, in the order of the texts. Raises ValueError."""
    fields = _fields(body)
    items = fields.get("data")
    if not isinstance(items, list) or len(items) != count:
        got = f"{len(items)} vectors" if isinstance(items, list) else "no vectors"
        raise ValueError(f"{got} for {count} texts")
    by_index = {item.get("index"): item.get("embedding") for item in items if _is_numbered(item)}
    if set(by_index) != set(range(count)):
        raise ValueError(f'"index" does not number the {count} vectors from 0')
    rows = [_row(by_index[index]) for index in range(count)]
    dims = sorted({len(row) for row in rows})
    if len(dims) != 1 or not 0 < dims[0] <= MAX_DIM:
        raise ValueError(f"vectors of {' and '.join(map(str, dims))} dims in one answer")
    return Rows(np.stack(rows), _tokens(fields.get("usage")))


def read_models(body: bytes) -> list[str]:
    """The names of the models in a server's answer. Raises ValueError."""
    items = _fields(body).get("data")
    names = [item.get("id") for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    return [name for name in names if isinstance(name, str)]


def read_complaint(body: bytes) -> str:
    """The error message in an answer: its usual fields, or all of it if it is not JSON."""
    try:
        complaint: object = _fields(body)
    except ValueError:
        return body.decode(errors="replace")
    for key in ("error", "message", "detail"):
        if isinstance(complaint, dict) and complaint.get(key):
            complaint = complaint[key]
    return complaint if isinstance(complaint, str) else orjson.dumps(complaint).decode()


def _fields(body: bytes) -> dict[str, object]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg})") from error
    if isinstance(value, dict):
        return value
    raise ValueError("not a JSON object")


def _is_numbered(item: object) -> bool:
    return isinstance(item, dict) and type(item.get("index")) is int


def _row(embedding: object) -> Vectors:
    """One vector (dim,), from numbers or from base64 of little-endian float32."""
    try:
        if isinstance(embedding, str):
            return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4").astype(np.float32)
        if isinstance(embedding, list) and all(type(number) in (int, float) for number in embedding):
            with np.errstate(over="ignore"):  # becomes infinite, which is checked later
                return np.array(embedding, dtype=np.float32)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"a vector is not base64 of float32 ({error})") from error
    raise ValueError("a vector is neither a list of numbers nor base64")


def _tokens(usage: object) -> int:
    counted = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return counted if type(counted) is int and 0 <= counted < 1 << 40 else 0


KEY_VARIABLE: Final = "AGENTMEM_EMBEDDER_KEY"
_SECRETS: Final = re.compile(r"(?<=//)[^/]*(?=@)|(?<=[?#]).+", re.DOTALL)  # a user and password, a query
_TOO_MANY_REQUESTS: Final = 429
_LOOK_EVERY_S: Final = 1.0
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of requests.

    A try fails if connecting takes longer than `connect_s`, if the server answers no request at all for `answer_s`, or
    after `queued_s`. A slow server that answers requests one by one is therefore not given up. A request fails after
    `failures` failed tries, where 429 does not count; no try begins later than `deadline_s` after the first failure.
    With the defaults, a host that refuses connections fails within 8 s, and one that accepts them but stays silent
    within 4 minutes.
    """

    requests_at_once: int = 16
    connect_s: float = 5.0
    answer_s: float = 60.0
    queued_s: float = 600.0
    deadline_s: float = 120.0
    failures: int = 5
    first_pause_s: float = 0.5
    longest_pause_s: float = 8.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A server's answer. If it is longer than allowed, `body` is cut and `whole` is False."""

    status: int
    body: bytes
    whole: bool = True
    retry_after: str = ""
    location: str = ""


def checked_url(url: str) -> str:
    """The URL without a trailing slash. Raises UsageError if it is not a valid base URL of an embedder."""
    try:
        parsed = httpx.URL(url)
        sound = parsed.scheme in ("http", "https") and bool(parsed.host) and not (parsed.query or parsed.fragment)
    except httpx.InvalidURL:
        sound = False
    if not sound or " " in url or printable(url) != url:
        shown = printable(_SECRETS.sub("...", url))
        raise UsageError(f"{shown} is not a valid embedder URL: give one such as http://127.0.0.1:8080/v1")
    if parsed.userinfo:
        raise UsageError(f"an embedder URL can't contain a user or password: put the key in {KEY_VARIABLE}")
    return url.rstrip("/")


def canonical_url(url: str) -> str:
    """The normal form of a URL, for comparison. Raises UsageError as `checked_url` does."""
    return str(httpx.URL(checked_url(url)))


def key_for(url: str) -> str:
    """The key from the environment, or "". Raises UsageError if it would be sent unencrypted."""
    key = os.environ.get(KEY_VARIABLE, "")
    if not key:
        return ""
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise UsageError(f"{KEY_VARIABLE} has characters that a key can't have: set it again")
    if httpx.URL(url).scheme != "https" and not _is_loopback(url):
        raise UsageError(f"{KEY_VARIABLE} would go to {url} unencrypted: give an https URL, or unset the key")
    return key


class Endpoint:
    """Sends requests to one base URL from an event loop in a separate thread, so that Ctrl-C interrupts waiting.

    Connections are reused. TLS certificates are checked, redirects are not followed, and the proxy of the environment
    is used, except for loopback addresses.
    """

    def __init__(self, url: str, key: str = "", limits: Limits | None = None) -> None:
        self.url: str = checked_url(url)
        self.limits: Limits = limits or Limits()
        self._key = key
        self._begin()
        tell_after_fork(self)

    def _begin(self) -> None:
        at_once = self.limits.requests_at_once
        self._client = httpx.AsyncClient(
            headers={
                "User-Agent": f"agentmem/{__version__}",
                "Content-Type": "application/json",
                "Accept-Encoding": "identity",  # so that a small answer can't expand to a huge one
                **({"Authorization": f"Bearer {self._key}"} if self._key else {}),
            },
            timeout=httpx.Timeout(None, connect=self.limits.connect_s),  # see `_while_answering` for the rest
            limits=httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once),
            trust_env=not _is_loopback(self.url),
        )
        self._answered_s = 0.0  # time of the last answer, by the monotonic clock
        self._slots = asyncio.Semaphore(at_once)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=_serve, args=(self._loop, self._client), daemon=True)
        self._thread.start()
        # This must not wait for the thread: the garbage collector may call it in any thread at any time.
        self._stopped = weakref.finalize(self, self._loop.call_soon_threadsafe, self._loop.stop)

    def forget_parent(self) -> None:
        """In a forked child: starts a new loop, since the parent's has no thread here and shares its sockets."""
        self._stopped.detach()
        abandon(self._loop, self._client, self._slots)
        self._begin()

    def run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Runs a coroutine and returns its result; an interruption cancels it."""
        (result,) = self.run_all([work], lambda done: None)
        return result

    def run_all(
        self, works: Sequence[Coroutine[Any, Any, _Result]], on_done: Callable[[int], None]
    ) -> Sequence[_Result]:
        """Runs coroutines at once and returns their results; a failure or an interruption cancels the others.

        Calls `on_done` in this thread with the number that are done.
        """
        futures = [asyncio.run_coroutine_threadsafe(work, self._loop) for work in works]
        running = set(futures)

        def end_others(ended: "Future[_Result]") -> None:
            """Runs in the loop's thread, so that no other request begins after a failure."""
            if not ended.cancelled() and ended.exception() is not None:
                for future in futures:
                    future.cancel()

        for future in futures:
            future.add_done_callback(end_others)
        try:
            while running:
                # `Limits` bound each request; this bounds the wait if the loop has ended.
                ended, running = wait(running, _LOOK_EVERY_S, FIRST_COMPLETED)
                if not ended and not self._thread.is_alive():
                    raise EmbeddingError(f"embedder {self.url}: its thread has ended: open the store again")
                for future in ended:
                    if not future.cancelled():  # which it is after another has failed
                        future.result()
                on_done(len(futures) - len(running))
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()

    async def send(self, method: str, path: str, content: bytes, max_answer_bytes: int) -> Answer:
        """The answer to a request; temporary failures are retried. Raises EmbeddingError."""
        async with self._slots:
            return await self._send(method, path, content, max_answer_bytes)

    def quoted(self, text: str, most: int = 200) -> str:
        """A server's text for an error message: on one line, cut, and without the key."""
        text = text.replace(self._key, "[key]") if self._key else text
        text = printable(" ".join(text.split()))
        return text if len(text) <= most else f"{text[:most]}..."

    async def _send(self, method: str, path: str, content: bytes, max_answer_bytes: int) -> Answer:
        limits = self.limits
        failures = tries = 0
        last_try_s = 0.0
        while True:
            tries += 1
            answer, cause = await self._try(method, path, content, max_answer_bytes)
            if cause is None and answer.status != _TOO_MANY_REQUESTS and answer.status < 500:
                return answer
            failures += answer.status != _TOO_MANY_REQUESTS
            last_try_s = last_try_s or time.monotonic() + limits.deadline_s
            pause_s = self._pause_s(tries, answer.retry_after)
            too_late = time.monotonic() + pause_s > last_try_s
            if failures >= limits.failures or too_late:
                asked = f", and asks to wait {pause_s:.0f} s" if answer.retry_after and too_late else ""
                raise EmbeddingError(
                    f"embedder {self.url}: {self._problem(answer)}{asked} (tries: {tries}): check that the server is "
                    "up, or try again later"
                ) from cause
            await asyncio.sleep(pause_s)

    async def _try(
        self, method: str, path: str, content: bytes, max_answer_bytes: int
    ) -> tuple[Answer, Exception | None]:
        """The answer; after an error, an answer with status 0 whose body describes the error, and the error."""
        try:
            return await self._while_answering(self._ask(method, path, content, max_answer_bytes)), None
        except (asyncio.TimeoutError, httpx.TimeoutException) as error:
            return Answer(0, b"gives no answer in time"), error
        except (httpx.HTTPError, OSError) as error:
            return Answer(0, f"can't be reached: {str(error) or type(error).__name__}".encode()), error

    async def _while_answering(self, asked: Coroutine[Any, Any, Answer]) -> Answer:
        """The answer, unless the server is silent for too long. Raises asyncio.TimeoutError."""
        began_s = time.monotonic()
        task = asyncio.ensure_future(asked)
        try:
            while not task.done():
                end_s = max(began_s, self._answered_s) + self.limits.answer_s
                left_s = min(end_s, began_s + self.limits.queued_s) - time.monotonic()
                if left_s <= 0:
                    raise asyncio.TimeoutError
                await asyncio.wait({task}, timeout=left_s)
            return task.result()
        finally:
            task.cancel()

    async def _ask(self, method: str, path: str, content: bytes, max_answer_bytes: int) -> Answer:
        async with self._client.stream(method, f"{self.url}{path}", content=content) as response:
            body = bytearray()
            async for part in response.aiter_raw():
                body += part
                if len(body) > max_answer_bytes:
                    break
            self._answered_s = time.monotonic()
            return Answer(
                response.status_code,
                bytes(body[:max_answer_bytes]),
                len(body) <= max_answer_bytes,
                response.headers.get("retry-after", ""),
                response.headers.get("location", ""),
            )

    def _pause_s(self, tries: int, retry_after: str) -> float:
        limits = self.limits
        asked_s = _seconds_asked(retry_after)
        if asked_s > 0:
            return asked_s + random.uniform(0, limits.first_pause_s)
        return random.uniform(0, min(limits.longest_pause_s, limits.first_pause_s * 2 ** (tries - 1)))

    def _problem(self, answer: Answer) -> str:
        said = self.quoted(read_complaint(answer.body))
        return f"answers {answer.status} ({said})" if answer.status else said


def _serve(loop: asyncio.AbstractEventLoop, client: httpx.AsyncClient) -> None:
    async def end() -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await client.aclose()

    loop.run_forever()
    loop.run_until_complete(end())
    loop.close()


def _seconds_asked(retry_after: str) -> float:
    """The seconds of a Retry-After header, which is a number or a date; 0 if it is neither."""
    try:
        return max(0.0, float(retry_after)) if retry_after else 0.0
    except ValueError:
        pass
    try:
        asked = parsedate_to_datetime(retry_after)
    except (TypeError, ValueError):
        return 0.0
    return max(0.0, (asked - datetime.now(timezone.utc)).total_seconds()) if asked.tzinfo else 0.0


def _is_loopback(url: str) -> bool:
    host = httpx.URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
