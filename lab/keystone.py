"""A real Keystone in a process of its own: ``python -m lab.keystone DIR FD``.

Not in Cinder's process: both read their configuration into the same global object. FD is the
listening socket, made by the parent. This one process does what keystone-manage does in many slow
calls (tables, keys, roles, users, endpoints), then serves.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from lab import database, process, settings, wsgi

REGION = "lab"
DOMAIN = "default"
ADMIN = "admin"
#: Each has a project with its own name, and is a member only there.
MEMBERS = ("alpha", "beta")
#: Cinder's own user, which validates the tokens of the others.
SERVICE_USER = "cinder"
SERVICE_PROJECT = "service"

Passwords = dict[str, str]

LOG = logging.getLogger("lab.keystone")


def passwords() -> Passwords:
    """A new password for every user."""
    return {user: secrets.token_urlsafe(18) for user in (ADMIN, *MEMBERS, SERVICE_USER)}


def configuration(directory: settings.Directory, record: settings.Record) -> settings.Sections:
    """Keystone's configuration."""
    token = {"provider": "fernet"}
    if record.token_seconds:
        token["expiration"] = str(record.token_seconds)
    return {
        "DEFAULT": {
            "debug": "false",
            "log_dir": str(directory.logs),
            "log_file": "keystone.log",
        },
        "database": {
            "connection": settings.sqlite_url(directory.database("keystone")),
            "sqlite_synchronous": "false",
        },
        "token": token,
        "fernet_tokens": {"key_repository": str(directory.path / "fernet-keys")},
        "fernet_receipts": {"key_repository": str(directory.path / "fernet-keys")},
        "credential": {"key_repository": str(directory.path / "credential-keys")},
        # The passwords are random and live for minutes: the fewest bcrypt rounds are enough.
        "identity": {"password_hash_rounds": "4"},
        "oslo_policy": {"policy_file": str(directory.policy)},
    }


def for_cinder(record: settings.Record, password: str) -> settings.Sections:
    """The part of Cinder's configuration that concerns Keystone."""
    return {
        "keystone_authtoken": {
            "auth_type": "password",
            "auth_url": str(record.keystone_url),
            "www_authenticate_uri": str(record.keystone_url),
            "username": SERVICE_USER,
            "password": password,
            "project_name": SERVICE_PROJECT,
            "user_domain_id": DOMAIN,
            "project_domain_id": DOMAIN,
            "region_name": REGION,
            "service_token_roles": "service",
            "service_token_roles_required": "true",
        }
    }


def clouds(record: settings.Record, known: Passwords) -> dict[str, Any]:
    """The clouds of clouds.yaml: one for each user, and `lab` for the first member."""

    def cloud(user: str) -> dict[str, Any]:
        return {
            "auth_type": "password",
            "auth": {
                "auth_url": record.keystone_url,
                "username": user,
                "password": known[user],
                "project_name": user,
                "user_domain_id": DOMAIN,
                "project_domain_id": DOMAIN,
            },
            "region_name": REGION,
            "identity_api_version": "3",
            "volume_api_version": "3",
        }

    return {
        "lab": cloud(MEMBERS[0]),
        **{f"lab-{user}": cloud(user) for user in (*MEMBERS, ADMIN)},
    }


def main(arguments: list[str]) -> None:
    """Prepare everything, then serve until SIGTERM or SIGINT."""
    directory = settings.Directory(Path(arguments[0]))
    listener = socket.socket(fileno=int(arguments[1]))
    process.Process.of(os.getpid()).write(directory.pid_file("keystone"))
    wsgi.serve(_application(directory), listener)
    ended = threading.Event()
    # Until here a signal ends the process at once: there was nothing to close.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    LOG.info("Keystone is up")
    ended.wait()
    logging.shutdown()
    os._exit(0)


def _application(directory: settings.Directory) -> Any:
    # Keystone reads the command line itself, and ours is different.
    sys.argv = ["keystone", *directory.options("keystone")]
    database.take_write_locks_at_begin()

    import keystone.server
    from keystone.cmd.bootstrap import Bootstrapper
    from keystone.common.sql import upgrades
    from keystone.server.flask import application, core

    keystone.server.configure()
    hit = database.prepare(
        "keystone", directory.database("keystone"), upgrades.offline_sync_database_to_version
    )
    _make_keys()
    # Loads Keystone's backends, which is possible only once. So core.initialize_application,
    # which would do it again, is not used.
    bootstrap = Bootstrapper()
    _populate(bootstrap, directory)
    LOG.info("the database %s", "came from the cache" if hit else "was made anew")
    return core.setup_app_middleware(application.application_factory("public"))


def _make_keys() -> None:
    from keystone.common import fernet_utils
    from oslo_config import cfg

    for group, active in (("fernet_tokens", 3), ("credential", 3)):
        keys = fernet_utils.FernetUtils(cfg.CONF[group].key_repository, active, group)
        keys.create_key_directory()
        keys.initialize_key_repository()


def _populate(bootstrap: Any, directory: settings.Directory) -> None:
    """Roles, users, projects and the catalogue."""
    record = settings.Record.read(directory)
    known: Passwords = json.loads(directory.passwords.read_text())
    bootstrap.admin_username = bootstrap.project_name = ADMIN
    bootstrap.admin_password = known[ADMIN]
    bootstrap.admin_role_name = ADMIN
    bootstrap.service_name = "keystone"
    bootstrap.region_id = REGION
    bootstrap.public_url = bootstrap.internal_url = bootstrap.admin_url = record.keystone_url
    bootstrap.immutable_roles = True
    bootstrap.bootstrap()
    for member in MEMBERS:
        _user(member, known[member], member, [bootstrap.member_role_id])
    _user(
        SERVICE_USER,
        known[SERVICE_USER],
        SERVICE_PROJECT,
        [bootstrap.service_role_id, bootstrap.admin_role_id],
    )
    _block_storage(record)


def _user(name: str, password: str, project: str, roles: list[str]) -> None:
    """A user with a project and roles in it."""
    from keystone.common.provider_api import ProviderAPIs as providers

    made = providers.identity_api.create_user(
        {"name": name, "password": password, "enabled": True, "domain_id": DOMAIN}
    )
    project_id = secrets.token_hex(16)
    providers.resource_api.create_project(
        project_id,
        {
            "id": project_id,
            "name": project,
            "enabled": True,
            "domain_id": DOMAIN,
            "description": "Made by the lab",
        },
    )
    for role in roles:
        providers.assignment_api.add_role_to_user_and_project(made["id"], project_id, role)


def _block_storage(record: settings.Record) -> None:
    """Cinder's entry in the catalogue."""
    from keystone.common.provider_api import ProviderAPIs as providers

    service = secrets.token_hex(16)
    providers.catalog_api.create_service(
        service, {"id": service, "name": "cinder", "type": "block-storage", "enabled": True}
    )
    for interface in ("public", "internal", "admin"):
        endpoint = secrets.token_hex(16)
        providers.catalog_api.create_endpoint(
            endpoint,
            {
                "id": endpoint,
                "interface": interface,
                "url": f"{record.cinder_url}/%(project_id)s",
                "service_id": service,
                "region_id": REGION,
                "enabled": True,
            },
        )


if __name__ == "__main__":
    main(sys.argv[1:])
