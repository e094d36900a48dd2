"""The embedding servers that the user of this machine has allowed. Texts are sent to no other server.

A store remembers the URL of its model, but it may come from somebody else. The URLs that the user gives with
`--embedder-url` are therefore kept in the user's configuration folder, as a JSON list.
"""

import logging
import os
from pathlib import Path
from typing import Final

import orjson
import platformdirs

from agentmem_cli.embedding.endpoint import canonical_url
from agentmem_cli.support.files import make_durable_folder, write_durably
from agentmem_cli.support.safe_text import printable

_FILE: Final = "embedders.json"
_MOST_BYTES: Final = 1_000_000
_log: Final = logging.getLogger("agentmem")


def is_allowed(url: str) -> bool:
    """Whether the user has allowed this URL. Raises UsageError if it is not a valid URL of an embedder."""
    return canonical_url(url) in _allowed()


def allow(url: str) -> None:
    """Records that the user allows this URL; logs a warning if that fails. Raises UsageError."""
    canonical, allowed = canonical_url(url), _allowed()
    if canonical in allowed:
        return
    file = _file()
    temporary = file.with_name(f"{_FILE}.{os.getpid()}.new")
    try:
        make_durable_folder(file.parent)
        try:
            write_durably(temporary, orjson.dumps(sorted({*allowed, canonical}), option=orjson.OPT_INDENT_2))
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        _log.warning(
            "agentmem: warning: %s can't be written (%s): give --embedder-url each time",
            printable(str(file)),
            error.strerror,
        )


def _allowed() -> set[str]:
    try:
        with _file().open("rb") as stream:
            kept = orjson.loads(stream.read(_MOST_BYTES))
    except (OSError, ValueError):
        return set()
    return {url for url in kept if isinstance(url, str)} if isinstance(kept, list) else set()


def _file() -> Path:
    return platformdirs.user_config_path("agentmem") / _FILE
