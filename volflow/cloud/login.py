"""The cloud and project of a login, which a run records: only there are its resources found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import urlsplit

_STORED = ("auth_url", "region", "project_id", "endpoint")


@dataclass(frozen=True)
class Login:
    """A login to a cloud, without secrets. Each field is None where it is unknown.

    :ivar auth_url: the URL of Keystone
    :ivar region: the name of Cinder's region, as the catalogue has it
    :ivar project_id: the project that the login is scoped to
    :ivar endpoint: the URL of Cinder without the project; None in runs of release 0.1.0
    :ivar first_region: the region that is used where none is configured. It is not stored
    :ivar former: earlier URLs of this Keystone. They are not stored
    """

    auth_url: str | None = None
    region: str | None = None
    project_id: str | None = None
    endpoint: str | None = None
    first_region: str | None = None
    former: frozenset[str] = frozenset()

    @classmethod
    def to(
        cls,
        auth_url: str | None,
        region: str | None,
        project_id: str | None,
        *,
        endpoint: str | None = None,
        first_region: str | None = None,
        former: Iterable[str] = (),
    ) -> Login:
        """A login to the Keystone at this URL, in whatever form the URL is written."""
        if endpoint and project_id:
            endpoint = endpoint.replace(project_id, "")
        return cls(
            _plain(auth_url) if auth_url else None,
            region or None,
            project_id,
            _plain(endpoint) if endpoint else None,
            first_region,
            frozenset(map(_plain, former)),
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Login:
        """The login of :meth:`to_dict`; all fields are unknown for an empty dictionary."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _STORED}

    @property
    def cloud(self) -> str:
        """The cloud, for people."""
        return " ".join(filter(None, (self.auth_url, self.region and f"region {self.region}")))

    def is_elsewhere(self, now: Login) -> bool:
        """Whether another login is to a different cloud, as far as both are known.

        :param now: the login of this process
        """
        if self.region and now.region and self.region != now.region:
            return True
        if self._is_other_keystone(now):
            return True
        if self.region or not now.region:
            return False
        # This login named no region.
        if self.endpoint and now.endpoint:
            return self.endpoint != now.endpoint
        return bool(self.auth_url and now.first_region and now.region != now.first_region)

    def _is_other_keystone(self, now: Login) -> bool:
        if not self.auth_url or not now.auth_url or self.auth_url == now.auth_url:
            return False
        if self.auth_url in now.former:
            return False
        # A cloud can get another URL. The same Cinder and the same project prove that it is the
        # same one; a project alone does not, because a Keystone's database can be copied.
        same = bool(self.endpoint) and _host(self.endpoint) == _host(now.endpoint)
        return not (same and self.project_id and self.project_id == now.project_id)


def _host(url: str | None) -> str | None:
    return urlsplit(url).netloc if url else None


def _plain(url: str) -> str:
    """A URL in one form of several equal ones, without user and password."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    path = parts.path.rstrip("/").removesuffix("/v3")
    return f"{parts.scheme.lower()}://{parts.hostname or ''}{port}{path}"
