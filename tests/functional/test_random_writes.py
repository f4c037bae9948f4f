"""A few volumes that are written to while they are backed up; ``tests/increments`` has more."""

from __future__ import annotations

import pytest

from tests.increments.life import Life, Tally
from tests.support.site import Site

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("what", ["ext4 128", "xfs lazytime"])
def test_an_increment_misses_only_what_the_times_do_not_show(site: Site, what: str) -> None:
    tally = Tally()

    Life(site, what, "1", tally, wait=1.0).live(3)

    assert tally.troubles == []
    assert tally.counts["flushed backups"] == 1
    assert tally.counts["full backups"] == 2
