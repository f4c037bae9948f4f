"""Where a service of a cloud is, as openstacksdk finds it for a cloud of clouds.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from keystoneauth1 import exceptions
from keystoneauth1.discover import EndpointData
from keystoneauth1.identity.base import BaseIdentityPlugin
from keystoneauth1.session import Session
from openstack.config.cloud_region import CloudRegion

from volflow.errors import CloudError


@dataclass(frozen=True)
class Endpoint:
    """The endpoint of a service.

    :ivar url: with the project, where the catalogue has it
    :ivar region: its region in the catalogue; the configured one where the catalogue is not used
    :ivar first_region: the region that is used if none is configured
    """

    url: str
    region: str | None = None
    first_region: str | None = None

    @classmethod
    def find(cls, region: CloudRegion, session: Session, service: str, version: int) -> Endpoint:
        """Find a service by the configuration of a cloud and by the catalogue of the session.

        openstacksdk knows the options: aliases of service types, ``endpoint_override``,
        ``service_type``, ``service_name``, ``interface`` and ``region_name``, each also with the
        prefix of a service.

        :param service: its official type, such as ``block-storage``
        :param version: the major version of its API
        :raises CloudError: the catalogue does not have it; the error names what it has
        """
        given = region.get_endpoint(service)
        named = region.get_region_name(service)
        if given:
            url = _in_project(given, region, session)
            data = EndpointData(catalog_url=url, service_url=url)
            return cls(_versioned(data, session, version), named)
        auth = session.auth
        where: dict[str, Any] = {
            "service_type": region.get_service_type(service),
            "service_name": region.get_service_name(service),
            "interface": region.get_interface(service) or "public",
        }
        if not isinstance(auth, BaseIdentityPlugin):
            # A login without Keystone has one endpoint.
            fixed = session.get_endpoint(region_name=named, **where)
            if not fixed:
                raise CloudError(f"This login has no endpoint for the service {service}.")
            return cls(fixed, named)
        found = _listed(auth, session, where | {"region_name": named})
        if found is None:
            raise CloudError(_missing(auth, session, named, where))
        first = _listed(auth, session, where) or found
        return cls(_versioned(found, session, version), found.region_name, first.region_name)


def _listed(auth: BaseIdentityPlugin, session: Session, where: dict[str, Any]) -> Any:
    """The endpoint in the catalogue; None if it has none."""
    try:
        return auth.get_endpoint_data(session, skip_discovery=True, **where)
    except exceptions.EmptyCatalog:
        raise
    except exceptions.EndpointNotFound:
        return None


def _versioned(data: EndpointData, session: Session, version: int) -> str:
    """The URL of this version of the API. It is discovered unless the URL contains it."""
    if f"v{version}" in (data.url or "").split("/"):
        return str(data.url)
    found = data.get_versioned_data(
        session,
        project_id=session.get_project_id(),
        min_version=(version, 0),
        max_version=(version, "latest"),
        discover_versions=False,
    )
    return str(found.url)


def _in_project(url: str, region: CloudRegion, session: Session) -> str:
    """A configured endpoint in the project of the session.

    The configuration has the project of its own login, or a place for it.
    """
    project = session.get_project_id() or ""
    for place in ("%(project_id)s", "%(tenant_id)s", "$(project_id)s", "$(tenant_id)s"):
        url = url.replace(place, project)
    home = region.get_session().get_project_id()
    return url.replace(home, project) if home and project else url


def _missing(
    auth: BaseIdentityPlugin, session: Session, region: str | None, where: dict[str, Any]
) -> str:
    """The error for a service that the catalogue does not have."""
    catalog = auth.get_access(session).service_catalog
    services = catalog.get_endpoints_data()
    types = ", ".join(sorted(filter(None, services))) or "none"
    kind = where["service_type"]
    mine = [
        one for found in catalog.get_endpoints_data(service_type=kind).values() for one in found
    ]
    regions = ", ".join(sorted({str(one.region_name) for one in mine}))
    interfaces = ", ".join(sorted({str(one.interface) for one in mine}))
    has = (
        f"There it is in the regions {regions} and has the interfaces {interfaces}."
        if mine
        else f"The catalogue has the service types {types}."
    )
    return (
        f"The catalogue of this cloud has no endpoint for the service {kind} with the interface "
        f"{where['interface']}{f' in region {region}' if region else ''}. {has} Set region_name, "
        "interface, block_storage_service_type or block_storage_endpoint_override in clouds.yaml."
    )
