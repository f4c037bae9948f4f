"""A private, temporary PostgreSQL server for the tests: its own directory, user and port."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

_USER = "state"


class Unavailable(Exception):
    """No server can be started here."""


def _program(name: str) -> str:
    for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True):
        return str(path)
    found = shutil.which(name)
    if found is None:
        raise Unavailable(f"PostgreSQL is not installed: no {name} in /usr/lib/postgresql or PATH")
    return found


def _drop_root() -> list[str]:
    """Return the prefix that makes a command run as an ordinary user."""
    if os.geteuid() != 0:
        return []
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    raise Unavailable("PostgreSQL refuses to run as root, and there is no user to run it as")


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running() -> Iterator[str]:
    """Start a server and yield the URL of its ``postgres`` database.

    :raises Unavailable: when PostgreSQL is not installed or does not start.
    """
    initdb, postgres = _program("initdb"), _program("postgres")
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise Unavailable("setpriv (util-linux) is not installed")
    user = _drop_root()
    # Not below pytest's own directory: an ordinary user could not enter it.
    directory = Path(tempfile.mkdtemp(prefix="state-postgresql-"))
    try:
        if user:
            shutil.chown(directory, int(user[0].split("=")[1]), int(user[1].split("=")[1]))
        data = directory / "data"
        made = subprocess.run(
            [setpriv, *user, initdb, "-D", str(data), "-U", _USER, "--auth=trust", "-N"],
            cwd=directory,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            raise Unavailable(f"initdb failed: {made.stderr.strip()}")
        port = _free_port()
        command = [postgres, "-D", str(data), "-h", "127.0.0.1", "-p", str(port)]
        command += ["-k", str(directory), "-c", "fsync=off", "-c", "max_connections=60"]
        with (directory / "log").open("wb") as log:
            # The kernel ends the server if pytest is killed.
            server = subprocess.Popen(
                [setpriv, "--pdeathsig=INT", *user, *command],
                cwd=directory,
                stdout=log,
                stderr=log,
            )
        try:
            deadline = time.monotonic() + 120
            # The server accepts connections, and refuses them, before it is ready.
            ready = [_program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
            while subprocess.run(ready, check=False).returncode != 0:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise Unavailable(f"no start: {(directory / 'log').read_text()[-500:]}")
                time.sleep(0.05)
            yield f"postgresql://{_USER}@127.0.0.1:{port}/postgres"
        finally:
            # SIGINT: end all sessions, then stop.
            server.send_signal(signal.SIGINT)
            try:
                server.wait(60)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def databases(count: int) -> Iterator[list[str]]:
    """URLs of this many databases with volflow's tables, made as an operator makes them."""
    import psycopg

    from persistence import State

    with running() as url:
        urls = []
        for number in range(count):
            name = f"state{number}"
            with psycopg.connect(url, autocommit=True) as server:
                server.execute(f"CREATE DATABASE {name}")
            urls.append(f"{url.rpartition('/')[0]}/{name}")
            State.migrate(urls[-1])
        yield urls
