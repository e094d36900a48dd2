"""Which embedding servers the user of this machine has named: texts go to no other, whatever a store says.

A store remembers where its model is served, and may have been made by somebody else. What the user names with
`--embedder-url` is kept in the user's own configuration folder, as a JSON list of URLs.
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
    """Whether the user has named this URL on this machine. Raises UsageError for what is no URL of an embedder."""
    return canonical_url(url) in _allowed()


def allow(url: str) -> None:
    """Keeps that the user has named this URL; where it can't be kept, one line says so. Raises UsageError."""
    wanted, allowed = canonical_url(url), _allowed()
    if wanted in allowed:
        return
    file = _file()
    temporary = file.with_name(f"{_FILE}.{os.getpid()}.new")
    try:
        make_durable_folder(file.parent)
        try:
            write_durably(temporary, orjson.dumps(sorted({*allowed, wanted}), option=orjson.OPT_INDENT_2))
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
