"""The login to a cloud by clouds.yaml, OS_* and --os-*, and its Cinder in each project."""

from __future__ import annotations

import argparse
import copy
import logging
import threading
from collections.abc import Iterable
from datetime import datetime
from functools import cached_property
from typing import Any

import openstack.exceptions
from keystoneauth1 import exceptions as auth_exceptions
from keystoneauth1 import loading
from openstack.config.cloud_region import CloudRegion

from volflow.cloud.answers import answered
from volflow.cloud.cinder import Cinder
from volflow.cloud.clouds_yaml import CloudsConfig, named_by_environment
from volflow.cloud.credentials import Credentials, ends
from volflow.cloud.endpoint import Endpoint
from volflow.cloud.login import Login
from volflow.cloud.patience import Patience
from volflow.cloud.session import Session
from volflow.cloud.wait import Wait
from volflow.errors import CloudError, UnavailableError

# The keys in clouds.yaml that scope a login to a project.
_SCOPE = ("project_id", "project_name", "project_domain_id", "project_domain_name", "tenant_id")

# The types of authentication that do not use Keystone.
_WITHOUT_KEYSTONE = ("none", "noauth", "http_basic")

_FORBIDDEN = 403

LOG = logging.getLogger(__name__)


class Cloud:
    """One cloud, and the login to it.

    :param name: the cloud in clouds.yaml to use where neither ``arguments`` nor the environment
        name one
    :param arguments: parsed ``--os-*`` options
    :param wait: how to wait for Cinder
    :param timeout: seconds to wait for a connection, and for each part of an answer
    :param patience: how long to repeat a request while Keystone or Cinder has trouble
    :param former: earlier URLs of its Keystone
    :param stopping: set to end the waits for a resource to become ready
    """

    def __init__(
        self,
        *,
        name: str | None = None,
        arguments: argparse.Namespace | None = None,
        wait: Wait,
        timeout: float = 60.0,
        patience: Patience | None = None,
        former: Iterable[str] = (),
        stopping: threading.Event | None = None,
    ) -> None:
        self._name = name
        self._arguments = arguments
        self._wait = wait
        self._timeout = timeout
        self._patience = patience or Patience()
        self._former = tuple(former)
        self._stopping = stopping
        self._lock = threading.Lock()
        self._in_project: dict[str, Cinder] = {}

    @cached_property
    def cinder(self) -> Cinder:
        """Block storage in the project of the login.

        :raises CloudError: no or wrong authentication, or no API
        """
        return self._find_cinder()

    @cached_property
    def login(self) -> Login:
        """Which cloud and which project volflow is logged in to."""
        region = self._region()
        auth_url = region.config.get("auth", {}).get("auth_url")
        found = self.cinder.endpoint
        return Login.to(
            auth_url,
            found.region if found else region.get_region_name("block-storage"),
            self.cinder.project_id,
            endpoint=found.url if found else None,
            first_region=found.first_region if found else None,
            former=self._former,
        )

    @cached_property
    def login_end(self) -> datetime | None:
        """When the login ends for good, with its time zone; None if it renews itself."""
        return self.cinder.login_end()

    def in_project(self, project_id: str | None) -> Cinder:
        """Block storage in a project, or in the project of the login where none is given.

        :param project_id: the user must have a role in it
        :raises CloudError: no or wrong authentication, no role in the project, or no API
        """
        if not project_id or project_id == self.cinder.project_id:
            return self.cinder
        with self._lock:
            if project_id not in self._in_project:
                self._in_project[project_id] = self._find_cinder(project_id)
            return self._in_project[project_id]

    def _find_cinder(self, project_id: str | None = None) -> Cinder:
        """Log in and find Cinder.

        :raises CloudError: no or wrong authentication, no role in the project, or no API
        """
        try:
            region = self._region()
            session = _session(region, self._timeout)
            if project_id:
                session = _scoped(region, session, project_id)
        except (openstack.exceptions.ConfigException, auth_exceptions.ClientException) as error:
            raise CloudError(
                f"No usable authentication ({error}). Name a cloud of clouds.yaml with --os-cloud "
                "or OS_CLOUD, or set OS_AUTH_URL, OS_USERNAME, OS_PASSWORD and OS_PROJECT_NAME."
            ) from error
        try:
            found = Cinder.connect(
                session,
                lambda: Endpoint.find(region, session, "block-storage", 3),
                wait=self._wait,
                patience=self._patience,
                credentials=Credentials(session, str(region.config["auth_type"])),
                stopping=self._stopping,
            )
            end = None if project_id else found.login_end()
        except UnavailableError:
            # Trouble says nothing about the user's roles.
            raise
        except CloudError as error:
            if project_id:
                raise CloudError(
                    f"volflow cannot work in project {project_id}: {error} The user needs a role "
                    "in it: 'openstack role add --user USER --project PROJECT member'."
                ) from error
            raise
        if end is not None:
            LOG.warning(ends(end))
        return found

    def projects(self) -> list[str]:
        """The ids of all projects, or only of those in which the user has a role, if Keystone
        does not list the others to this user. Empty where there is no Keystone.

        :raises CloudError: Keystone does not answer, or lists only some of the projects
        """
        region = self._region()
        if region.config["auth_type"] in _WITHOUT_KEYSTONE:
            return []
        session = _session(region, self._timeout)
        try:
            found = self._listed(region, session, "/projects")
        except CloudError as error:
            if error.status != _FORBIDDEN:
                raise
            LOG.warning(
                "Keystone does not list all projects to this user: only the projects in which "
                "the user has a role are searched."
            )
            found = self._listed(region, session, "/auth/projects")
        if found.get("truncated"):
            raise CloudError(
                f"Keystone lists only {len(found['projects'])} of the projects: raise its "
                "list_limit."
            )
        return sorted(str(project["id"]) for project in found["projects"])

    def _listed(self, region: CloudRegion, session: Session, path: str) -> dict[str, Any]:
        """The list of projects that Keystone answers to a GET."""

        def listed() -> dict[str, Any]:
            url = Endpoint.find(region, session, "identity", 3).url
            found: dict[str, Any] = session.get(url.rstrip("/") + path).json()
            for project in found["projects"]:
                project["id"]
            return found

        credentials = Credentials(session, str(region.config["auth_type"]))
        return self._patience.repeat(
            lambda: answered(
                "Listing the projects in Keystone", listed, refused=credentials.refusal
            ),
            stopping=self._stopping,
        )

    def _region(self) -> CloudRegion:
        # openstacksdk reads the environment only if it is given no name.
        given = getattr(self._arguments, "os_cloud", None) or named_by_environment()
        return CloudsConfig().get_one(cloud=None if given else self._name, argparse=self._arguments)


def _session(region: CloudRegion, timeout: float) -> Session:
    """The session of the login itself.

    :param timeout: seconds; a dead network must not hold a run for ever
    """
    region.set_session_constructor(Session)
    session = region.get_session()
    assert isinstance(session, Session)
    session.timeout = timeout
    return session


def _scoped(region: CloudRegion, session: Session, project_id: str) -> Session:
    """A session of the user in another project, which renews its own token."""
    options: dict[str, Any] = copy.deepcopy(region.config["auth"])
    for name in _SCOPE:
        options.pop(name, None)
    loader: Any = loading.get_plugin_loader(region.config["auth_type"])
    plugin = loader.load_from_options(**options, project_id=project_id)
    return Session(auth=plugin, verify=session.verify, cert=session.cert, timeout=session.timeout)
