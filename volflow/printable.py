"""Text without characters that control a terminal.

Names come from tenants, messages from clouds and programs: they can contain any character.
"""

from __future__ import annotations

import re

# Characters that move the cursor, change colours or the direction of writing; and surrogates, which
# no file can contain.
_CONTROLS = (
    "\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff"
)
_UNPRINTABLE = re.compile(f"[{_CONTROLS}]")
_BETWEEN_LINES = re.compile(f"(?![\n\t])[{_CONTROLS}]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: str) -> str:
    """The text in one line, with control characters escaped as in source code: ``\\x1b``."""
    return _UNPRINTABLE.sub(_escaped, text)


def printable_lines(text: str) -> str:
    """A text of several lines with control characters escaped, except line breaks and tabs."""
    return _BETWEEN_LINES.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
