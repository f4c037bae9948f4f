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

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        clouds = self.cloud_config["clouds"]
        if self.envvar_key not in clouds:
            return
        found = clouds[self.envvar_key]
        login = {key: value for key, value in found.items() if "__" not in key}
        if {f"OS_{key.upper()}" for key in login.keys() - _SELECTORS} & os.environ.keys():
            clouds[self.envvar_key] = login
            return
        # The environment holds no login. Choose the cloud as openstacksdk does without one.
        del clouds[self.envvar_key]
        if not clouds:
            clouds["defaults"] = dict(self.defaults)
        if self.default_cloud == self.envvar_key:
            self.default_cloud = next(iter(clouds)) if len(clouds) == 1 else None


def named_by_environment() -> bool:
    """Whether the environment selects a cloud."""
    return any(os.environ.get(name) for name in _NAMES_A_CLOUD)
