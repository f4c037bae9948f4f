"""The backups in a repository, read with restic only.

A backup is a snapshot of restic with the data, and a second one, the verdict, that names it. Data
without a verdict is unfinished, and no backup. Backups of the first release have no verdict.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

# The shortest beginning of an id by which a verdict names a snapshot.
_SHORTEST = 8


@dataclass(frozen=True)
class Backups:
    """What a repository holds.

    :ivar verdicts: the id of the snapshot with the manifest, by the id of the one with the data
    :ivar unfinished: the ids of data without a verdict
    """

    verdicts: dict[str, str]
    unfinished: tuple[str, ...]

    @classmethod
    def read(cls, restic: Callable[..., str]) -> Backups:
        """Read the list.

        :param restic: runs restic on the repository, and returns its output
        """
        found = json.loads(restic("snapshots", "--json")) or []
        tags = {each["id"]: _tags(each.get("tags") or []) for each in found}
        about = {
            told["verdict"][:_SHORTEST]: one for one, told in tags.items() if "verdict" in told
        }
        verdicts, unfinished = {}, []
        for one, told in tags.items():
            if "verdict" in told or "volume" not in told:
                continue
            if one[:_SHORTEST] in about:
                verdicts[one] = about[one[:_SHORTEST]]
            elif told.get("state") == "unchecked":
                unfinished.append(one)
            else:
                verdicts[one] = one
        return cls(verdicts, tuple(unfinished))

    def with_manifest(self, restic: Callable[..., str]) -> set[str]:
        """The ids of the backups that contain a manifest."""
        found: list[dict[str, Any]] = json.loads(restic("find", "--json", "manifest.json"))
        holding = {
            each["snapshot"]
            for each in found
            if any(match["path"] == "/manifest.json" and match["size"] for match in each["matches"])
        }
        return {one for one, verdict in self.verdicts.items() if verdict in holding}


def _tags(packed: Iterable[str]) -> dict[str, str]:
    pairs = (tag.partition("=") for tag in packed)
    return {unquote(key): unquote(value) for key, _, value in pairs}
