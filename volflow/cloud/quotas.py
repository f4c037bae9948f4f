"""The free part of a project's quotas in Cinder."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from volflow.cloud.client import Client
from volflow.errors import CloudError, UnavailableError

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Quota:
    """The free part of a project's quota; None means no limit. Sizes are in GiB.

    :ivar types: the quota left for the volume types that have limits of their own, by name
    """

    volumes: int | None
    snapshots: int | None
    gigabytes: int | None
    types: Mapping[str, Quota] = field(default_factory=dict)

    def holds(self, volumes: int, snapshots: int, gigabytes: int) -> bool:
        """Whether the quota has room for these."""
        pairs = (
            (volumes, self.volumes),
            (snapshots, self.snapshots),
            (gigabytes, self.gigabytes),
        )
        return all(left is None or need <= left for need, left in pairs)

    def __str__(self) -> str:
        of_each = {"volume": self.volumes, "snapshot": self.snapshots, "GiB": self.gigabytes}
        return ", ".join(counted(n, name) for name, n in of_each.items() if n is not None)


def counted(number: int, what: str) -> str:
    """A number of volumes, snapshots or GiB.

    :param what: the noun in the singular
    """
    return f"{number} {what}{'' if number == 1 or what == 'GiB' else 's'}"


class Quotas:
    """The quotas of a project.

    :param project_id: the project of the login, where it has one
    """

    def __init__(self, client: Client, project_id: str | None) -> None:
        self._client, self._api = client, client.api
        self._project_id = project_id

    def left(self) -> Quota:
        """The free part of the project's quota, also for each volume type.

        ``GET /limits`` gives the limits and what is in use; the project's quota set also gives
        what Cinder has reserved, which takes room as well: for requests in progress, and for
        a day for those that ended before Cinder gave their reservation back.
        """
        limits = self._client.call(
            "Reading the quota",
            lambda: {limit.name: limit.value for limit in self._api.limits.get().absolute},
        )
        usage = self._usage()

        def left(resource: str, maximum: str, used: str) -> int | None:
            most = int(limits.get(maximum, -1))
            reserved = usage[resource]["reserved"] if resource in usage else 0
            # A quota can be lowered below what is in use.
            return None if most < 0 else max(0, most - int(limits.get(used, 0)) - reserved)

        return Quota(
            volumes=left("volumes", "maxTotalVolumes", "totalVolumesUsed"),
            snapshots=left("snapshots", "maxTotalSnapshots", "totalSnapshotsUsed"),
            gigabytes=left("gigabytes", "maxTotalVolumeGigabytes", "totalGigabytesUsed"),
            types=self._types_left(usage),
        )

    def _usage(self) -> dict[str, dict[str, int]]:
        """Limit, use and reservations of each resource, if this user may see them."""
        try:
            found = self._client.call(
                "Reading the project's quota set",
                lambda: dict(self._api.quotas.get(self._project_id, usage=True).to_dict()),
            )
        except UnavailableError:
            raise
        except CloudError as error:
            LOG.info("Reservations and the quotas of volume types are not checked: %s", error)
            return {}
        return {
            resource: {name: int(value[name]) for name in ("limit", "in_use", "reserved")}
            for resource, value in found.items()
            if isinstance(value, dict)
        }

    @staticmethod
    def _types_left(usage: Mapping[str, Mapping[str, int]]) -> dict[str, Quota]:
        """The free quota of volume types with limits of their own."""
        left: dict[str, dict[str, int]] = {}
        for key, value in usage.items():
            # volumes_NAME, snapshots_NAME and gigabytes_NAME, beside those of all types.
            resource, _, name = key.partition("_")
            if name and resource in ("volumes", "snapshots", "gigabytes") and value["limit"] >= 0:
                room = value["limit"] - value["in_use"] - value["reserved"]
                left.setdefault(name, {})[resource] = max(0, room)
        return {
            name: Quota(of.get("volumes"), of.get("snapshots"), of.get("gigabytes"))
            for name, of in left.items()
        }
