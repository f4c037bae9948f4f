"""The branches of a restore that are most used; ``tox -e restore`` runs all of them."""

from __future__ import annotations

import pytest

from tests.functional.restore import elsewhere, looking, properties, several, targets
from tests.support.branch import BRANCHES, Branch
from tests.support.site import Site
from tests.support.stage import Stage

pytestmark = pytest.mark.lab

# Each of them has its branches put into the list; so they come in the table.
ORDER = [part.__name__ for part in (targets, properties, several, elsewhere, looking)]
BRANCHES.sort(key=lambda branch: ORDER.index(branch.act.__module__))


@pytest.fixture(scope="module")
def stage(shared_site: Site) -> Stage:
    return Stage.make(shared_site)


@pytest.mark.parametrize(
    "branch", [one for one in BRANCHES if one.quick], ids=lambda branch: branch.title
)
def test_branch(stage: Stage, branch: Branch) -> None:
    branch.act(stage)
    stage.nothing_left()
