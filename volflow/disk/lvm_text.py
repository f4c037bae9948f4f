"""The metadata of an LVM volume group as a tree: lvm.conf(5) describes the grammar.

A guest can have written any text. It is read without recursion, and not deeper than LVM writes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeAlias

# A value: a text, a number, or a list of them; or a section.
Value: TypeAlias = "str | int | list[str | int] | Section"
Section: TypeAlias = dict[str, Value]

# Sections within sections; LVM itself has five.
_DEEPEST = 8
_TOKEN = re.compile(
    r"""\s+ | \#[^\n]* | (?P<sign>[{}\[\]=,]) | "(?P<text>(?:[^"\\]|\\.)*)"
    | (?P<word>[^\s{}\[\]=,"\#]+)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
# Its kind, and what it is.
_Token = tuple[str, str]


def parse(text: str) -> Section:
    """Read the metadata.

    :raises ValueError: it is not what LVM writes
    """
    tokens = _tokens(text)
    root: Section = {}
    open_sections = [root]
    for kind, name in tokens:
        here = open_sections[-1]
        if (kind, name) == ("sign", "}") and len(open_sections) > 1:
            open_sections.pop()
            continue
        if kind != "word" or name in here:
            raise ValueError(f"unexpected: {name[:60]!r}")
        after = next(tokens, ("", ""))
        if after == ("sign", "="):
            here[name] = _value(tokens)
        elif after == ("sign", "{") and len(open_sections) < _DEEPEST:
            section: Section = {}
            here[name] = section
            open_sections.append(section)
        else:
            raise ValueError(f"unexpected after {name[:60]!r}: {after[1][:60]!r}")
    if len(open_sections) > 1:
        raise ValueError("it ends within a section")
    return root


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if not found:
            raise ValueError(f"unexpected: {text[at : at + 20]!r}")
        at = found.end()
        if kind := found.lastgroup:
            yield kind, found[kind]


def _value(tokens: Iterator[_Token]) -> Value:
    kind, value = next(tokens, ("", ""))
    if (kind, value) != ("sign", "["):
        return _plain(kind, value)
    values: list[str | int] = []
    for kind, value in tokens:
        if (kind, value) == ("sign", "]"):
            return values
        if (kind, value) != ("sign", ","):
            values.append(_plain(kind, value))
    raise ValueError("it ends within a list")


def _plain(kind: str, value: str) -> str | int:
    if kind == "text":
        return _ESCAPED.sub(r"\1", value)
    # More digits than a number of 64 bits has are none.
    if kind == "word" and re.fullmatch(r"-?[0-9]{1,20}", value, re.ASCII):
        return int(value)
    if kind == "word":
        return value
    raise ValueError(f"no value: {value[:60]!r}")
