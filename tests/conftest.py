"""What all tests have in common."""

from __future__ import annotations

import os
import secrets

from tests.support.auditor import TOKEN_VARIABLE

# The auditor finds all processes that the tests started by this token. It is unique to this
# pytest process, as others may run at the same time.
os.environ[TOKEN_VARIABLE] = secrets.token_hex(16)
