"""What openstacksdk knows of clouds and logins: clouds.yaml, and the environment."""

from __future__ import annotations

import os
from typing import Any

from openstack.config import OpenStackConfig

# Each names a cloud by itself, and comes before one that volflow is configured with.
_NAMES_A_CLOUD = ("OS_CLOUD", "OS_AUTH_URL")
# What says which of the clouds is meant, and nothing of how to log in there.
_SELECTORS = frozenset(
    {"cloud", "cloud_name", "region_name", "client_config_file", "client_secure_file"}
)


class CloudsConfig(OpenStackConfig):
    """The clouds, of which an option of volflow in the environment is none.

    oslo.config takes options from variables named ``OS_<GROUP>__<OPTION>``. To openstacksdk every
    variable that begins with ``OS_`` is part of a login; that login, which leads nowhere, would be
    taken before the only cloud of clouds.yaml.
    """

    def _get_os_environ(self, envvar_prefix: str | None = None) -> dict[str, Any] | None:
        found: dict[str, Any] | None = super()._get_os_environ(envvar_prefix)
        if found is None:
            return None
        login = {key: value for key, value in found.items() if "__" not in key}
        given = {f"OS_{key.upper()}" for key in login.keys() - _SELECTORS} & os.environ.keys()
        return login if given else None


def named_by_environment() -> bool:
    """Whether the environment says which cloud is meant."""
    return any(os.environ.get(name) for name in _NAMES_A_CLOUD)
