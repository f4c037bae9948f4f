"""Which options of a restore go together."""

from __future__ import annotations

from volflow.cloud.properties import check_overrides
from volflow.errors import UsageError
from volflow.results.options import Overwrite, RestoreOptions


def check_options(options: RestoreOptions, backups: int) -> None:
    """Make sure that the options of a restore go together.

    :param backups: the number of backups to restore
    :raises UsageError: two options exclude each other, or a value is not valid
    """
    if options.into is not None and (options.new or backups > 1):
        raise UsageError("--into takes one backup, and cannot be used with --new.")
    if options.into is not None and options.remove_old_vol:
        raise UsageError(
            "--remove-old-vol removes old volumes that new ones replace, but --into creates no new "
            "volume."
        )
    for option, given in (
        ("--keep-extra", options.keep_extra),
        (f"--overwrite {options.overwrite}", options.overwrite is not Overwrite.ALWAYS),
    ):
        if given and (options.new or options.grow):
            raise UsageError(
                f"{option} is for existing volumes, and cannot be used with --new or --grow."
            )
    if options.name is not None:
        _check_name(options, backups)
    if options.meta_override is not None:
        check_overrides(options.meta_override)


def _check_name(options: RestoreOptions, backups: int) -> None:
    if not options.new:
        raise UsageError("--name with a volume or a backup names the new volume: it needs --new.")
    if backups > 1:
        raise UsageError("--name names one new volume: restore one backup at a time.")
    if "name" in (options.meta_override or {}):
        raise UsageError("--name and the name in --meta-override exclude each other.")
    check_overrides({"name": options.name})
