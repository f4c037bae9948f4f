"""An HTTP server whose port can be closed, reset connections, or show an untrusted certificate."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support import names

_ADDRESS = "127.0.0.1"
# The interval in seconds at which the server looks for its own end.
_POLL = 0.05


class Gate(ThreadingHTTPServer):
    """A server on a free port of this machine. It serves until :meth:`close`.

    :param contexts: a trusted and an untrusted context of TLS; plain HTTP unless given
    """

    daemon_threads = True
    request_queue_size = 100

    def __init__(
        self,
        handler: type[BaseHTTPRequestHandler],
        contexts: tuple[ssl.SSLContext, ssl.SSLContext] | None = None,
    ) -> None:
        super().__init__((_ADDRESS, 0), handler)
        self._trusted, self._untrusted = contexts or (None, None)
        self.untrusted = False
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._closed: socket.socket | None = None
        self._serve()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def _serve(self) -> None:
        threading.Thread(target=self.serve_forever, args=(_POLL,), daemon=True).start()

    def close(self) -> None:
        """End the server."""
        self.shutdown()
        self.server_close()
        if self._closed is not None:
            self._closed.close()
        self.drop()

    def refuse(self) -> None:
        """Refuse connections, and end those that exist, until :meth:`accept`."""
        with self._lock:
            self.shutdown()
            self.socket.close()
            # Bound, so that no other program gets the port, but not listening.
            self._closed = socket.socket()
            self._closed.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._closed.bind((_ADDRESS, self.port))
        self.drop()

    def accept(self) -> None:
        """Accept connections again."""
        with self._lock:
            if self._closed is None:
                return
            self.socket, self._closed = self._closed, None
            self.server_activate()
            self._serve()

    def drop(self) -> None:
        """End all connections."""
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def finish_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        try:
            context = self._untrusted if self.untrusted else self._trusted
            if context is None:
                super().finish_request(request, client_address)
                return
            with context.wrap_socket(request, server_side=True) as wrapped:
                self._connections.add(wrapped)
                try:
                    super().finish_request(wrapped, client_address)
                finally:
                    self._connections.discard(wrapped)
        finally:
            self._connections.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # It is normal that a caller is killed, or does not trust the certificate.
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def reset(handler: BaseHTTPRequestHandler) -> None:
    """End the connection of a request with RST instead of an answer."""
    linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    handler.connection.close()
    handler.close_connection = True


def certificates(directory: Path) -> tuple[Path, tuple[ssl.SSLContext, ssl.SSLContext]]:
    """A certificate for this machine, and the contexts of a server with it and with another one.

    :param directory: for the files
    """
    directory.mkdir(exist_ok=True)
    contexts = []
    for name in ("trusted", "untrusted"):
        certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", f"/CN={name}"),
                *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
                *("-addext", f"subjectAltName=IP:{_ADDRESS},DNS:{names.CINDER}"),
                *("-keyout", str(key), "-out", str(certificate)),
            ],
            check=True,
            capture_output=True,
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        contexts.append(context)
    return directory / "trusted.pem", (contexts[0], contexts[1])
