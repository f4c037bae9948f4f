"""The cloud and project of a login, which a run records: only there are its resources found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Login:
    """A login to a cloud, without secrets. Each field is None where it is unknown.

    :ivar auth_url: the URL of Keystone
    :ivar region: the name of the region
    :ivar project_id: the project that the login is scoped to
    """

    auth_url: str | None = None
    region: str | None = None
    project_id: str | None = None

    @classmethod
    def to(cls, auth_url: str | None, region: str | None, project_id: str | None) -> Login:
        """A login to the Keystone at this URL, in whatever form the URL is written."""
        return cls(_plain(auth_url) if auth_url else None, region or None, project_id)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Login:
        """The login of :meth:`to_dict`; all fields are unknown for an empty dictionary."""
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def cloud(self) -> str:
        """The cloud, for people."""
        return " ".join(filter(None, (self.auth_url, self.region and f"region {self.region}")))

    def is_elsewhere(self, other: Login) -> bool:
        """Whether two logins are to different clouds, as far as both are known."""
        pairs = ((self.auth_url, other.auth_url), (self.region, other.region))
        return any(one and two and one != two for one, two in pairs)


def _plain(url: str) -> str:
    """A URL in one form of several equal ones, without user and password."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    path = parts.path.rstrip("/").removesuffix("/v3")
    return f"{parts.scheme.lower()}://{parts.hostname or ''}{port}{path}"
