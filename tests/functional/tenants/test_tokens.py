"""Tokens expire within seconds, and a copy takes longer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support import faults
from tests.support.faults import Place
from tests.support.people import Keystone, Town, admin_api
from tests.support.site import environment_of

pytestmark = pytest.mark.lab

# The lifetime of a token and the delay of each copy, in seconds. A shorter-lived token could have
# expired before its first use on a busy machine.
LIFE = 15
LONG = 1.5 * LIFE


@pytest.fixture(scope="module")
def short_lived(the_lab: Any, scratch: Path) -> Iterator[Town]:
    """A cloud with tokens that expire within seconds."""
    from lab import Lab

    found = Lab(scratch / "lab-with-short-tokens")
    found.up(keystone=True, token_seconds=LIFE)
    try:
        with environment_of(found, without="OS_CLOUD"):
            home = scratch / "short"
            home.mkdir()
            yield Town(home, found, Keystone(found.clouds_file), admin_api(found))
    finally:
        found.down()


def _held(volume: str, place: Place) -> None:
    time.sleep(LONG)


def test_a_token_expires_while_data_is_copied(short_lived: Town) -> None:
    town = short_lived
    person = town.person("alpha")
    town.make_repository(person.project_id)
    town.give_key(person, person.project_id)
    volume = person.volume(lambda root: (root / "file").write_text("data"), name="slow")
    old = admin_api(town.lab)
    assert old.get("volumes") is not None
    with (
        person.volflow() as volflow,
        faults.injected({volume: Place("copy", "after")}, _held) as held,
    ):
        token = volflow.context.cloud.cinder.client.client.session.get_token()
        result = volflow.backups.create([volume])
        renewed = volflow.context.cloud.cinder.client.client.session.get_token()
    assert len(held) == 1
    assert str(result.outcome) == "complete"
    assert result.volumes[0].leftovers == ()
    # The run's first token had expired when the run ended.
    assert renewed != token
    with pytest.raises(requests.HTTPError, match="401"):
        old.get("volumes")
    with (
        person.volflow() as volflow,
        faults.injected({volume: Place("copy", "before")}, _held) as held,
    ):
        result = volflow.restores.run(volflow.restores.plan([volume]))
    assert len(held) == 1
    assert str(result.outcome) == "complete"
    assert person.cloud.on(volume, lambda root: (root / "file").read_text()) == "data"
    person.cloud.delete(volume)
