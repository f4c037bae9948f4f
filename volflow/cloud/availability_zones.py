"""Availability zones of Cinder."""

from __future__ import annotations

from volflow.cloud.client import Client


class AvailabilityZones:
    """The zones in which volumes can be created."""

    def __init__(self, client: Client) -> None:
        self._client, self._api = client, client.api

    def names(self) -> list[str]:
        """The names of the zones that are available."""

        def available() -> list[str]:
            zones = self._api.availability_zones.list()
            return [zone.zoneName for zone in zones if zone.zoneState["available"]]

        return self._client.call("Listing availability zones", available)
