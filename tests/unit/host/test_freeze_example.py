"""The commands of the documentation that freeze servers, with stand-ins for Nova and libvirt."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "docs/examples/volflow-quiesce"
# Servers by name; two volumes.
VOLUMES = "volume-1,volume-2"

OPENSTACK = """#!/bin/sh
for server; do :; done
echo "compute-of-$server"
"""
SSH = """#!/bin/sh
# ssh -n -o ... -o ... HOST virsh -c URI COMMAND SERVER
shift 5
echo "$1 $5 $6" >> "$(dirname "$0")/calls"
case $5 in
dumpxml) echo "<disk><serial>$(cat "$(dirname "$0")/disk-of-$6")</serial></disk>" ;;
domstate) [ "$6" = off ] && echo "shut off" || echo running ;;
*) [ ! -e "$(dirname "$0")/no-agent-in-$6" ] ;;
esac
"""


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    for name, text in (("openstack", OPENSTACK), ("ssh", SSH)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    script = SCRIPT.read_text().replace("/run/volflow-quiesce", str(tmp_path / "notes"))
    (tmp_path / "quiesce").write_text(script)
    return tmp_path


def run(tools: Path, stage: str, *servers: str) -> int:
    return subprocess.run(
        ["sh", tools / "quiesce"],
        env={
            "PATH": f"{tools}:{os.defpath}",
            "VOLFLOW_QUIESCE": stage,
            "VOLFLOW_RUN": "run",
            "VOLFLOW_VOLUME": "",
            "VOLFLOW_GROUP": "group",
            "VOLFLOW_VOLUMES": VOLUMES,
            "VOLFLOW_SERVERS": ",".join(servers),
        },
        check=False,
    ).returncode


def calls(tools: Path, what: str) -> list[str]:
    """The servers that were frozen or thawed, with their hosts."""
    lines = [line.split() for line in (tools / "calls").read_text().splitlines()]
    return [f"{server} on {host}" for host, command, server in lines if command == what]


def test_each_server_that_runs_is_frozen_and_thawed(tools: Path) -> None:
    for server, volume in (("a", "volume-1"), ("b", "volume-2"), ("off", "volume-2")):
        (tools / f"disk-of-{server}").write_text(volume)
    assert run(tools, "pre", "a", "b", "off") == 0
    both = ["a on compute-of-a", "b on compute-of-b"]
    assert calls(tools, "domfsfreeze") == both
    assert run(tools, "post", "a", "b", "off") == 0
    assert calls(tools, "domfsthaw") == both
    # A second thaw has nothing to do.
    assert run(tools, "post", "a", "b", "off") == 0
    assert calls(tools, "domfsthaw") == both


def test_a_server_without_the_volume_is_not_frozen(tools: Path) -> None:
    """A tenant has recorded somebody else's server at the own volume."""
    (tools / "disk-of-a").write_text("another-volume")
    assert run(tools, "pre", "a") != 0
    assert calls(tools, "domfsfreeze") == []


def test_a_freeze_without_an_answer_is_thawed_too(tools: Path) -> None:
    for server in ("a", "b"):
        (tools / f"disk-of-{server}").write_text("volume-1")
    (tools / "no-agent-in-a").touch()
    assert run(tools, "pre", "a", "b") != 0
    assert run(tools, "post", "a", "b") != 0
    assert calls(tools, "domfsthaw") == ["a on compute-of-a"]
    (tools / "no-agent-in-a").unlink()
    assert run(tools, "post", "a", "b") == 0
