"""A PostgreSQL store's URL: what libpq gets of it, and what messages may show."""

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from agentmem_cli.errors import UsageError

SCHEMES: Final = ("postgresql://", "postgres://")
_SCHEMA: Final = "agentmem"  # where the URL names none
_SCHEMA_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_SECRET: Final = ("password", "sslpassword", "passfile", "oauth_client_secret")


@dataclass(frozen=True, slots=True)
class Address:
    """A server, a database and a schema. `url` is what libpq gets beside `options`, `shown` has no password."""

    url: str = field(repr=False)
    schema: str
    shown: str
    options: str  # for the server, such as -c statement_timeout=5s
    secrets: tuple[str, ...] = field(repr=False)
    given: str = field(repr=False)  # the URL as it was given

    @classmethod
    def of(cls, url: str) -> "Address":
        """The parts of a URL. Raises UsageError."""
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise UsageError("the store's URL is not valid: write postgresql://USER@HOST/DB?schema=NAME") from error
        options = parse_qsl(parts.query, keep_blank_values=True)
        schema = next((value for name, value in options if name == "schema"), _SCHEMA)
        if not _SCHEMA_NAME.fullmatch(schema) or schema.startswith("pg_"):
            raise UsageError(
                "the schema of the store's URL must be a name of small letters, digits and _, not starting with pg_"
            )
        given = [(name, value) for name, value in options if name not in ("schema", "options")]
        user, at, host = parts.netloc.rpartition("@")
        name, _, password = user.partition(":")
        secrets = {unquote(password), password, *(value for key, value in given if key in _SECRET)}
        safe = [(key, value) for key, value in options if key not in _SECRET]
        query = f"?{urlencode(safe)}" if safe else ""
        return cls(
            parts._replace(query=urlencode(given, quote_via=quote), fragment="").geturl(),
            schema,
            f"postgresql://{name}{at}{host}{parts.path}{query}",
            " ".join(value for name, value in options if name == "options"),
            tuple(sorted((secret for secret in secrets if secret), key=len, reverse=True)),
            url,
        )

    def in_schema(self, schema: str) -> "Address":
        """The same database with another schema."""
        parts = urlsplit(self.given)
        options = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name != "schema"]
        return Address.of(parts._replace(query=urlencode([*options, ("schema", schema)], quote_via=quote)).geturl())

    def with_password(self, password: str) -> str:
        """The URL as it was given, with a password where it has none."""
        parts = urlsplit(self.given)
        if not password or parts.password or "password" in dict(parse_qsl(parts.query)):
            return self.given
        extra = urlencode([("password", password)], quote_via=quote)
        return parts._replace(query=f"{parts.query}&{extra}" if parts.query else extra).geturl()

    def redacted(self, message: str) -> str:
        """A message of the server or of libpq, in one line, without the password."""
        for secret in self.secrets:
            message = message.replace(secret, "***")
        return " ".join(message.split())
