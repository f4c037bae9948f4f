"""A Keystone and a Cinder on one port of this host, as small as can be, whose answers go wrong.

Unlike the fakes it is reached by HTTP, through the real client libraries.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

PROJECT = "1ab00000000000000000000000000001"
ENDS = "2099-01-01T00:00:00.000000Z"


class Reply:
    """An answer.

    :param body: JSON, unless it is bytes
    """

    def __init__(self, status: int, body: Any = b"", **headers: str) -> None:
        self.status, self.headers = status, dict(headers)
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = "text/html" if self.body.startswith(b"<") else "application/json"
        self.headers.setdefault("Content-Type", kind)


# The connection is closed without an answer.
DROPPED = Reply(0)
PROXY = Reply(503, b"<html><h1>503 Service Unavailable</h1></html>")
MISSING = Reply(404, {"itemNotFound": {"code": 404, "message": "It could not be found."}})

# Decides about a request, by method and path without project: an answer instead of the right one.
Mood = Callable[[str, str], Reply | None]


class SmallCloud:
    """The cloud.

    :ivar mood: which answers go wrong
    :ivar lost: carry out a request of which :attr:`mood` refuses the answer
    :ivar log: the requests to Cinder, as method and path without project
    :ivar types: the types of Cinder in the catalogue, with their regions
    :ivar types_shown: the volume types of Cinder
    :ivar ends: when a token ends
    """

    def __init__(self) -> None:
        self.mood: Mood = lambda method, path: None
        self.lost = False
        self.log: list[str] = []
        self.types: list[tuple[str, str, str]] = [("block-storage", "one", "public")]
        self.types_shown: list[dict[str, str]] = []
        self.ends = ENDS
        self.resources: dict[str, dict[str, Any]] = {
            kind: {} for kind in ("volumes", "snapshots", "attachments")
        }
        outer = self

        class Handler(_Handler):
            cloud = outer

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The login to it."""
        return {
            "OS_AUTH_URL": f"{self.url}/v3",
            "OS_USERNAME": "user",
            "OS_PASSWORD": "secret",
            "OS_PROJECT_ID": PROJECT,
            "OS_USER_DOMAIN_NAME": "Default",
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @contextmanager
    def away(self) -> Iterator[None]:
        """In this block nobody listens on the port."""
        self._server.shutdown()
        self._server.server_close()
        yield
        handler = self._server.RequestHandlerClass
        self._server = _Server(("127.0.0.1", self.port), handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def put(self, kind: str, **shown: Any) -> str:
        """Add a resource; return its id."""
        made = {"id": str(uuid.uuid4()), "name": "", "status": "available", "metadata": {}}
        made |= {"size": 1, "created_at": "2026-01-01T00:00:00", **shown}
        self.resources[kind][made["id"]] = made
        return str(made["id"])

    def catalog(self) -> list[dict[str, Any]]:
        services: dict[str, list[dict[str, str]]] = {}
        for kind, region, interface in self.types:
            services.setdefault(kind, []).append(
                {
                    "id": uuid.uuid4().hex,
                    "interface": interface,
                    "region": region,
                    "region_id": region,
                    "url": f"{self.url}/{region}/v3/{PROJECT}",
                }
            )
        return [
            {"id": kind, "type": kind, "name": kind, "endpoints": endpoints}
            for kind, endpoints in services.items()
        ]

    def reply(self, method: str, target: str, body: bytes) -> Reply:
        parts = urlsplit(target)
        if parts.path.startswith("/v3"):
            return self._keystone(method, parts.path.removeprefix("/v3") or "/")
        _, _, path = parts.path.partition(PROJECT)
        path = path or "/"
        self.log.append(f"{method} {path}")
        wrong = self.mood(method, path)
        if wrong is not None and not self.lost:
            return wrong
        right = self._cinder(method, path, parse_qs(parts.query), body)
        return wrong or right

    def _keystone(self, method: str, path: str) -> Reply:
        wrong = self.mood(method, f"keystone {path}")
        if wrong is not None:
            return wrong
        if path == "/":
            link = [{"rel": "self", "href": f"{self.url}/v3/"}]
            return Reply(200, {"version": {"id": "v3.14", "status": "stable", "links": link}})
        token = {
            "methods": ["password"],
            "user": {"id": "u", "name": "user", "domain": {"id": "d", "name": "Default"}},
            "project": {"id": PROJECT, "name": "p", "domain": {"id": "d", "name": "Default"}},
            "roles": [{"id": "r", "name": "member"}],
            "issued_at": "2026-01-01T00:00:00.000000Z",
            "expires_at": self.ends,
            "catalog": self.catalog(),
        }
        return Reply(201, {"token": token}, **{"X-Subject-Token": uuid.uuid4().hex})

    def _cinder(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> Reply:
        if path == "/":
            version = {"id": "v3.0", "version": "3.71", "min_version": "3.0", "status": "CURRENT"}
            return Reply(300, {"versions": [version]})
        _, kind, *rest = path.split("/")
        if kind == "types":
            return Reply(200, {"volume_types": self.types_shown})
        if kind not in self.resources:
            return Reply(404, {"message": "", "code": "404 Not Found", "title": "Not Found"})
        here = self.resources[kind]
        if method == "POST" and not rest:
            ((_, asked),) = json.loads(body).items()
            if kind == "attachments":
                asked = {"volume_id": asked["volume_uuid"], "instance": None}
                asked |= {"status": "attaching", "connection_info": {"a": "b"}}
            kept = {name: value for name, value in asked.items() if name != "status" or value}
            made = self.put(kind, **kept)
            return Reply(202, {kind[:-1]: here[made]})
        if rest == ["detail"]:
            (name,) = query.get("name", [None])
            found = [one for one in here.values() if name in (None, one["name"])]
            return Reply(200, {kind: found})
        if rest[0] not in here:
            return MISSING
        if method == "DELETE":
            del here[rest[0]]
            return Reply(200, {"attachments": []}) if kind == "attachments" else Reply(202)
        return Reply(200, {kind[:-1]: here[rest[0]]})


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client may leave at any time."""


class _Handler(BaseHTTPRequestHandler):
    cloud: SmallCloud

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing."""

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        reply = self.cloud.reply(self.command, self.path, self.rfile.read(length))
        self.close_connection = True
        if reply is DROPPED:
            return
        self.send_response_only(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _handle
