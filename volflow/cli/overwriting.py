"""What a restore overwrites, in words: what a person must know before agreeing to it."""

from __future__ import annotations

from datetime import UTC, datetime

from volflow import Overwrite, RestoreOptions, RestorePlan, RestoreTarget, StoredBackup, times
from volflow.report.words import age, plural


def overwriting(plan: RestorePlan, now: datetime | None = None) -> list[str]:
    """Lines that say which volumes are overwritten, what is on them, and what will be.

    :param now: the present by default
    """
    now = now or datetime.now(UTC)
    return [
        line
        for target in plan.targets
        if target.overwritten
        for line in (
            f"Volume {target.overwritten} will be overwritten: {_volume(target)}.",
            f"  On it: {_content(target, plan, now)}.",
            f"  With: backup {target.backup.id[:8]}, {_of(target.backup, now)}.",
            f"  {_fate(plan.options)}",
        )
    ]


def _volume(target: RestoreTarget) -> str:
    assert target.existing is not None
    volume = target.existing
    project = volume.get("os-vol-tenant-attr:tenant_id") or target.project_id
    attached = len(volume["attachments"])
    changed = times.moment_of(str(volume.get("updated_at") or volume.get("created_at") or ""))
    parts = [
        f"'{volume['name']}'" if volume["name"] else "without a name",
        f"project {project or 'unknown'}",
        f"{volume['size']} GiB",
        plural(attached, "attachment") if attached else "not attached",
    ]
    if changed:
        parts.append(f"last attached or changed {times.local(changed)}")
    return ", ".join(parts)


def _content(target: RestoreTarget, plan: RestorePlan, now: datetime) -> str:
    """What is known of the volume's content without attaching it."""
    assert target.existing is not None
    image = (target.existing.get("volume_image_metadata") or {}).get("image_name")
    found = []
    if image:
        found.append(f"made from image '{image}', so probably a partition table")
    elif str(target.existing.get("bootable")).lower() == "true":
        found.append("bootable, so probably a partition table")
    last = plan.last_backups.get(target.key)
    if last:
        kinds = " and ".join(last.file_systems) or "an unknown file system"
        found.append(f"{kinds} at its last backup, {last.backup.id[:8]}, {_of(last.backup, now)}")
    else:
        found.append("unknown, because it has no backup")
    return "; ".join(found)


def _of(backup: StoredBackup, now: datetime) -> str:
    taken = backup.taken_at
    return f"of {times.local(taken)}, {age((now - taken).total_seconds())} ago"


def _fate(options: RestoreOptions) -> str:
    """What becomes of the files on the volume."""
    if not options.merges:
        return "Everything on it is lost, also what was written after the backup."
    files = {
        Overwrite.ALWAYS: "The files of the backup replace those on it, newer ones too",
        Overwrite.IF_NEWER: "The files of the backup replace those on it, except newer ones",
        Overwrite.NEVER: "Only files that are missing on it are restored",
    }[options.overwrite]
    extra = "stay" if options.keep_extra else "are removed"
    return f"{files}; files that the backup does not have {extra}."
