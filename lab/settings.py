"""One lab: its directory, the names in it, and Cinder's configuration."""

from __future__ import annotations

import configparser
import io
import json
import os
import secrets
import sys
import sysconfig
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

USER = "lab"
#: Cinder requires hexadecimal project ids.
PROJECT = "1ab00000000000000000000000000001"
INTERNAL_PROJECT = "1ab00000000000000000000000000002"

#: Backend -> availability zone. Both live in the same pool.
BACKENDS = {"one": "nova", "two": "second"}
BACKEND_NAME = "lab"

VOLUME_TYPE = "lab"
MULTIATTACH_TYPE = "lab-multiattach"

DEFAULT_SIZE_GIB = 200

#: The lab listens on this machine only.
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def default_directory() -> Path:
    """The default directory of the lab."""
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "volflow-lab"


def cache_directory() -> Path:
    """The cache of prepared databases; it may be removed at any time."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "volflow-lab"


@dataclass(frozen=True)
class Directory:
    """A lab's directory and the names in it: all of the lab's state outside the kernel."""

    path: Path

    @property
    def record(self) -> Path:
        """The file that `down` needs; written first, removed last. It marks a lab's directory."""
        return self.path / "lab.json"

    @property
    def unfinished(self) -> Path:
        """Exists until `up` has done all of its work."""
        return self.path / "unfinished"

    @property
    def clouds(self) -> Path:
        """The clouds.yaml for the users of the lab."""
        return self.path / "clouds.yaml"

    @property
    def passwords(self) -> Path:
        """The passwords of Keystone's users."""
        return self.path / "passwords.json"

    @property
    def pool_file(self) -> Path:
        """The sparse file that holds the pool."""
        return self.path / "pool.img"

    @property
    def pool_mount(self) -> Path:
        """The mount point of the pool."""
        return self.path / "pool"

    @property
    def logs(self) -> Path:
        """The log files."""
        return self.path / "log"

    def database(self, service: str) -> Path:
        """The SQLite database of a service."""
        return self.path / f"{service}.sqlite"

    def configuration(self, service: str) -> Path:
        """The configuration file of a service."""
        return self.path / f"{service}.conf"

    def options(self, service: str) -> list[str]:
        """The command line that makes a service read this configuration and no other.

        Without --config-dir the service would also read the directories in /etc, which are not
        empty on a machine with its own Cinder.
        """
        file = self.configuration(service)
        return ["--config-file", str(file), "--config-dir", str(self.extra_configuration)]

    @property
    def extra_configuration(self) -> Path:
        """An empty directory."""
        return self.path / "conf.d"

    @property
    def backups(self) -> Path:
        """The backups of cinder-backup."""
        return self.path / "backups"

    @property
    def policy(self) -> Path:
        """Policy rules: none, so that each service uses its defaults."""
        return self.path / "policy.yaml"

    def pid_file(self, service: str) -> Path:
        """Process id and start time of a service."""
        return self.path / f"{service}.pid"


@dataclass(frozen=True)
class Record:
    """Identifies one lab and everything that belongs to it."""

    size_gib: int = DEFAULT_SIZE_GIB
    cinder_port: int = 0
    keystone_port: int | None = None
    direct_io: bool = False
    #: Lifetime of tokens; None is Keystone's default.
    token_seconds: int | None = None
    #: Maximum number of resources in one reply; None is Cinder's default.
    page: int | None = None
    #: Compression of cinder-backup; None is a lab without cinder-backup.
    backup: str | None = None
    #: In the environment of every process of this lab: `down` finds those without a pid file.
    token: str = field(default_factory=lambda: secrets.token_hex(16))

    def write(self, directory: Directory) -> None:
        """Write the record atomically."""
        write_private(json.dumps(asdict(self), indent=2) + "\n", directory.record)

    @classmethod
    def read(cls, directory: Directory) -> Record:
        """Read the record; `FileNotFoundError` if there is no lab."""
        stored = json.loads(directory.record.read_text())
        known = {each.name for each in fields(cls)}
        # An older or newer version of this package may have made the lab.
        return cls(**{name: value for name, value in stored.items() if name in known})

    @property
    def cinder_url(self) -> str:
        """Cinder's endpoint, without a project."""
        return f"http://127.0.0.1:{self.cinder_port}/v3"

    @property
    def cinder_root(self) -> str:
        """The URL where Cinder lists its versions without authentication."""
        return f"http://127.0.0.1:{self.cinder_port}/"

    @property
    def keystone_url(self) -> str | None:
        """Keystone's endpoint, if there is one."""
        return f"http://127.0.0.1:{self.keystone_port}/v3" if self.keystone_port else None


def sqlite_url(file: Path) -> str:
    """The database URL of a SQLite file; it waits up to 60 seconds for a lock."""
    return f"sqlite:///{file}?timeout=60"


def data_file(name: str) -> Path:
    """A file that the cinder wheel installs below ``etc/cinder``."""
    bases = [Path(sysconfig.get_path("data")), Path(sys.prefix), Path("/usr/local"), Path("/")]
    for base in bases:
        found = base / "etc" / "cinder" / name
        if found.is_file():
            return found
    raise FileNotFoundError(f"etc/cinder/{name} of the cinder package, below {bases[0]}")


Sections = dict[str, dict[str, str]]


def ini(sections: Sections) -> str:
    """The text of a configuration file."""
    parser = configparser.RawConfigParser(default_section="no such section")
    parser.read_dict(sections)
    text = io.StringIO()
    parser.write(text)
    return text.getvalue()


def unwritten(file: Path) -> Path:
    """The name of a file until it is complete."""
    return file.with_name(f".{file.name}.new")


def write_private(text: str, file: Path) -> None:
    """Write a file atomically, readable by its owner only."""
    fresh = unwritten(file)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    os.replace(fresh, file)


def cinder_configuration(directory: Directory, record: Record) -> Sections:
    """Cinder's configuration, without the part that concerns Keystone."""
    sections: Sections = {
        "DEFAULT": {
            "host": "lab",
            "debug": "false",
            "log_dir": str(directory.logs),
            "log_file": "cinder.log",
            "state_path": str(directory.path / "state"),
            "auth_strategy": "keystone" if record.keystone_port else "noauth",
            "transport_url": "fake:///",
            "executor_thread_pool_size": "64",
            "api_paste_config": str(data_file("api-paste.ini")),
            "resource_query_filters_file": str(data_file("resource_filters.json")),
            "enabled_backends": ",".join(BACKENDS),
            "storage_availability_zone": "nova",
            "default_availability_zone": "nova",
            "default_volume_type": VOLUME_TYPE,
            "cinder_internal_tenant_project_id": INTERNAL_PROJECT,
            "cinder_internal_tenant_user_id": USER,
            # Short intervals: a lab lives for minutes, and its users are waiting.
            "scheduler_driver_init_wait_time": "5",
            "report_interval": "5",
            # Long time limits: on a busy machine everything is slow, and no service is really down.
            "service_down_time": "120",
            "rpc_response_timeout": "180",
            "periodic_interval": "20",
            "periodic_fuzzy_delay": "0",
            # Deleting a volume removes its file: no need to zero it.
            "volume_clear": "none",
        },
        "database": {
            "connection": sqlite_url(directory.database("cinder")),
            "sqlite_synchronous": "false",
        },
        "coordination": {"backend_url": f"file://{directory.path / 'coordination'}"},
        "oslo_policy": {"policy_file": str(directory.policy)},
        "oslo_concurrency": {"lock_path": str(directory.path / "locks")},
    }
    if record.page:
        sections["DEFAULT"]["osapi_max_limit"] = str(record.page)
    if record.backup:
        sections["DEFAULT"] |= {
            "backup_driver": "cinder.backup.drivers.posix.PosixBackupDriver",
            "backup_posix_path": str(directory.backups),
            "backup_compression_algorithm": record.backup,
        }
    for backend, zone in BACKENDS.items():
        sections[backend] = {
            "volume_driver": "lab.driver.LabDriver",
            "volume_backend_name": BACKEND_NAME,
            "backend_availability_zone": zone,
            "lab_pool": str(directory.pool_mount),
            "lab_pool_file": str(directory.pool_file),
            "lab_direct_io": str(record.direct_io).lower(),
        }
    return sections
