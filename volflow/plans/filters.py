"""Notices filters of a selection that match nothing: most of the time a name is misspelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from volflow.errors import UsageError


def several(value: str | Sequence[str] | None) -> tuple[str, ...]:
    """The values of a filter that takes one or several."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


class Unmatched:
    """The values of filters that no volume has matched so far."""

    def __init__(
        self,
        names: Sequence[str],
        types: Sequence[str],
        metadata: Mapping[str, Sequence[str]],
        exclude: Sequence[str],
    ) -> None:
        self._names, self._types, self._exclude = list(names), list(types), list(exclude)
        self._metadata = [(key, value) for key, values in metadata.items() for value in values]

    def look_at_name(self, volume_id: str, name: str) -> None:
        """Note which filters a volume matches by its name or id."""
        self._names = [one for one in self._names if not fnmatchcase(name, one)]
        self._exclude = [one for one in self._exclude if one not in (volume_id, name)]

    def look_at_properties(self, volume_type: str | None, metadata: Mapping[str, str]) -> None:
        """Note which filters a volume matches by its type and metadata."""
        self._types = [one for one in self._types if one != volume_type]
        self._metadata = [
            (key, value) for key, value in self._metadata if metadata.get(key) != value
        ]

    def refuse_names(self) -> None:
        """
        :raises UsageError: names the patterns that no volume has matched
        """
        _refuse([f"--name '{one}'" for one in self._names])

    def refuse_properties(self) -> None:
        """
        :raises UsageError: names the types and metadata that no volume has
        """
        metadata = [f"--metadata '{key}={value}'" for key, value in self._metadata]
        _refuse([*(f"--type '{one}'" for one in self._types), *metadata])

    def notes(self) -> list[str]:
        """One sentence for each volume to exclude that does not exist."""
        return [f"--exclude '{one}' matches no volume; is it misspelled?" for one in self._exclude]


def _refuse(filters: Sequence[str]) -> None:
    if filters:
        raise UsageError(f"No volume matches {', '.join(filters)}. Correct or remove it.")
