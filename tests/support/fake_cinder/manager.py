"""What the managers of the fake python-cinderclient have in common."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from cinderclient import exceptions

PROJECT = "1ab00000000000000000000000000001"
CREATED = "2026-01-01T00:00:00.000000"


class Resource:
    """A resource, as python-cinderclient returns it."""

    def __init__(self, shown: dict[str, Any]) -> None:
        self._shown = shown

    def __getattr__(self, name: str) -> Any:
        try:
            return self._shown[name]
        except KeyError:
            raise AttributeError(name) from None

    def to_dict(self) -> dict[str, Any]:
        found = dict(self._shown)
        if "metadata" in found:
            found["metadata"] = dict(found["metadata"])
        return found


class Manager:
    """All resources of one kind, by id.

    :param done: gets each call that changes something
    :param name: the manager's name in python-cinderclient
    """

    def __init__(self, done: list[str], name: str) -> None:
        self._done, self._name = done, name
        self._prefix = f"{sum(map(ord, name)):08x}-0000-4000-8000-"
        self._numbers = itertools.count(1)
        self._resources: dict[str, dict[str, Any]] = {}
        # The ids by search value: a tag, or the id of a volume.
        self._index: dict[str, dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._resources)

    def __contains__(self, resource_id: str) -> bool:
        return resource_id in self._resources

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._resources))

    def __getitem__(self, resource_id: str) -> dict[str, Any]:
        """What Cinder shows of a resource; a test may change it, as an administrator could."""
        return self._resources[resource_id]

    def _key(self, shown: Mapping[str, Any]) -> str | None:
        """The values by which the resource can be found."""
        return shown.get("volume_id")

    def _note(self, call: str, *what: str) -> None:
        self._done.append(" ".join((f"{self._name}.{call}", *what)))

    def _add(self, shown: dict[str, Any]) -> Resource:
        resource_id = shown.setdefault("id", f"{self._prefix}{next(self._numbers):012}")
        self._resources[resource_id] = shown
        self._enter(shown)
        return Resource(shown)

    def _enter(self, shown: Mapping[str, Any]) -> None:
        if key := self._key(shown):
            self._index.setdefault(key, {})[shown["id"]] = None

    def _leave(self, shown: Mapping[str, Any]) -> None:
        if key := self._key(shown):
            self._index.get(key, {}).pop(shown["id"], None)

    def _found(self, key: str) -> list[Resource]:
        return [Resource(self._resources[one]) for one in list(self._index.get(key, ()))]

    def _all(self) -> list[Resource]:
        return [Resource(shown) for shown in list(self._resources.values())]

    def get(self, resource_id: str) -> Resource:
        try:
            return Resource(self._resources[resource_id])
        except KeyError:
            raise exceptions.NotFound(404, resource_id) from None

    def delete(self, resource_id: str) -> None:
        self.get(resource_id)
        self._note("delete", resource_id)
        self._leave(self._resources.pop(resource_id))


class OfVolumes(Manager):
    """Resources that are searched by their volume."""

    def list(
        self, detailed: bool = True, search_opts: Mapping[str, Any] | None = None
    ) -> list[Resource]:
        return self._found(search_opts["volume_id"]) if search_opts else self._all()
