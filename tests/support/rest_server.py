"""A small server of restic's REST protocol over a directory that can stop answering half-way.

The directory has the layout of a local repository, so that restic can also look at it directly.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_LISTING = "application/vnd.x.restic.rest.v2"
# The longest time in seconds that a request is held.
_PATIENCE = 300.0


class RestServer:
    """Serves one repository while the block runs.

    :param directory: the repository
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._lock = threading.Lock()
        self._left: tuple[str, int] | None = None
        self._act: Callable[[], None] = lambda: None
        self.happened = False
        self.down = False
        self._going = threading.Event()
        self._going.set()
        outer = self

        class Handler(_Handler):
            server_of = outer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    @property
    def location(self) -> str:
        """The repository's name for restic."""
        return f"rest:http://127.0.0.1:{self._server.server_address[1]}/"

    def __enter__(self) -> RestServer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def after(self, method: str, count: int, act: Callable[[], None]) -> None:
        """Act at the call with this number, of those that move data with this method."""
        self._left, self._act = (method, count), act

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

    def moved(self, method: str) -> None:
        """Count a call that moves data."""
        with self._lock:
            if self._left is None or self._left[0] != method:
                return
            self._left = (method, self._left[1] - 1)
            if self._left[1]:
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
        if parts[:1] == ["data"] and len(parts) == 2:
            outer.moved(self.command)
            outer.pause()
        if outer.down:
            # No answer, as when the network or the server is down.
            self.close_connection = True
            return
        body = self.rfile.read(length) if length else b""
        file = self._file(parts)
        if self.command == "POST":
            file.parent.mkdir(parents=True, exist_ok=True)
            if parts:
                fresh = file.with_name(f"{file.name}.new")
                fresh.write_bytes(body)
                fresh.replace(file)
            self._answer(200)
        elif self.command == "DELETE":
            file.unlink(missing_ok=True)
            self._answer(200)
        elif self.path.endswith("/"):
            found = [each for each in file.rglob("*") if each.is_file()]
            listing = [{"name": each.name, "size": each.stat().st_size} for each in found]
            self._answer(200, json.dumps(listing).encode(), kind=_LISTING)
        elif not file.is_file():
            self._answer(404)
        else:
            content = file.read_bytes()
            wanted = self.headers.get("Range", "")
            if wanted.startswith("bytes="):
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                self._answer(206, content[int(first) : int(last) + 1 if last else None])
            else:
                self._answer(200, content)

    do_GET = do_HEAD = do_POST = do_DELETE = _handle

    def _file(self, parts: list[str]) -> Path:
        if parts[:1] == ["data"] and len(parts) == 2:
            parts = ["data", parts[1][:2], parts[1]]
        return self.server_of.directory.joinpath(*parts)

    def _answer(
        self, status: int, body: bytes = b"", kind: str = "application/octet-stream"
    ) -> None:
        try:
            self.send_response_only(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
