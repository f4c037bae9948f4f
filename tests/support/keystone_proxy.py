"""A proxy between volflow and the lab's Keystone that can have an outage of its own."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from tests.support import names
from tests.support.gate import Gate
from tests.support.weather import Answer, Weather, send

_HOP = ("connection", "transfer-encoding", "keep-alive", "content-length")
_SECONDS = 60.0


class KeystoneProxy:
    """A proxy on its own port.

    :param keystone: host and port of Keystone
    :param contexts: a trusted and an untrusted context of TLS
    :param known: the file of names that the clients know
    :param addresses: replaces addresses in the answers, such as Cinder's in the catalogue
    """

    def __init__(
        self,
        keystone: tuple[str, int],
        contexts: tuple[ssl.SSLContext, ssl.SSLContext],
        known: Path,
        addresses: Mapping[str, str],
    ) -> None:
        outer = self

        class Handler(_Handler):
            proxy = outer

        self._gate = Gate(Handler, contexts)
        self.keystone = keystone
        self.addresses = {
            **addresses,
            f"http://{keystone[0]}:{keystone[1]}": self.url,
            # Keystone does not know that its clients use TLS.
            self.url.replace("https", "http"): self.url,
        }
        self.weather = Weather(self._gate, known=known)

    @property
    def url(self) -> str:
        return f"https://{names.CINDER}:{self._gate.port}"

    def close(self) -> None:
        self.weather.end()
        self._gate.close()


class _Handler(BaseHTTPRequestHandler):
    proxy: KeystoneProxy
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing."""

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        if not self.proxy.weather.fail(self, lambda: self._forwarded(body)):
            send(self, self._forwarded(body))

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = _handle

    def _forwarded(self, body: bytes) -> Answer:
        connection = http.client.HTTPConnection(*self.proxy.keystone, timeout=_SECONDS)
        try:
            headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP}
            connection.request(self.command, self.path, body or None, headers)
            answer = connection.getresponse()
            told = answer.read()
            for old, new in self.proxy.addresses.items():
                told = told.replace(old.encode(), new.encode())
            return answer.status, answer.getheaders(), told
        finally:
            connection.close()
