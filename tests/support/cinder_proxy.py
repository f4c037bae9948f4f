"""A proxy between volflow and the lab's Cinder that makes calls fail.

It forwards everything unchanged, except one call, or everything from one call on.
Before it reports a resource's state, it sets that state in Cinder, as an administrator can.
"""

from __future__ import annotations

import http.client
import json
import re
import sqlite3
import ssl
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support import names
from tests.support.fault_kinds import CallSite, Fault
from tests.support.gate import Gate
from tests.support.outages import Outage
from tests.support.weather import Weather, send

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_PROJECT = re.compile(r"^/v3/[0-9a-f]{32}(?=/)")
# Headers of one connection, not of the request or the answer.
_HOP = ("connection", "transfer-encoding", "keep-alive", "content-length")
_SECONDS = 30.0


def pattern(method: str, target: str, body: bytes) -> str:
    """The kind of a call: method, path without ids, and the name of an action."""
    path = _UUID.sub("{id}", _PROJECT.sub("", urlsplit(target).path)).rstrip("/") or "/"
    # The path contains keys of metadata.
    path = re.sub(r"/metadata/.*", "/metadata/{key}", path)
    action = ""
    if path.endswith("/action") and body:
        action = " " + next(iter(json.loads(body)))
    return f"{method} {path}{action}"


@dataclass
class Trouble:
    """One call that fails, or with which an outage begins.

    :ivar call: which, by its pattern
    :ivar kill: kills the calling process
    :ivar site: the place that makes the call; any place unless given
    :ivar armed: no call fails before this file exists
    :ivar elsewhere: where the outage begins instead, while the call is answered with 401
    :ivar count: how often the call failed
    :ivar failures: why the proxy could not make it fail
    :ivar repairs: functions that end the fault afterwards
    """

    call: str
    fault: Fault | Outage
    kill: Callable[[], None]
    site: CallSite | None = None
    armed: Path | None = None
    elsewhere: Weather | None = None
    count: int = 0
    failures: list[str] = field(default_factory=list)
    repairs: list[Callable[[], None]] = field(default_factory=list)

    def meets(self, site: CallSite) -> bool:
        if self.armed is not None and not self.armed.exists():
            return False
        if site.call != self.call:
            return False
        if self.count:
            return self.fault is Fault.ERRORS_500
        return self.site in (None, site)


class Proxy:
    """A proxy on its own port.

    :param cinder: host and port of Cinder
    :param admin: changes the states of resources
    :param contexts: a trusted and an untrusted context of TLS
    :param known: the file of names that the clients know
    """

    def __init__(
        self,
        cinder: tuple[str, int],
        admin: Administrator,
        contexts: tuple[ssl.SSLContext, ssl.SSLContext],
        known: Path,
    ) -> None:
        self._cinder, self._admin = cinder, admin
        self._lock = threading.Lock()
        self._trouble: Trouble | None = None
        self._seen: list[CallSite] | None = None
        self._place: Path | None = None
        # The step that made the last call, and whether it has asked for a change.
        self._last = ("", False)
        self._recorded_from: Path | None = None
        self._released = threading.Event()
        outer = self

        class Handler(_Handler):
            proxy = outer

        self._gate = Gate(Handler, contexts)
        self.weather = Weather(self._gate, known=known)

    @property
    def url(self) -> str:
        return f"https://{names.CINDER}:{self._gate.port}"

    def close(self) -> None:
        self._released.set()
        self.weather.end()
        self._gate.close()

    def follow(self, place: Path) -> None:
        """Read from this file which step makes a call."""
        self._place, self._last = place, ("", False)

    def record(self, since: Path | None = None) -> list[CallSite]:
        """Record which step makes which call from now on.

        :param since: a file; calls before it exists are not recorded
        """
        self._seen, self._recorded_from = [], since
        return self._seen

    def break_down(self, trouble: Trouble) -> None:
        """Make a call fail."""
        self._released.clear()
        self._trouble = trouble

    def repair(self) -> None:
        """End the fault, and release what is stuck."""
        trouble, self._trouble, self._seen = self._trouble, None, None
        self.weather.end()
        self._released.set()
        for act in trouble.repairs if trouble else ():
            act()

    def meet(self, call: str) -> Trouble | None:
        """Record a call; return its fault if it must fail."""
        with self._lock:
            since, site = self._recorded_from, self._site(call)
            if (
                self._seen is not None
                and site not in self._seen
                and (since is None or since.exists())
            ):
                self._seen.append(site)
            trouble = self._trouble
            if trouble is None or not trouble.meets(site):
                return None
            trouble.count += 1
        if isinstance(trouble.fault, Outage):
            lookups = self._place.with_name("lookups") if self._place else None
            (trouble.elsewhere or self.weather).begin(trouble.fault, lookups)
        return trouble

    def _site(self, call: str) -> CallSite:
        try:
            step = self._place.read_text() if self._place else ""
        except FileNotFoundError:
            step = ""
        later = self._last == (step, True)
        self._last = (step, later or not call.startswith("GET"))
        # Calls between the steps have no reliable order.
        return CallSite(call, step, later and bool(step))


class Administrator:
    """Cinder as its administrator, by plain HTTP and in its database.

    :param url: the endpoint with the project
    :param database: Cinder's own database
    """

    def __init__(self, url: str, token: str, database: Path) -> None:
        self._database = database
        self._url, self._headers = urlsplit(url), {"X-Auth-Token": token}
        self._headers["OpenStack-API-Version"] = "volume 3.60"
        self._headers["Content-Type"] = "application/json"

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(self._url.netloc, timeout=_SECONDS)
        try:
            connection.request(
                method,
                f"{self._url.path}/{path}",
                None if body is None else json.dumps(body),
                self._headers,
            )
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None
        finally:
            connection.close()

    def rest(self, path: str) -> str:
        """Wait until a resource is in no transition; return its status."""
        deadline = time.monotonic() + _SECONDS
        while True:
            status, found = self.call("GET", path)
            if status == 404:
                return "gone"
            state = str(next(iter(found.values()))["status"])
            if state in ("available", "in-use", "error") or time.monotonic() > deadline:
                return state
            time.sleep(0.02)

    def set(self, path: str, state: str) -> None:
        """Change a resource's status; the API itself refuses to set most transitional ones."""
        kind, resource = path.split("/")
        with closing(sqlite3.connect(self._database, timeout=60)) as database, database:
            database.execute(f"UPDATE {kind} SET status = ? WHERE id = ?", (state, resource))


class _Handler(BaseHTTPRequestHandler):
    proxy: Proxy
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing."""

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        trouble = None
        if self.proxy.weather.outage is None:
            trouble = self.proxy.meet(pattern(self.command, self.path, body))
        if self.proxy.weather.fail(self, lambda: self._forwarded(body)):
            return
        if trouble is None:
            self._answer(*self._forwarded(body))
            return
        fault = trouble.fault
        if fault in (Fault.ERROR_500, Fault.ERRORS_500):
            self._refuse(500, "computeFault")
        elif trouble.elsewhere:
            self._refuse(401, "unauthorized")
        elif fault is Fault.ERROR_409:
            self._refuse(409, "conflictingRequest")
        elif fault is Fault.ERROR_404:
            self._refuse(404, "itemNotFound")
        elif fault in (Fault.DROPPED, Fault.SILENT):
            self._forwarded(body)
            if fault is Fault.SILENT:
                self.proxy._released.wait(_SECONDS)
            self.close_connection = True
        elif fault in (Fault.DIED, Fault.DIED_ABORTED):
            self._forwarded(body)
            trouble.kill()
            self.close_connection = True
        elif fault in (Fault.BROKEN, Fault.STUCK):
            try:
                self._derail(trouble, body)
            except Exception:
                trouble.failures.append(traceback.format_exc())
                raise

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = _handle

    def _derail(self, trouble: Trouble, body: bytes) -> None:
        """Forward the call, and put the resource into the bad state before answering."""
        admin, stuck = self.proxy._admin, trouble.fault is Fault.STUCK
        if self.command == "DELETE":
            path = "/".join(urlsplit(self.path).path.split("/")[-2:])
            admin.rest(path)
            admin.set(path, "deleting" if stuck else "error_deleting")
            # Cinder deletes nothing in such a state; an administrator must reset the state.
            trouble.repairs.append(lambda: admin.set(path, "available" if stuck else "error"))
            if stuck:
                trouble.repairs.append(lambda: admin.call("DELETE", path) and None)
            self._answer(202, [], b"")
            return
        status, headers, answer = self._forwarded(body)
        if status < 300:
            if self.path.endswith("/action"):
                path = "/".join(urlsplit(self.path).path.split("/")[-3:-1])
                transition = "reverting"
            else:
                kind = urlsplit(self.path).path.rstrip("/").rpartition("/")[2]
                path = f"{kind}/{next(iter(json.loads(answer).values()))['id']}"
                transition = "creating"
            admin.rest(path)
            admin.set(path, transition if stuck else "error")
            # The resource existed before and is intact; an administrator resets its state.
            if stuck or transition == "reverting":
                trouble.repairs.append(lambda: admin.set(path, "available"))
        self._answer(status, headers, answer)

    def _forwarded(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(*self.proxy._cinder, timeout=_SECONDS * 4)
        try:
            headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP}
            connection.request(self.command, self.path, body or None, headers)
            answer = connection.getresponse()
            # Cinder does not know that its clients use TLS.
            told = answer.read().replace(
                self.proxy.url.replace("https", "http").encode(), self.proxy.url.encode()
            )
            return answer.status, answer.getheaders(), told
        finally:
            connection.close()

    def _refuse(self, status: int, kind: str) -> None:
        told = {kind: {"code": status, "message": f"The proxy says {status}."}}
        self._answer(
            status, [("Content-Type", "application/json")], json.dumps(told).encode("ascii")
        )

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        send(self, (status, headers, body))
