"""clouds.yaml and the OS_* environment, as openstacksdk reads them, without volflow's options."""

from __future__ import annotations

import os
from typing import Any

from openstack.config import OpenStackConfig

# Each of these selects a cloud, and takes precedence over volflow's configuration.
_NAMES_A_CLOUD = ("OS_CLOUD", "OS_AUTH_URL")
# These select a cloud, and say nothing about how to log in.
_SELECTORS = frozenset(
    {"cloud", "cloud_name", "region_name", "client_config_file", "client_secure_file"}
)


class CloudsConfig(OpenStackConfig):
    """The clouds that openstacksdk finds, without volflow's own options in the environment.

    oslo.config reads options from variables named ``OS_<GROUP>__<OPTION>``. openstacksdk takes
    every variable that begins with ``OS_`` for a part of a login, and would prefer that useless
    login to the only cloud of clouds.yaml.
    """

    def _get_os_environ(self, envvar_prefix: str | None = None) -> dict[str, Any] | None:
        found: dict[str, Any] | None = super()._get_os_environ(envvar_prefix)
        if found is None:
            return None
        login = {key: value for key, value in found.items() if "__" not in key}
        given = {f"OS_{key.upper()}" for key in login.keys() - _SELECTORS} & os.environ.keys()
        return login if given else None


def named_by_environment() -> bool:
    """Whether the environment selects a cloud."""
    return any(os.environ.get(name) for name in _NAMES_A_CLOUD)
