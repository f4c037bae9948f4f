"""Which options of a restore go together."""

from __future__ import annotations

from volflow.cloud.properties import check_overrides
from volflow.errors import UsageError
from volflow.results.options import RestoreOptions


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
    if options.keep_newer and (options.new or options.grow):
        raise UsageError(
            "--keep-newer is for existing volumes, and cannot be used with --new or --grow."
        )
    if options.meta_override is not None:
        check_overrides(options.meta_override)
