"""A small server of restic's REST protocol over a directory that can fail half-way.

The directory has the layout of a local repository, so that restic can also look at it directly.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.gate import Gate
from tests.support.outages import Outage
from tests.support.weather import Answer, Weather, send

_LISTING = "application/vnd.x.restic.rest.v2"
# The longest time in seconds that a request is held.
_PATIENCE = 300.0


class RestServer:
    """Serves one repository while the block runs.

    :param directory: the repository
    :param contexts: a trusted and an untrusted context of TLS; plain HTTP unless given
    """

    def __init__(
        self, directory: Path, contexts: tuple[ssl.SSLContext, ssl.SSLContext] | None = None
    ) -> None:
        self.directory = directory
        self._lock = threading.Lock()
        # The kind of the call, its method, and how many more of these come before the act.
        self._left: tuple[str, str, int] | None = None
        self._act: Callable[[], None] = lambda: None
        self.happened = False
        self.down = False
        self._going = threading.Event()
        self._going.set()
        outer = self

        class Handler(_Handler):
            server_of = outer

        self._gate = Gate(Handler, contexts)
        self._scheme = "https" if contexts else "http"
        self.weather = Weather(self._gate)

    @property
    def location(self) -> str:
        """The repository's name for restic."""
        return f"rest:{self._scheme}://127.0.0.1:{self._gate.port}/"

    def __enter__(self) -> RestServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.weather.end()
        self._gate.close()

    def after(
        self, method: str, count: int, act: Callable[[], None], *, kind: str = "data"
    ) -> None:
        """Act at the call with this number, of those with this method for this kind of file.

        :param method: any of several, if separated by spaces
        :param kind: the directory in the repository, with a slash for its list; or ``config``
        """
        self._left, self._act = (kind, method, count), act

    def break_down(self, outage: Outage, method: str, count: int, *, kind: str) -> None:
        """Let an outage begin with that call; ``weather.end`` ends it."""
        self.after(method, count, lambda: self.weather.begin(outage), kind=kind)

    def hold(self, method: str, count: int) -> None:
        """Stop answering at the call with this number, until :meth:`go_on`."""
        self._going.clear()
        self.after(method, count, lambda: None)

    def wait(self, seconds: float = 180.0) -> None:
        """Wait until the act of :meth:`after` has happened."""
        deadline = time.monotonic() + seconds
        while not self.happened:
            if time.monotonic() > deadline:
                raise TimeoutError("the call at which the server acts has not come")
            time.sleep(0.02)

    def go_on(self) -> None:
        """Answer again."""
        self._going.set()

    def called(self, kind: str, method: str) -> None:
        """Count a call."""
        with self._lock:
            if self._left is None:
                return
            wanted, methods, left = self._left
            if wanted != kind or method not in methods.split():
                return
            self._left = (wanted, methods, left - 1)
            if left > 1:
                return
            self._left, self.happened = None, True
        self._act()

    def pause(self) -> None:
        """Wait while the server holds requests."""
        if self.happened:
            self._going.wait(_PATIENCE)


class _Handler(BaseHTTPRequestHandler):
    server_of: RestServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing."""

    def _handle(self) -> None:
        outer = self.server_of
        parts = [part for part in urlsplit(self.path).path.split("/") if part]
        length = int(self.headers.get("Content-Length") or 0)
        if parts:
            slash = "/" if urlsplit(self.path).path.endswith("/") else ""
            outer.called(parts[0] + slash, self.command)
        if parts[:1] == ["data"] and len(parts) == 2:
            outer.pause()
        if outer.down:
            # No answer, as when the network or the server is down.
            self.close_connection = True
            return
        body = self.rfile.read(length) if length else b""
        if not outer.weather.fail(self, lambda: self._served(parts, body)):
            send(self, self._served(parts, body))

    def _served(self, parts: list[str], body: bytes) -> Answer:
        file = self._file(parts)
        if self.command == "POST":
            file.parent.mkdir(parents=True, exist_ok=True)
            if parts:
                fresh = file.with_name(f"{file.name}.new")
                fresh.write_bytes(body)
                fresh.replace(file)
            return _answer(200)
        if self.command == "DELETE":
            file.unlink(missing_ok=True)
            return _answer(200)
        if self.path.endswith("/"):
            found = [each for each in file.rglob("*") if each.is_file()]
            listing = [{"name": each.name, "size": each.stat().st_size} for each in found]
            return _answer(200, json.dumps(listing).encode(), kind=_LISTING)
        if not file.is_file():
            return _answer(404)
        content = file.read_bytes()
        wanted = self.headers.get("Range", "")
        if wanted.startswith("bytes="):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            return _answer(206, content[int(first) : int(last) + 1 if last else None])
        return _answer(200, content)

    do_GET = do_HEAD = do_POST = do_DELETE = _handle

    def _file(self, parts: list[str]) -> Path:
        if parts[:1] == ["data"] and len(parts) == 2:
            parts = ["data", parts[1][:2], parts[1]]
        return self.server_of.directory.joinpath(*parts)


def _answer(status: int, body: bytes = b"", kind: str = "application/octet-stream") -> Answer:
    return status, [("Content-Type", kind)], body
