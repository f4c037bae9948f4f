"""A selection of a thousand volumes: listed in pages, with little memory, in linear time.

A cloud of a thousand volumes would take an hour to make, so a server replaces Cinder: it
answers the requests of a plan, page by page. Everything else is real.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest

from tests.support import repository

PROJECT = "1ab00000000000000000000000000001"
PAGE = 100
# The number of volumes in each group.
TOGETHER = 10


class StandIn(ThreadingHTTPServer):
    """Answers as Cinder does, for this number of volumes.

    :ivar asked: how often each kind of resource was requested
    :ivar largest: the highest number of volumes in one answer
    :ivar vanishing: volumes that no longer exist when the next page is requested, once each
    """

    daemon_threads = True

    def __init__(self, count: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.count = count
        self.asked: Counter[str] = Counter()
        self.largest = 0
        self.vanishing: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v3"

    def volume(self, number: int) -> dict[str, Any]:
        group = str(UUID(int=10**6 + number // TOGETHER)) if number % 2 == 0 else None
        return {
            "id": str(UUID(int=number + 1)),
            "name": f"volume {number}",
            "status": "error" if number % 100 == 99 else "available",
            "size": 1,
            "metadata": {"number": str(number)},
            "volume_type": "standin",
            "encrypted": False,
            "attachments": [],
            "group_id": group,
            "os-vol-tenant-attr:tenant_id": PROJECT,
        }

    def answer(self, path: str, query: dict[str, str]) -> Any:
        """Cinder's answer to a GET."""
        if path in ("/", "/v3", "/v3/"):
            link = {"rel": "self", "href": f"{self.url}/"}
            version = {"id": "v3.0", "status": "CURRENT", "links": [link]}
            return {"versions": [version | {"version": "3.71", "min_version": "3.0"}]}
        what = path.removeprefix(f"/v3/{PROJECT}/")
        self.asked[re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", what)] += 1
        if what == "volumes/detail":
            if query.get("marker") in self.vanishing:
                self.vanishing.remove(query["marker"])
                raise KeyError(query["marker"])
            start = UUID(query["marker"]).int if "marker" in query else 0
            page = [self.volume(n) for n in range(start, min(start + PAGE, self.count))]
            self.largest = max(self.largest, len(page))
            found: dict[str, Any] = {"volumes": page}
            if start + PAGE < self.count:
                following = f"{self.url}/{PROJECT}/{what}?marker={page[-1]['id']}"
                found["volumes_links"] = [{"rel": "next", "href": following}]
            return found
        if what == "limits":
            return {"limits": {"rate": [], "absolute": {"maxTotalVolumes": -1}}}
        if what.startswith("groups/"):
            group = {"id": what.split("/")[1], "name": "", "status": "available"}
            return {"group": group | {"group_type": "a type"}}
        if what.startswith("group_types/"):
            return {"group_type": {"id": "a type", "name": "a type", "group_specs": {}}}
        raise KeyError(what)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: StandIn

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        try:
            status, told = 200, self.server.answer(parts.path, query)
        except KeyError as error:
            status, told = 404, {"itemNotFound": {"message": str(error), "code": 404}}
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("OpenStack-API-Version", "volume 3.71")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


@contextmanager
def standing_in(count: int) -> Iterator[StandIn]:
    server = StandIn(count)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# Measures CPU seconds and peak memory in MB, in a separate process. It does not use
# getrusage, which includes the memory of the process before it became this program.
PLAN = """
import json, re, resource, sys, time
from volflow import config
from volflow.api.volflow import Volflow
from volflow.context import Context
from volflow.plans.selection import Selection

with Volflow(Context(config.load([sys.argv[1]]))) as volflow:
    volflow.context.cloud.cinder
    before = resource.getrusage(resource.RUSAGE_SELF)
    plan = volflow.backups.plan(Selection(everything=True, exclude=("volume 1",)))
    after = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({
    "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    "memory": int(re.search(r"VmHWM:[^0-9]+([0-9]+)", open("/proc/self/status").read())[1]) / 1024,
    "volumes": len(plan.selected.volumes),
    "left out": len(plan.selected.left_out),
    "groups": len(plan.selected.groups),
    "apart": len(plan.selected.split_groups),
}))
"""


def _plan(home: Path, server: StandIn) -> dict[str, Any]:
    import yaml

    auth = {"user_id": "user", "project_id": PROJECT, "endpoint": server.url}
    cloud = {"auth_type": "noauth", "auth": auth, "volume_api_version": "3"}
    home.mkdir()
    (home / "clouds.yaml").write_text(yaml.safe_dump({"clouds": {"stand-in": cloud}}))
    (home / "password").write_text("a password")
    (home / "volflow.conf").write_text(
        f"[DEFAULT]\nstate_dir = {home}/state\n[cloud]\nname = stand-in\n[repository]\n"
        f"location = {home}/repository\npassword_file = {home}/password\n"
    )
    repository.make(home / "repository", "a password")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("OS_")},
        "OS_CLIENT_CONFIG_FILE": str(home / "clouds.yaml"),
        "no_proxy": "127.0.0.1",
    }
    done = subprocess.run(
        [sys.executable, "-c", PLAN, str(home / "volflow.conf")],
        capture_output=True,
        encoding="utf-8",
        env=environment,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


needed = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("restic") is None, reason="it needs root and restic"
)


@needed
def test_a_volume_that_vanishes_restarts_the_list(tmp_path: Path) -> None:
    """Cinder returns no page after a deleted volume, so volflow starts the list again."""
    with standing_in(3 * PAGE) as server:
        server.vanishing.add(server.volume(2 * PAGE - 1)["id"])
        found = _plan(tmp_path / "home", server)
        assert server.vanishing == set()
    assert found["volumes"] + found["left out"] == 3 * PAGE
    assert server.asked["volumes/detail"] == 3 + 3


@needed
@pytest.mark.slow
def test_the_plan_of_thousands_asks_for_each_page_once(tmp_path: Path) -> None:
    figures = {}
    for count in (1000, 4000):
        with standing_in(count) as server:
            found = figures[count] = _plan(tmp_path / str(count), server)
        print(count, found, dict(server.asked), f"{server.largest} in a page at most")
        # Each volume is covered, or left out with a reason.
        assert found["volumes"] + found["left out"] == count
        assert found["left out"] == count // 100 + 1
        # Five of ten volumes are in a group.
        assert found["groups"] + found["apart"] == count // TOGETHER
        # Each page is requested once, and each group and its type once.
        assert server.largest == PAGE
        assert server.asked["volumes/detail"] == count // PAGE
        assert server.asked["groups/ID"] <= count // TOGETHER
        assert sum(server.asked.values()) <= count // PAGE + 2 * count // TOGETHER + 5
    # Four times as many volumes take four times as long, not sixteen times.
    assert figures[4000]["cpu"] < 7 * figures[1000]["cpu"]
    # volflow keeps what the API shows of a volume: a few KB.
    assert figures[4000]["memory"] - figures[1000]["memory"] < 3000 * 16 / 1024
    assert figures[1000]["memory"] < 200
