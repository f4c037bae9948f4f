"""Every option of volflow, in one place.

Options are read from ``/etc/volflow/volflow.conf`` or ``~/.config/volflow/volflow.conf``, from
the file given with ``--config-file``, and from the environment as oslo.config does it:
``OS_REPOSITORY__LOCATION`` sets ``location`` in ``[repository]``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from oslo_config import cfg

from volflow import logs
from volflow.errors import ConfigError
from volflow.observers import hooks, metrics

DEFAULT_OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "state_dir",
        sample_default="/var/lib/volflow",
        help="Directory for the state database, locks and the mount point. Made with mode 0700. "
        "Defaults to /var/lib/volflow for root and to $XDG_STATE_HOME/volflow for others.",
    ),
    cfg.IntOpt(
        "keep_runs",
        default=90,
        min=1,
        help="Days for which runs that have ended stay in the state database. Older ones are "
        "forgotten when a run begins, a few each time. A run of which something is left over "
        "stays until that is removed. Backups are not touched.",
    ),
]

STATE_OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "connection",
        secret=True,
        sample_default="sqlite:////var/lib/volflow/state.sqlite",
        help="SQLAlchemy URL of the state database. SQLite in state_dir unless set.",
    ),
]

CLOUD_OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "name",
        help="Cloud in clouds.yaml to use where nothing else names one: --os-cloud, OS_CLOUD and "
        "OS_AUTH_URL come first.",
    ),
    cfg.StrOpt(
        "act_in",
        default="caller",
        choices=[
            ("caller", "The project of the login owns them, and its quota holds them."),
            ("tenant", "The volume's own project does; the user needs a role in each project."),
        ],
        help="Whose the temporary snapshots and volumes of a backup of other projects are. "
        "Restored volumes always belong to the project that they came from.",
    ),
    cfg.FloatOpt(
        "timeout",
        default=60.0,
        min=0.1,
        help="Seconds to wait for a connection to an API, and for each part of its answer.",
    ),
]

REPOSITORY_OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "location",
        help="restic's name of the repository: a path, or sftp:, s3:, swift:, rest:, rclone:. "
        "Credentials of a storage service are taken from the environment, as restic does. With "
        "{project_id} in it each project has a repository of its own.",
    ),
    cfg.StrOpt(
        "password_file",
        help="File with the repository's password on its first line. Give each project its own, "
        "with {project_id} in the name, where each has a repository of its own.",
    ),
    cfg.StrOpt(
        "password_command",
        help="Command that prints the repository's password, instead of password_file; it may "
        "have {project_id} in it too.",
    ),
    cfg.StrOpt(
        "restic",
        default="restic",
        help="The restic program: a name on the PATH, or a path.",
    ),
    cfg.ListOpt(
        "options",
        default=[],
        help="Extended options for restic (its -o), for example sftp.command=...",
    ),
    cfg.FloatOpt(
        "stall_limit",
        default=1800.0,
        min=1,
        help="Seconds without any progress after which a copy is ended and counts as failed.",
    ),
    cfg.StrOpt(
        "cache_dir",
        help="restic's cache directory. restic chooses one unless set.",
    ),
]

BACKUP_OPTS: list[cfg.Opt] = [
    cfg.IntOpt(
        "parallel",
        default=10,
        min=1,
        help="How many volumes are worked on side by side, at most.",
    ),
]

WAIT_OPTS: list[cfg.Opt] = [
    cfg.FloatOpt(
        "interval",
        default=0.25,
        min=0.01,
        help="Seconds between the first two looks at a resource; it grows from look to look.",
    ),
    cfg.FloatOpt(
        "interval_max",
        default=2.0,
        min=0.01,
        help="Seconds between two looks, at most.",
    ),
    cfg.FloatOpt(
        "limit",
        default=600.0,
        min=1,
        help="Seconds that a resource of no size may stay in a transitional state.",
    ),
    cfg.FloatOpt(
        "limit_per_gib",
        default=30.0,
        min=0,
        help="Seconds more for each GiB of the volume.",
    ),
]

HOST_OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "root_helper",
        default="sudo -n",
        help="Command put before privileged commands where volflow does not run as root.",
    ),
    cfg.StrOpt(
        "my_ip",
        default="127.0.0.1",
        help="Address of this host that the storage sees, for back ends that ask for it.",
    ),
    cfg.BoolOpt("multipath", default=False, help="Attach over all paths to the storage."),
    cfg.BoolOpt(
        "enforce_multipath",
        default=False,
        help="Fail where multipathd does not run, instead of attaching over a single path.",
    ),
    cfg.StrOpt(
        "lock_path",
        help="os-brick's lock directory. Must be nova-compute's and cinder-volume's where they "
        "run on this host too. A directory in state_dir unless set.",
    ),
    cfg.IntOpt(
        "device_scan_attempts",
        default=3,
        min=1,
        help="How often os-brick looks for the device of a new attachment.",
    ),
]

_GROUPS: list[tuple[str | None, list[cfg.Opt]]] = [
    (None, DEFAULT_OPTS),
    ("state", STATE_OPTS),
    ("cloud", CLOUD_OPTS),
    ("repository", REPOSITORY_OPTS),
    ("backup", BACKUP_OPTS),
    ("wait", WAIT_OPTS),
    ("host", HOST_OPTS),
    ("hooks", hooks.OPTS),
    ("metrics", metrics.OPTS),
]


def list_opts() -> list[tuple[str | None, list[cfg.Opt]]]:
    """The options by group, for oslo-config-generator and the reference in docs/."""
    return _GROUPS


def default_config_files() -> list[str]:
    """The configuration files that exist of those that are read without being named."""
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    candidates = [Path("/etc/volflow/volflow.conf"), home / "volflow" / "volflow.conf"]
    return [str(path) for path in candidates if path.is_file()]


def load(config_files: Sequence[str] | None = None) -> cfg.ConfigOpts:
    """Read the configuration.

    :param config_files: files to read instead of those that are read without being named
    :raises ConfigError: a file is missing, or an option in it is wrong
    """
    conf = cfg.ConfigOpts()
    for group, options in _GROUPS:
        conf.register_opts(options, group=group)
    logs.register(conf)
    files = default_config_files() if config_files is None else list(config_files)
    try:
        conf([], project="volflow", default_config_files=files, default_config_dirs=[])
        # A wrong value is noticed by oslo.config when it is read: read all of them now.
        for group, options in _GROUPS:
            for option in options:
                (conf[group] if group else conf)[option.name]
    except (cfg.Error, ValueError) as error:
        raise ConfigError(f"Configuration: {error}") from error
    return conf


def state_dir(conf: cfg.ConfigOpts) -> Path:
    """The directory for state, locks and the mount point."""
    if conf.state_dir:
        return Path(conf.state_dir)
    if os.geteuid() == 0:
        return Path("/var/lib/volflow")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "volflow"


def state_url(conf: cfg.ConfigOpts) -> str:
    """The SQLAlchemy URL of the state database."""
    return conf.state.connection or f"sqlite:///{state_dir(conf) / 'state.sqlite'}"
