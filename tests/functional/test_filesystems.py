"""One file system of each class comes back equal, or the result reports each difference.

``tox -e filesystems`` tries all that the tools of this host can make.
"""

from __future__ import annotations

import pytest

from tests.filesystems.main import on_site
from tests.filesystems.variants import all_variants, few_variants
from tests.support.site import Site

pytestmark = pytest.mark.lab


def test_file_systems_of_each_class_come_back_or_are_told(site: Site) -> None:
    verdicts = list(on_site(site, few_variants()))
    troubles = [f"{each.variant}: {line}" for each in verdicts for line in each.troubles]
    assert not troubles, "\n".join(troubles)
    assert all(verdict.made for verdict in verdicts), "\n".join(map(str, verdicts))


def test_the_matrix_has_many_file_systems_with_names_of_their_own() -> None:
    names = [str(variant) for variant in all_variants()]
    assert len(names) == len(set(names)) > 150
    assert names == [str(variant) for variant in all_variants()]
