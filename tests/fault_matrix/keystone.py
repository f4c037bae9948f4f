"""A testbed in a cloud with Keystone."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from tests.fault_matrix.testbed import Testbed, new_testbed

# Keystone fails before the command begins; else when a call to Cinder is answered with 401.
AT_LOGIN = "login"


@contextmanager
def with_keystone(testbed: Testbed) -> Iterator[Testbed]:
    """A testbed beside another one, in a cloud of its own."""
    directory = testbed.home.parent / f"keystone-{secrets.token_hex(4)}"
    before = dict(os.environ)
    try:
        with new_testbed(directory, testbed.state_reader.connection, keystone=True) as here:
            yield here
    finally:
        os.environ.clear()
        os.environ.update(before)
