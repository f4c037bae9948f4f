"""Cinder is restarted during a run, and its port is closed for longer than volflow waits."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.support.controlled_runs import query
from tests.support.gate import Gate
from tests.support.site import Site

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("fork_server")]

_HOP = ("connection", "transfer-encoding", "keep-alive", "content-length")


class RestartedCinder:
    """Cinder behind a port that closes when the first snapshot is requested."""

    def __init__(self, site: Site) -> None:
        clouds = yaml.safe_load(Path(site.environment["OS_CLIENT_CONFIG_FILE"]).read_text())
        auth = clouds["clouds"]["lab"]["auth"]
        there = urlsplit(auth["endpoint"])
        cinder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *arguments: Any) -> None:
                """Log nothing."""

            def handle_all(self) -> None:
                if self.command == "POST" and self.path.endswith("/snapshots"):
                    self.close_connection = True
                    cinder.gate.refuse()
                    return
                length = int(self.headers.get("Content-Length") or 0)
                connection = http.client.HTTPConnection(there.netloc, timeout=60)
                headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP}
                connection.request(self.command, self.path, self.rfile.read(length), headers)
                found = connection.getresponse()
                body = found.read()
                self.send_response_only(found.status)
                for name, value in found.getheaders():
                    if name.lower() not in _HOP:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                connection.close()

            do_GET = do_POST = do_PUT = do_DELETE = handle_all

        self.gate = Gate(Handler)
        auth["endpoint"] = f"http://127.0.0.1:{self.gate.port}{there.path}"
        file = site.home / "restarted.yaml"
        file.write_text(yaml.safe_dump(clouds))
        self.environment: dict[str, str | None] = {"OS_CLIENT_CONFIG_FILE": str(file)}


@pytest.fixture
def cinder(site: Site) -> Iterator[RestartedCinder]:
    found = RestartedCinder(site)
    yield found
    found.gate.accept()
    found.gate.close()


def test_a_volume_that_fails_by_refused_connections_costs_less_than_a_megabyte(
    site: Site, volume: str, cinder: RestartedCinder
) -> None:
    config = site.config(cloud__patience=2)
    done = site.cli(
        *("backup", "create", volume, "-f", "json"), config=config, environment=cinder.environment
    )
    assert done.returncode == 1, done.stderr
    (result,) = json.loads(done.stdout)
    assert result["outcome"] == "failed"
    assert "cannot be reached" in result["error"]
    assert sum(file.stat().st_size for file in site.state.glob("state.sqlite*")) < 1_000_000
    assert len(done.stderr) < 20_000
    failures = query(site, "SELECT failure FROM atomdetails WHERE failure IS NOT NULL")
    assert failures
    assert all(json.loads(text)["causes"] == [] for (text,) in failures)
    cinder.gate.accept()
    cleaned = site.cli("leftover", "clean")
    assert cleaned.returncode == 0, cleaned.stderr
