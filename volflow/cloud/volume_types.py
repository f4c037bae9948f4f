"""Volume types in Cinder, and their QoS specifications."""

from __future__ import annotations

from collections.abc import Collection

from volflow.cloud.client import Client, plain
from volflow.cloud.wait import Resource
from volflow.errors import ResourceNotFoundError


class VolumeTypes:
    """The volume types that this user may see."""

    def __init__(self, client: Client) -> None:
        self._client, self._api = client, client.api

    def _all(self) -> list[Resource]:
        return self._client.list_all("Listing volume types", lambda: self._api.volume_types.list())

    def find(self, name_or_id: str) -> Resource:
        """The volume type with this id or name, and its extra specs as far as policy shows them.

        :raises ResourceNotFoundError: this cloud has no such type, or does not show it to this user
        """
        types = self._all()
        for found in types:
            if name_or_id in (found["id"], found["name"]):
                return found
        names = ", ".join(sorted(found["name"] for found in types))
        raise ResourceNotFoundError(
            f"This cloud has no volume type '{name_or_id}' that this user can see; it has: {names}."
        )

    def names(self, ids: Collection[str]) -> list[str]:
        """The names of the volume types with these ids, as far as the user may see them."""
        found = {each["id"]: str(each["name"]) for each in self._all()}
        return [found[one] for one in ids if one in found]

    def qos_specs(self, qos_id: str) -> Resource:
        """A QoS specification.

        :raises CloudError: this user may not see it
        """
        return self._client.call(
            f"QoS specification {qos_id}", lambda: plain(self._api.qos_specs.get(qos_id))
        )
