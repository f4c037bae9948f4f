"""What all tests have in common."""

from __future__ import annotations

import os
import secrets

from tests.support.auditor import TOKEN_VARIABLE

# By it the auditor knows every process that the tests have started: those of this process of
# pytest, as others may run side by side.
os.environ[TOKEN_VARIABLE] = secrets.token_hex(16)
