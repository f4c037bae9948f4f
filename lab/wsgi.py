"""Serves a WSGI application in threads of its own."""

from __future__ import annotations

import socket
import threading
from typing import Any

#: More than the number of volumes in parallel in a test: a request blocks its thread until a
#: backend has answered.
THREADS = 24


def serve(application: Any, listener: socket.socket) -> Any:
    """Answer requests on a bound socket until the returned server is closed."""
    import waitress

    server = waitress.create_server(
        application,
        sockets=[listener],
        threads=THREADS,
        connection_limit=1000,
        channel_timeout=600,
        ident="volflow lab",
    )
    threading.Thread(target=server.run, name="api", daemon=True).start()
    return server
