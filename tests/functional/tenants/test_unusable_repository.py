"""A repository that cannot be used is trouble; only one that is known not to exist is none."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.people import Town
from tests.support.rest_server import RestServer

pytestmark = pytest.mark.lab


class Front(ThreadingHTTPServer):
    """Serves the repository of each project at ``/<project>/``.

    :ivar places: the port of the server of each project
    :ivar answers: the status that all requests to a project's repository get instead
    """

    daemon_threads = True

    def __init__(self, places: dict[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.places = places
        self.answers: dict[str, int] = {}


class _Handler(BaseHTTPRequestHandler):
    server: Front
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:
        """Log nothing."""

    def _handle(self) -> None:
        project_id, _, path = self.path.lstrip("/").partition("/")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, data, headers = self.server.answers.get(project_id, 404), b"", {}
        if status == 404 and project_id in self.server.places:
            behind = http.client.HTTPConnection("127.0.0.1", self.server.places[project_id])
            kept = ("Range", "Accept")
            asked = {name: self.headers[name] for name in kept if name in self.headers}
            behind.request(self.command, f"/{path}", body or None, asked)
            answer = behind.getresponse()
            status, data = answer.status, answer.read()
            headers = {"Content-Type": answer.headers["Content-Type"]}
            length = answer.headers["Content-Length"]
            behind.close()
        else:
            length = "0"
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_HEAD = do_POST = do_DELETE = _handle


@contextmanager
def served(places: dict[str, Path]) -> Iterator[Front]:
    """A server of these repositories, by project."""
    with ExitStack() as stack:
        ports = {}
        for project_id, place in places.items():
            found = stack.enter_context(RestServer(place))
            ports[project_id] = int(found.location.rstrip("/").rpartition(":")[2])
        front = Front(ports)
        threading.Thread(target=front.serve_forever, daemon=True).start()
        stack.callback(front.server_close)
        stack.callback(front.shutdown)
        yield front


def test_a_repository_that_gives_no_answer_is_named_and_changes_the_exit_status(
    town: Town, tmp_path: Path
) -> None:
    keystone = town.keystone
    alpha, beta, admin = (town.person(name) for name in ("alpha", "beta", "admin"))
    places = {}
    for person in (alpha, beta):
        places[person.project_id] = town.make_repository(person.project_id)
        for one in (person, admin):
            town.give_key(one, person.project_id)
    volumes = [alpha.volume(name="of-alpha"), beta.volume(name="of-beta")]
    for person, volume in zip((alpha, beta), volumes, strict=True):
        person.cli("backup", "create", volume).check_returncode()
    with (
        served(places) as front,
        keystone.role("admin", "alpha"),
        keystone.role("admin", "beta"),
    ):
        where = {
            "repository__location": f"rest:http://127.0.0.1:{front.server_port}/{{project_id}}/",
            # The state database is lost: nothing but the repositories tells what existed.
            "DEFAULT__state_dir": tmp_path / "state",
        }
        restore = ("restore", "create", "--all-tenants", "--new", "--dry-run")
        for command in (("backup", "list", "--all-tenants"), restore):
            done = admin.cli(*command, **where)
            assert done.returncode == 0, done.stderr
            assert "of-alpha" in done.stdout
            assert "of-beta" in done.stdout
        for status in (503, 500, 403):
            front.answers[beta.project_id] = status
            for command in (("backup", "list", "--all-tenants"), restore):
                done = admin.cli(*command, **where)
                assert done.returncode == 3, done.stderr
                assert beta.project_id in done.stderr
                assert "of-alpha" in done.stdout
                assert "of-beta" not in done.stdout
