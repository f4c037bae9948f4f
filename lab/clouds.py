"""clouds.yaml for the users of a lab."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab import settings

REGION = "lab"


def noauth(record: settings.Record) -> dict[str, Any]:
    """One cloud without authentication: every request is an administrator's."""
    return {
        "lab": {
            "auth_type": "noauth",
            "auth": {
                "user_id": settings.USER,
                "project_id": settings.PROJECT,
                # The plug-in of python-cinderclient appends the project.
                "endpoint": record.cinder_url,
            },
            "region_name": REGION,
            "volume_api_version": "3",
        }
    }


def write(clouds: dict[str, Any], file: Path) -> None:
    """Write the file, readable by its owner only: it may hold passwords."""
    import yaml

    settings.write_private(yaml.safe_dump({"clouds": clouds}, sort_keys=False), file)


def cinder(file: Path, cloud: str = "lab", version: str = "3.70") -> Any:
    """A Cinder client for a cloud of a clouds.yaml."""
    from cinderclient import client
    from openstack import config

    region = config.OpenStackConfig(config_files=[str(file)], load_envvars=False).get_one(cloud)
    session = region.get_session()
    session.session.trust_env = False  # no proxy to this machine
    return client.Client(version, session=session, region_name=region.region_name)
