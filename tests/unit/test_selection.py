"""What a selection comes to, where no cloud can be brought to show it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from volflow.cinder import Cinder
from volflow.errors import UsageError
from volflow.selection import Selection


class Moving:
    """A Cinder in which a volume moves from one group to another while it is looked at."""

    def __init__(self) -> None:
        self.client = SimpleNamespace(groups=self)

    def get(self, group_id: str) -> Any:
        return SimpleNamespace(to_dict=lambda: {"id": group_id, "name": group_id})

    def group_volumes(self, group_id: str) -> list[dict[str, Any]]:
        return [
            {"id": each, "name": each, "status": "available", "encrypted": False}
            for each in (f"only in {group_id}", "restless")
        ]


def test_a_volume_in_two_groups_at_once() -> None:
    with pytest.raises(UsageError, match="Volume restless is in two groups"):
        Selection(groups=("a", "b")).find(cast(Cinder, Moving()))


def test_one_group_that_is_named_twice() -> None:
    with pytest.raises(UsageError, match="Group a is named more than once"):
        Selection(groups=("a", "a")).find(cast(Cinder, Moving()))
