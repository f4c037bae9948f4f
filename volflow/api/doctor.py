"""Checks of this host and of the cloud: what would make a run fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from persistence import StateError
from volflow.cloud.patience import impatient
from volflow.cloud.quotas import counted
from volflow.context import Context
from volflow.disk import filesystem, full
from volflow.errors import HostError, QuotaError, RepositoryError, VolflowError
from volflow.host import activation
from volflow.host.freeze import Quiesce
from volflow.host.privilege import find_program
from volflow.movers.base import STORES_WITH
from volflow.plans.quota import by_type, type_suffix
from volflow.report.words import binary, plural
from volflow.repositories.backups import doubts

# The Debian package of each program that runs use.
_PACKAGES = {
    "blkid": "util-linux",
    "debugfs": "e2fsprogs",
    "df": "coreutils",
    "dumpe2fs": "e2fsprogs",
    "find": "findutils",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "mount": "mount",
    "nsenter": "util-linux",
    "od": "coreutils",
    "setpriv": "util-linux",
    "sfdisk": "fdisk",
    "stat": "coreutils",
    "truncate": "coreutils",
    "tune2fs": "e2fsprogs",
    "umount": "mount",
    "unshare": "util-linux",
    "wipefs": "util-linux",
    "xfs_admin": "xfsprogs",
    "xfs_db": "xfsprogs",
}


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    :ivar check: its name
    :ivar good: whether it passed
    :ivar text: what was found; or what is wrong, and what to do
    """

    check: str
    good: bool
    text: str


def examine(context: Context) -> Iterator[Finding]:
    """Check everything that a run needs. Creates nothing but the state directory."""
    quiesce = [("quiesce", _quiesce)] if context.conf.quiesce.pre_command else []
    for check, look in (
        ("privilege", _privilege),
        ("programs", _programs),
        ("file systems", _file_systems),
        ("guests", _guests),
        ("os-brick", _os_brick),
        ("restic", _restic),
        ("repository", _repository),
        ("state", _state),
        ("cloud", _cloud),
        ("quota", _quota),
        *quiesce,
    ):
        yield _finding(check, look, context)


def _finding(check: str, look: Callable[[Context], str], context: Context) -> Finding:
    try:
        with impatient():
            return Finding(check, True, look(context))
    except (VolflowError, StateError) as error:
        return Finding(check, False, str(error))


def _privilege(context: Context) -> str:
    context.host.privilege.check()
    return "volumes can be attached and mounted"


def _programs(context: Context) -> str:
    wanted = {name for names in filesystem.PROGRAMS.values() for name in names} | set(_PACKAGES)
    missing = sorted(name for name in wanted if find_program(name) is None)
    if missing:
        packages = ", ".join(sorted({_PACKAGES[name] for name in missing}))
        raise HostError(f"missing: {', '.join(missing)}; install: {packages}")
    return "all are installed"


def _file_systems(context: Context) -> str:
    found = []
    for kind, lacks in context.rehearsal.abilities().items():
        by_reason: dict[str, list[str]] = {}
        for name, why in lacks.items():
            who, _, _ = why.partition(" of this host")
            by_reason.setdefault(who, []).append(name)
        without = " or ".join(f"{', '.join(n)} ({who})" for who, n in by_reason.items())
        found.append(f"{kind} without {without}" if lacks else kind)
    unknown = context.rehearsal.unknown
    known = f"; what the kernel can mount is unknown, because {unknown}" if unknown else ""
    return f"can create {' and '.join(found)}{known}"


def _guests(context: Context) -> str:
    return activation.require_none(context.host.privilege)


def _os_brick(context: Context) -> str:
    properties = context.host.connector.properties()
    initiator = properties.get("initiator")
    return f"host {properties['host']}, " + (
        f"iSCSI initiator {initiator}" if initiator else "no iSCSI initiator"
    )


def _restic(context: Context) -> str:
    mover = context.repositories.of()
    mover.check()
    return f"version {mover.version}"


def _repository(context: Context) -> str:
    mover = context.repositories.of()
    stored = mover.backups()
    # Backups can be restored from a read-only one, but none can be stored.
    mover.check_writable()
    if path := mover.local_path:
        for room in full.look(context.host.privilege, [path]):
            if problem := room.problem(STORES_WITH):
                raise RepositoryError(
                    f"The repository {mover.location} {problem}. A backup needs at least "
                    f"{binary(STORES_WITH)} there. Free some space, or enlarge the file system."
                )
    if odd := [backup for backup in stored if backup.of_the_future()]:
        raise RepositoryError(" ".join(doubts(odd)))
    return f"{mover.location} holds {plural(len(stored), 'backup')}"


def _quiesce(context: Context) -> str:
    quiesce = Quiesce.from_config(context.conf)
    if quiesce is None:
        return "is off"
    quiesce.check()
    return f"'{quiesce.pre[0]}' and '{quiesce.post[0]}' can be executed"


def _state(context: Context) -> str:
    return context.state.url


def _cloud(context: Context) -> str:
    cinder = context.cloud.cinder
    found = f"Cinder API {cinder.version.get_string()}, project {cinder.project_id}"
    end = cinder.login_end()
    if end is None:
        return found
    # The import takes long, and this module is imported for every command.
    from volflow.cloud.credentials import ends

    return f"{found}. {ends(end)}"


def _quota(context: Context) -> str:
    cinder = context.cloud.cinder
    left = cinder.quotas.left()
    # The smallest volume temporarily needs a snapshot and a volume of 1 GiB.
    for name, quota in by_type(left):
        if not quota.holds(1, 1, 2):
            raise QuotaError(
                f"The quota of project {cinder.project_id}{type_suffix(name)} is too "
                "small even for the temporary snapshot and volume of a 1 GiB volume; left: "
                f"{quota}. Request more quota, or free some."
            )

    def shown(value: int | None, what: str) -> str:
        noun = what if what == "GiB" else f"{what}s"
        return f"unlimited {noun}" if value is None else counted(value, what)

    return (
        f"left for temporary resources: {shown(left.volumes, 'volume')}, "
        f"{shown(left.snapshots, 'snapshot')}, {shown(left.gigabytes, 'GiB')}"
    )
