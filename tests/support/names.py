"""The names of hosts that a test process resolves: a file like /etc/hosts, and a count.

``socket.getaddrinfo`` asks the file first. Without the name in it, the answer is that of a name
server that is down.
"""

from __future__ import annotations

import functools
import socket
from pathlib import Path
from typing import Any

# A name below this is looked up in the file.
DOMAIN = ".testbed"
CINDER = f"cinder{DOMAIN}"
_ADDRESS = "127.0.0.1"


def write(file: Path, *names: str) -> None:
    """Let these names be known."""
    file.write_text("".join(f"{_ADDRESS} {name}\n" for name in names))


def install(file: Path, count: Path) -> None:
    """Resolve names by the file in this process, from now on.

    :param count: a file that grows by one byte with each look-up of a name or address
    """
    original = socket.getaddrinfo

    @functools.wraps(original)
    def instead(host: Any, *args: Any, **kwargs: Any) -> Any:
        with open(count, "ab") as counted:
            counted.write(b".")
        if str(host).endswith(DOMAIN):
            if str(host) not in file.read_text().split():
                raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
            host = _ADDRESS
        return original(host, *args, **kwargs)

    socket.getaddrinfo = instead


def looked_up(count: Path) -> int:
    """How often names or addresses were looked up."""
    return count.stat().st_size if count.exists() else 0
