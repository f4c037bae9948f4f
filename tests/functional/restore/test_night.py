"""Each command on the page "Restore at night" works as printed, in the order of the page."""

from __future__ import annotations

import shlex
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.page import Printed, Shell, commands, path_with
from tests.support.site import Site
from tests.support.stage import in_project

# Part of `tox -e restore`, like the branches.
pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.page]

PAGE = Path(__file__).parents[3] / "docs" / "restore.rst"
# The project of a lost cloud, as on the page.
OLD_PROJECT = "5ca1ab1e000000000000000000000001"
# The time of the first backup, which the page restores by time.
THEN = "2026-02-27T22:00:00Z"
NO_CLOUD = ("No cloud", "Without volflow")


def _fill(hosts: str) -> Any:
    def do(root: Path) -> None:
        (root / "etc").mkdir(exist_ok=True)
        (root / "etc" / "hosts").write_text(hosts)
        (root / "home" / "anna").mkdir(parents=True, exist_ok=True)
        (root / "home" / "anna" / "letter").write_text("Dear Anna\n")

    return do


HOSTS = "127.0.0.1 localhost\n10.0.0.1 db\n"
OLDER = "127.0.0.1 localhost\n10.0.0.1 old-db\n"


class Night:
    """The site of the page, and the operator's shell there."""

    def __init__(self, site: Site) -> None:
        self.site = site
        cloud = site.cloud
        wrapper = site.home / "restic-of-then"
        wrapper.write_text(
            "#!/bin/sh\n"
            "for word; do\n"
            "    shift\n"
            f"    case $word in taken=*) word=taken={THEN};; esac\n"
            '    set -- "$@" "$word"\n'
            "done\n"
            'exec restic "$@"\n'
        )
        wrapper.chmod(0o755)
        self.notes = cloud.create(name="notes")
        cloud.fill(self.notes, "ext4", _fill(OLDER))
        self.then({"repository__restic": wrapper})
        cloud.on(self.notes, _fill(HOSTS))
        for name in ("web-1", "web-2"):
            volume = cloud.create(name=name)
            cloud.fill(volume, "ext4", _fill(name))
            assert str(site.backup(volume).outcome) == "complete"
        assert str(site.backup(self.notes).outcome) == "complete"
        rescue = cloud.create(2, name="rescue")
        cloud.format(rescue, "ext4")
        self._of_another_cloud()

    def then(self, overrides: dict[str, Any]) -> None:
        """Make a backup with an earlier time."""
        with self.site.volflow(**overrides) as volflow:
            assert str(volflow.backups.create([self.notes]).outcome) == "complete"

    def _of_another_cloud(self) -> None:
        """A backup of a project that no longer exists."""
        old = in_project(self.site, OLD_PROJECT)
        volume = old.cloud.create(name="of the old cloud")
        old.cloud.fill(volume, "ext4", _fill("old"))
        assert str(old.backup(volume).outcome) == "complete"
        old.cloud.delete(volume)

    def sit_down(self) -> Shell:
        """A shell on a machine as the page assumes it."""
        site = self.site
        environment = {**site.environment, "PATH": path_with(sys.executable)}
        shell = Shell(
            environment,
            "for place in /srv /media /mnt /var/lib; do mount -t tmpfs tmpfs $place; done\n"
            f"mkdir /srv/volflow && mount --bind {site.repository} /srv/volflow\n"
            f"mkdir /media/stick && cp {site.password_file} /media/stick/password",
        )
        self.log_in(shell)
        return shell

    def log_in(self, shell: Shell) -> None:
        for name, value in self.site.environment.items():
            if name.startswith("OS_"):
                shell.type(f"export {name}={shlex.quote(value)}")

    def log_out(self, shell: Shell) -> None:
        shell.type("unset OS_CLOUD OS_CLIENT_CONFIG_FILE")


def test_every_command_on_the_page_works(shared_site: Site) -> None:
    printed = list(commands(PAGE))
    assert len(printed) > 40
    night = Night(shared_site)
    shell = night.sit_down()
    section = ""
    try:
        for one in printed:
            if one.section != section:
                print(f"\n--- {one.section}")
                if one.section in NO_CLOUD and section not in NO_CLOUD:
                    night.log_out(shell)
                elif one.section not in NO_CLOUD and section in NO_CLOUD:
                    night.log_in(shell)
                section = one.section
            _one(night, shell, one)
    finally:
        shell.close()
        # Another process made the restored volumes.
        for volume in night.site.cloud.client.volumes.list(search_opts={"all_tenants": 1}):
            night.site.cloud.adopt(volume.id)
    assert [str(finding) for finding in night.site.findings()] == []


def _one(night: Night, shell: Shell, one: Printed) -> None:
    """Create the situation on the page, run a command, and check its result."""
    command, cloud = one.command, night.site.cloud
    print(f"# {command}")
    with ExitStack() as around:
        if "--recreate-vol-on-error" in command:
            around.enter_context(cloud.attached(night.notes))
        if command == "volflow run resume --all":
            _interrupted(shell)
        if command == "volflow repository rebuild-catalogue":
            shell.type("rm -r /var/lib/volflow")
        told = shell.type(command)
    print(told)
    if command in _CHECKS:
        assert _CHECKS[command] in told, told
    if "--dry-run" in command:
        assert "Goes to" in told
    elif "restore create" in command and "--to-" not in command:
        assert "complete" in told
        assert "failed" not in told
    if "--yes" in command and "--into" not in command and "web" not in command:
        volume = cloud.on(night.notes, _read, read_only=True)
        assert volume == HOSTS
    looks = _LOOKS.get(command)
    if looks:
        shell.type(looks)


def _read(root: Path) -> str:
    return (root / "etc" / "hosts").read_text()


def _interrupted(shell: Shell) -> None:
    """A restore that is killed after it has begun."""
    begun = (
        "import sqlite3, sys; sys.exit(not sqlite3.connect('/var/lib/volflow/state.sqlite')"
        """.execute("SELECT 1 FROM run WHERE state = 'RUNNING'").fetchone())"""
    )
    shell.type(
        "volflow --quiet restore create notes --new >/srv/killed 2>&1 & pid=$!\n"
        f"until {shlex.quote(sys.executable)} -c {shlex.quote(begun)}; do sleep 0.1; done\n"
        "kill -KILL $pid; wait $pid; true"
    )
    assert "interrupted" in shell.type("volflow run list")


# Text that a command must print.
_CHECKS = {
    "volflow backup list": "web-1",
    "volflow backup ls notes": "/home",
    "volflow backup ls notes /etc": "/etc/hosts",
    "volflow backup diff $old notes": "/etc/hosts",
    "grep -r 10.0.0.1 /mnt/notes/etc": "10.0.0.1 db",
    "volflow run resume --all": "complete",
    "volflow backup list --long -f value -c Project | sort -u": OLD_PROJECT,
    "restic dump --tag name=notes latest /regions/0/etc/hosts": HOSTS,
    "volflow backup verify notes": "whole",
    "volflow backup verify --percent 5": "no errors were found",
}
_SAME = "printf %s {} | cmp - {}"
# Conditions that must hold after a command.
_LOOKS = {
    "ls -l /srv/found/etc /srv/found/home/anna": _SAME.format(
        shlex.quote(HOSTS), "/srv/found/etc/hosts"
    ),
    "volflow backup extract $old /etc/hosts --to /srv/before": _SAME.format(
        shlex.quote(OLDER), "/srv/before/etc/hosts"
    ),
    "volflow restore create notes --to-path /srv/notes": _SAME.format(
        shlex.quote(HOSTS), "/srv/notes/etc/hosts"
    ),
    "volflow restore create notes --to-image /srv/notes.img": (
        "mount -o loop,ro /srv/notes.img /mnt && "
        + _SAME.format(shlex.quote(HOSTS), "/mnt/etc/hosts")
        + " && umount /mnt"
    ),
    "ls /srv/plain/regions/0": _SAME.format(shlex.quote(HOSTS), "/srv/plain/regions/0/etc/hosts"),
}
