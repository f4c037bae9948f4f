"""Every option of volflow.

oslo.config reads the options from ``/etc/volflow/volflow.conf`` and
``~/.config/volflow/volflow.conf``, or from the files given with ``--config-file``, and from the
environment: ``OS_REPOSITORY__LOCATION`` sets ``location`` in ``[repository]``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from oslo_config import cfg

from volflow import logs
from volflow.disk.signatures import SUPPORTED
from volflow.errors import ConfigError
from volflow.observers import hooks, metrics

DEFAULT_OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "state_dir",
        sample_default="/var/lib/volflow",
        help="Directory for the state database, locks and the mount point, created with mode 0700. "
        "Default: /var/lib/volflow for root, $XDG_STATE_HOME/volflow for others.",
    ),
    cfg.IntOpt(
        "keep_runs",
        default=90,
        min=1,
        help="Days to keep runs in the state database after they have ended. Each new run deletes "
        "a few older ones. A run with leftovers stays until they are removed. Backups are not "
        "deleted.",
    ),
]

STATE_OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "connection",
        secret=True,
        sample_default="sqlite:////var/lib/volflow/state.sqlite",
        help="SQLAlchemy URL of the state database. Default: SQLite in state_dir.",
    ),
]

CLOUD_OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "name",
        help="Cloud in clouds.yaml. --os-cloud, OS_CLOUD and OS_AUTH_URL take precedence.",
    ),
    cfg.StrOpt(
        "act_in",
        default="caller",
        choices=[
            ("caller", "The project of the login owns them; they use its quota."),
            ("tenant", "The volume's project owns them; the user needs a role in each project."),
        ],
        help="Which project owns the temporary snapshots and volumes when volumes of other "
        "projects are backed up. Restored volumes always belong to the project that they came "
        "from.",
    ),
    cfg.FloatOpt(
        "timeout",
        default=60.0,
        min=0.1,
        help="Timeout in seconds for a connection to an API and for each part of its answer.",
    ),
    cfg.FloatOpt(
        "patience",
        default=300.0,
        min=0.0,
        help="Seconds for which a request to Keystone or Cinder is repeated, from its first "
        "failure on, while the service cannot be reached, gives no valid answer, or asks to wait. "
        "0 means never.",
    ),
    cfg.ListOpt(
        "former_auth_urls",
        default=[],
        help="Earlier URLs of this cloud's Keystone. Runs that began under one of them can be "
        "resumed, aborted and cleaned up with the present URL.",
    ),
]

REPOSITORY_OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "location",
        help="Location of the repository as restic names it: a path, or sftp:, s3:, swift:, "
        "rest:, rclone:. restic takes the credentials of a storage service from the environment. "
        "If it contains {project_id}, each project has its own repository.",
    ),
    cfg.StrOpt(
        "password_file",
        help="File with the repository's password on its first line. If each project has its own "
        "repository, put {project_id} into the name to give each its own password.",
    ),
    cfg.StrOpt(
        "password_command",
        help="Command that prints the repository's password, instead of password_file. It may "
        "contain {project_id} too.",
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
        help="Seconds without progress after which a copy fails.",
    ),
    cfg.FloatOpt(
        "look_limit",
        default=60.0,
        min=1,
        help="Seconds without an answer of the repository after which a command that only looks at "
        "it fails.",
    ),
    cfg.BoolOpt(
        "native_images",
        default=True,
        help="Store and restore images without restic, in restic's format, which is several times "
        "as fast. Only for repositories of version 2 in a directory of this host; restic does it "
        "for all others.",
    ),
    cfg.StrOpt(
        "cache_dir",
        help="restic's cache directory. Default: a directory in state_dir.",
    ),
]

BACKUP_OPTS: list[cfg.Opt] = [
    cfg.IntOpt(
        "parallel",
        default=10,
        min=1,
        help="Maximum number of volumes in parallel.",
    ),
    cfg.FloatOpt(
        "full_every",
        default=7.0,
        min=0,
        help="Days after which a backup reads every file of a volume again, not only those that "
        "changed. It stores nothing twice. The volumes take turns. 0 means never.",
    ),
    cfg.ListOpt(
        "file_types",
        default=list(SUPPORTED),
        help="Types of file systems of which the files are stored, as blkid names them. All others "
        "are stored as images.",
    ),
    cfg.ListOpt(
        "image_types",
        default=[],
        help="Types of file systems that are stored as images nevertheless.",
    ),
]

WAIT_OPTS: list[cfg.Opt] = [
    cfg.FloatOpt(
        "interval",
        default=0.25,
        min=0.01,
        help="Seconds between the first two polls of a resource; the interval grows.",
    ),
    cfg.FloatOpt(
        "interval_max",
        default=2.0,
        min=0.01,
        help="Maximum number of seconds between two polls.",
    ),
    cfg.FloatOpt(
        "limit",
        default=600.0,
        min=1,
        help="Seconds for which a resource may stay in a transitional state.",
    ),
    cfg.FloatOpt(
        "limit_per_gib",
        default=30.0,
        min=0,
        help="Additional seconds for each GiB of the volume.",
    ),
]

HOST_OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "root_helper",
        default="sudo -n",
        help="Prefix for privileged commands if volflow does not run as root.",
    ),
    cfg.StrOpt(
        "my_ip",
        default="127.0.0.1",
        help="Address of this host as the storage sees it, for back ends that need it.",
    ),
    cfg.FloatOpt(
        "look_limit",
        default=120.0,
        min=1,
        help="Seconds without progress after which a program fails that looks at a device, mounts "
        "it or unmounts it.",
    ),
    cfg.FloatOpt(
        "work_limit",
        default=1800.0,
        min=1,
        help="Seconds without progress after which a program fails that works on a volume for "
        "longer, for example makes a file system.",
    ),
    cfg.BoolOpt("multipath", default=False, help="Attach through all paths to the storage."),
    cfg.BoolOpt(
        "enforce_multipath",
        default=False,
        help="Fail if multipathd does not run, instead of attaching through a single path.",
    ),
    cfg.StrOpt(
        "lock_path",
        help="os-brick's lock directory. Must be that of nova-compute and cinder-volume if they "
        "run on this host. Default: a directory in state_dir.",
    ),
    cfg.IntOpt(
        "device_scan_attempts",
        default=3,
        min=1,
        help="How many times os-brick scans for the device of a new attachment.",
    ),
]

QUIESCE_OPTS: list[cfg.Opt] = [
    cfg.Opt(
        "pre_command",
        type=hooks.CommandLine(),
        help="Command to run before the snapshot of a volume or a group is requested, without a "
        "shell. It freezes the servers that use the volumes, and finds their ids in variables "
        "named VOLFLOW_*. Needs post_command.",
    ),
    cfg.Opt(
        "post_command",
        type=hooks.CommandLine(),
        help="Command to run when the snapshot is made. It thaws what pre_command has frozen. It "
        "also runs when pre_command or the snapshot fails, and when volflow is stopped or killed. "
        "It is repeated twice if it fails.",
    ),
    cfg.FloatOpt(
        "limit",
        default=30.0,
        min=0.1,
        help="Seconds from the beginning of pre_command until post_command runs in any case. If "
        "the snapshot is not made by then, the result says that it may not be consistent.",
    ),
    cfg.FloatOpt(
        "command_limit",
        default=15.0,
        min=0.1,
        help="Seconds after which one of the commands is ended, and counts as failed.",
    ),
    cfg.StrOpt(
        "on_failure",
        default="error",
        choices=[
            ("error", "The volume or group is not backed up."),
            ("warning", "It is backed up nevertheless, and the result says why not quiesced."),
        ],
        help="What happens if pre_command fails.",
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
    ("quiesce", QUIESCE_OPTS),
    ("hooks", hooks.OPTS),
    ("metrics", metrics.OPTS),
]


# What oslo.config says of a wrong value: where it is set, and why it is wrong.
_WRONG = re.compile(
    r"detail=(?P<quote>['\"])(?P<place>.*)(?P=quote)\) is not valid: (?P<why>.*)", re.S
)
_REASONS = [
    (re.compile(r"could not convert string to float: ('.*')", re.S), "is not a number"),
    (
        re.compile(r"invalid literal for int\(\) with base 10: ('.*')", re.S),
        "is not a whole number",
    ),
    (re.compile(r"Unexpected boolean value ('.*')", re.S), "is neither true nor false"),
    (re.compile(r"Should be greater than or equal to (.*)"), "it must be at least"),
    (re.compile(r"Should be less than or equal to (.*)"), "it must be at most"),
]


def list_opts() -> list[tuple[str | None, list[cfg.Opt]]]:
    """Return the options by group, for oslo-config-generator and the reference in docs/."""
    return _GROUPS


def default_config_files() -> list[str]:
    """Return the configuration files that are read by default and exist."""
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    candidates = [Path("/etc/volflow/volflow.conf"), home / "volflow" / "volflow.conf"]
    return [str(path) for path in candidates if path.is_file()]


def load(config_files: Sequence[str] | None = None) -> cfg.ConfigOpts:
    """Read the configuration.

    :param config_files: files to read instead of the default ones
    :raises ConfigError: a file is missing, or an option in it is wrong
    """
    conf = cfg.ConfigOpts()
    for group, options in _GROUPS:
        conf.register_opts(options, group=group)
    logs.register(conf)
    if isinstance(config_files, str):
        raise ConfigError(f"'{config_files}' is one configuration file; give a list of them.")
    files = default_config_files() if config_files is None else list(config_files)
    try:
        conf([], project="volflow", default_config_files=files, default_config_dirs=[])
        # oslo.config checks a value only when it is read: read all of them now.
        for group, options in _GROUPS:
            for option in options:
                _check(conf, group, option.name)
    except (cfg.Error, ValueError) as error:
        raise ConfigError(f"Configuration: {error}") from error
    if bool(conf.quiesce.pre_command) != bool(conf.quiesce.post_command):
        raise ConfigError(
            "pre_command and post_command in [quiesce] need each other: set both. What needs no "
            "thaw, or no freeze, can have the command 'true' for it."
        )
    return conf


def _check(conf: cfg.ConfigOpts, group: str | None, name: str) -> None:
    """Make sure that the value of an option can be used.

    :raises ConfigError: it cannot; says where it is set
    :raises oslo_config.cfg.Error: it cannot, and oslo.config says why in words of its own
    """
    try:
        (conf[group] if group else conf)[name]
    except cfg.ConfigSourceValueError as error:
        found = _WRONG.search(str(error))
        if found is None:
            raise
        variable = f"OS_{group or 'default'}__{name}".upper()
        # oslo.config names the file even if the variable overrides it.
        in_file = f"{name} in [{group or 'DEFAULT'}] of {found['place']}"
        where = variable if variable in os.environ else in_file
        raise ConfigError(f"{where}: {_reason(found['why'])}.") from error


def _reason(why: str) -> str:
    """Why a value is wrong, in plain words where those of oslo.config and Python are known."""
    for pattern, words in _REASONS:
        if found := pattern.fullmatch(why):
            return f"{found[1]} {words}" if found[1].startswith("'") else f"{words} {found[1]}"
    return why.rstrip(".")


def state_dir(conf: cfg.ConfigOpts) -> Path:
    """Return the directory for state, locks and the mount point."""
    if conf.state_dir:
        return Path(conf.state_dir)
    if os.geteuid() == 0:
        return Path("/var/lib/volflow")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "volflow"


def state_url(conf: cfg.ConfigOpts) -> str:
    """Return the SQLAlchemy URL of the state database."""
    return conf.state.connection or f"sqlite:///{state_dir(conf) / 'state.sqlite'}"
