"""A proxy for the lab's Cinder that refuses the requests for one volume."""

from __future__ import annotations

import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from tests.support.site import Site

_HOP = ("connection", "transfer-encoding", "keep-alive", "content-length")


class Refusing:
    """Answers requests for one volume with an error, and forwards all others.

    :param status: the status of the answer; None ends the connection without an answer
    """

    def __init__(self, site: Site, volume: str, status: int | None) -> None:
        self._site = site
        clouds = yaml.safe_load(Path(site.environment["OS_CLIENT_CONFIG_FILE"]).read_text())
        auth = clouds["clouds"]["lab"]["auth"]
        there = urlsplit(auth["endpoint"])

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *arguments: Any) -> None:
                """Log nothing."""

            def handle_all(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                if urlsplit(self.path).path.endswith(f"/volumes/{volume}"):
                    if status is None:
                        self.close_connection = True
                        return
                    told = {"refused": {"code": status, "message": f"It says {status}."}}
                    kind = [("Content-Type", "application/json")]
                    self.answer(status, kind, json.dumps(told).encode())
                    return
                connection = http.client.HTTPConnection(there.netloc, timeout=60)
                headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP}
                connection.request(self.command, self.path, body or None, headers)
                found = connection.getresponse()
                self.answer(found.status, found.getheaders(), found.read())
                connection.close()

            do_GET = do_POST = do_PUT = do_DELETE = handle_all

            def answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in _HOP:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        auth["endpoint"] = f"http://127.0.0.1:{self._server.server_address[1]}{there.path}"
        self._clouds = site.home / "refusing.yaml"
        self._clouds.write_text(yaml.safe_dump(clouds))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> dict[str, str]:
        return {"OS_CLIENT_CONFIG_FILE": str(self._clouds)}

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
