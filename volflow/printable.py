"""Text without characters that control a terminal, and of a limited length.

Names come from tenants, messages from clouds and programs: they can contain any character, and
have any length.
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


# Characters of a message that is stored.
_STORED = 4000


def printable(text: str) -> str:
    """The text in one line, with control characters escaped as in source code: ``\\x1b``."""
    return _UNPRINTABLE.sub(_escaped, text)


def printable_lines(text: str) -> str:
    """A text of several lines with control characters escaped, except line breaks and tabs."""
    return _BETWEEN_LINES.sub(_escaped, text)


def bounded(text: str, limit: int = _STORED) -> str:
    """A text, or if it is longer than ``limit`` characters: its beginning and its end."""
    if len(text) <= limit:
        return text
    end = limit // 4
    left_out = len(text) - limit
    return f"{text[: limit - end]} [... {left_out} characters left out ...] {text[-end:]}"


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
