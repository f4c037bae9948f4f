"""What a login can do when its token ends: get a new one, or nothing."""

from __future__ import annotations

from datetime import datetime

from keystoneauth1.identity.base import BaseIdentityPlugin
from keystoneauth1.session import Session

# Types of authentication (keystoneauth1) that log in with something that is good only once or for
# a short time.
_ONCE = ("token", "v2token", "v3token", "v3totp", "v3oidcaccesstoken")


class Credentials:
    """The credentials of a login, without secrets.

    :param auth_type: the type of authentication, as clouds.yaml names it
    """

    def __init__(self, session: Session, auth_type: str) -> None:
        self._session, self._type = session, auth_type

    def end(self) -> datetime | None:
        """When the login ends for good, with its time zone; None if it renews itself.

        :raises keystoneauth1.exceptions.ClientException: it is refused
        """
        auth = self._session.auth
        if not isinstance(auth, BaseIdentityPlugin) or not self._is_bare(auth):
            return None
        return auth.get_access(self._session).expires

    def refusal(self) -> str:
        """Why such a login is refused; empty for the usual reasons."""
        auth = self._session.auth
        if isinstance(auth, BaseIdentityPlugin) and self._is_bare(auth):
            return (
                "the token of this login has ended or was revoked, and cannot be renewed. Log in "
                "again, then remove the leftovers with 'volflow leftover clean'"
            )
        if "applicationcredential" in self._type:
            return (
                "the cloud refused the application credential. It was deleted, has expired, or "
                "its access rules do not allow this request: volflow needs GET, POST, PUT and "
                "DELETE of the service block-storage for the path /v3/**"
            )
        return ""

    def _is_bare(self, auth: BaseIdentityPlugin) -> bool:
        return self._type in _ONCE or not auth.reauthenticate


def ends(end: datetime) -> str:
    """A sentence on a login that ends."""
    return (
        f"This login is a token that ends at {end.astimezone():%Y-%m-%d %H:%M:%S%z} and cannot be "
        "renewed: a run that takes longer fails, and leaves resources in Cinder. Use a password "
        "or an application credential for long runs."
    )
