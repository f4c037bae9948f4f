"""A restore or a command that cannot work is refused, and nothing is made or changed."""

from __future__ import annotations

import pytest

from tests.support.ground import Ground

pytestmark = pytest.mark.lab

ANOTHER_RUN = "0c3f1a52-7d8e-4b96-a1f0-5e2d4c6b8a97"


# Restores


def test_an_unknown_backup_is_refused(ground: Ground) -> None:
    says = "No backup, and no volume with a backup, has the id or name 'nothing'.*backup list"
    ground.refused("restore", "create", "--yes", "nothing", says=says)


def test_an_attached_target_is_refused(ground: Ground) -> None:
    with ground.site.cloud.attached(ground.volume):
        says = f"{ground.volume}.* is attached: .*Detach it first, restore .*--new"
        ground.refused("restore", "create", "--yes", ground.backup, says=says)


def test_a_target_that_is_too_small_is_refused(ground: Ground) -> None:
    large = ground.site.cloud.create(2, name="large")
    ground.site.cloud.format(large, "xfs")
    backup = ground.site.backup(large).volumes[0].backup_id
    small = ground.site.cloud.create(1, name="small")
    says = f"{small}.* has 1 GiB, and the volume of the backup had 2 GiB: extend it to 2 GiB"
    ground.refused("restore", "create", "--yes", "--into", "small", backup, says=says)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--new", "--type-map", "lba=lab"], "--type-map lba=.*none .* has 'lba'; .*: lab"),
        (["--new", "--az-map", "nvoa=nova"], "--az-map nvoa=.*none .* has 'nvoa'; .*: nova"),
        (["--into", "good", "--remove-old-vol"], "--into creates no new volume"),
        (
            ["--remove-old-vol"],
            "all of these are restored in place. Use --new to create new volumes",
        ),
    ],
    ids=["type-map", "az-map", "into", "in place"],
)
def test_an_option_without_effect_is_refused(ground: Ground, options: list[str], says: str) -> None:
    ground.refused(*("restore", "create", "--yes", *options, ground.backup), says=says, status=2)


def test_the_library_refuses_an_empty_name(ground: Ground) -> None:
    """An empty name must not count as no name."""
    from volflow.errors import UsageError
    from volflow.results.options import RestoreOptions

    with ground.site.volflow() as volflow:
        with pytest.raises(UsageError, match="name of a volume is empty"):
            volflow.restores.plan([ground.backup], RestoreOptions(into=""))
        for plan in (volflow.restores.plan, lambda what: volflow.backups.create(what)):
            with pytest.raises(UsageError, match="empty name or id selects nothing"):
                plan([""])


def test_a_target_in_maintenance_is_refused(ground: Ground) -> None:
    ground.site.cloud.client.volumes.reset_state(ground.volume, "maintenance")
    try:
        says = "is 'maintenance'; it must be 'available'"
        ground.refused("restore", "create", "--yes", ground.backup, says=says)
    finally:
        ground.site.cloud.client.volumes.reset_state(ground.volume, "available")


def test_a_target_that_another_run_claims_is_refused(ground: Ground) -> None:
    client = ground.site.cloud.client
    client.volumes.set_metadata(ground.volume, {"volflow": f"{ANOTHER_RUN}/{ground.volume}/claim"})
    try:
        done = ground.site.cli("restore", "create", "--yes", ground.backup)
        assert done.returncode == 1, done
        assert "is being restored by another run of volflow" in done.stderr
        assert ground.site.cloud.show(ground.volume)["metadata"] == {
            "volflow": f"{ANOTHER_RUN}/{ground.volume}/claim"
        }
    finally:
        client.volumes.delete_metadata(ground.volume, ["volflow"])


def test_nothing_is_overwritten_without_consent(ground: Ground) -> None:
    before = ground.made()
    done = ground.site.cli("restore", "create", ground.backup)
    assert done.returncode == 2, done
    told = done.stderr.strip().splitlines()
    assert f"Volume {ground.volume} will be overwritten" in told[0]
    assert "On it: ext4 at its last backup" in told[1]
    assert "--yes" in told[-1]
    assert ground.made() == before


# The command line


@pytest.mark.parametrize(
    "arguments",
    [
        ["backup", "create"],
        ["backup", "create", "--parallel", "0", "good"],
        ["restore", "create", "--new", "--into", "good", "good"],
        # As in a script with an unset variable: volflow must not use a default instead.
        ["restore", "create", "--yes", "--into", "", "good"],
        ["restore", "create", "--yes", ""],
        ["restore", "create", "--new", "--type-map", "lab=", "good"],
        ["restore", "create", "--yes", "--group", "", "good"],
        ["backup", "create", ""],
        ["backup", "create", "good", ""],
        ["backup", "create", "--all", "--name", ""],
        ["backup", "create", "--all", "--exclude", ""],
        ["backup", "list", "--volume", ""],
        ["--repository", "", "backup", "list"],
        ["--state-dir", "", "run", "list"],
        ["backup", "verify", "--percent", "5", "good"],
        ["run", "resume"],
        ["backup", "make"],
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_refused(ground: Ground, arguments: list[str]) -> None:
    before = ground.made()
    done = ground.site.cli(*arguments)
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    assert ground.made() == before


def test_an_unknown_run_is_refused(ground: Ground) -> None:
    ground.refused("run", "resume", "nothing", says="nothing")
