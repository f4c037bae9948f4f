"""Availability zones of Cinder."""

from __future__ import annotations

from volflow.cloud.client import Client, translated


class AvailabilityZones:
    """The zones in which volumes can be created."""

    def __init__(self, client: Client) -> None:
        self._api = client.api

    def names(self) -> list[str]:
        """The names of the zones that are available."""
        with translated("Listing availability zones"):
            zones = self._api.availability_zones.list()
        return [zone.zoneName for zone in zones if zone.zoneState["available"]]
