"""Which cloud, and as whom: clouds.yaml, OS_* and --os-*, as OpenStack users expect them."""

from __future__ import annotations

import argparse
import threading

import openstack.config
import openstack.exceptions
from keystoneauth1 import exceptions as auth_exceptions

from volflow.cinder import Cinder
from volflow.errors import CloudError
from volflow.wait import Wait


def connect(
    *,
    name: str | None = None,
    arguments: argparse.Namespace | None = None,
    wait: Wait,
    timeout: float = 60.0,
    stopping: threading.Event | None = None,
) -> Cinder:
    """Log in and find Cinder.

    :param name: the cloud in clouds.yaml
    :param timeout: seconds to wait for a connection, and for each part of an answer
    :param arguments: parsed ``--os-*`` options; they come before ``name``
    :raises CloudError: no or wrong authentication, or no API
    """
    try:
        region = openstack.config.OpenStackConfig().get_one(cloud=name, argparse=arguments)
        session = region.get_session()
    except (openstack.exceptions.ConfigException, auth_exceptions.ClientException) as error:
        raise CloudError(
            f"No usable authentication ({error}). Name a cloud of clouds.yaml with --os-cloud or "
            "OS_CLOUD, or set OS_AUTH_URL, OS_USERNAME, OS_PASSWORD and OS_PROJECT_NAME."
        ) from error
    # A dead network must not hold a run for ever.
    session.timeout = timeout
    return Cinder(
        session,
        wait=wait,
        region_name=region.get_region_name("block-storage"),
        interface=str(region.get_interface("block-storage") or "public"),
        stopping=stopping,
    )
