"""HTML and SVG elements. All text is escaped automatically.

Names come from tenants, messages from clouds and programs: they can contain any character.
"""

from __future__ import annotations

import html
from collections.abc import Iterable

from volflow.printable import printable_lines

# Elements of HTML that have no end tag.
_VOID = frozenset({"br", "link", "meta", "rect", "line", "path", "use"})


class Markup(str):
    """Well-formed markup. Only this module makes it from text."""

    __slots__ = ()


Child = str | Iterable["Child"] | None
Value = str | int | float | bool | None


def text(value: str) -> Markup:
    """Text, escaped for use between tags and in attributes."""
    # This also escapes control characters, which are not allowed in XML in any form.
    return Markup(html.escape(printable_lines(value)))


def element(name: str, /, *children: Child, **attributes: Value) -> Markup:
    """An element.

    :param children: text, markup, or several of those; None is ignored
    :param attributes: ``_`` in a name becomes ``-``, and is dropped at the end (``class_``);
        None and False omit an attribute, True gives it no value
    """
    opening = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID and not children:
        return Markup(f"<{name}{opening}/>")
    return Markup(f"<{name}{opening}>{join(children)}</{name}>")


def join(children: Iterable[Child]) -> Markup:
    """Several pieces in a row."""
    return Markup("".join(_child(child) for child in children))


def trusted(written: str) -> Markup:
    """Markup or a style sheet from this program's source; never text from outside."""
    return Markup(written)


def _child(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    return text(child) if isinstance(child, str) else join(child)


def _attribute(key: str, value: Value) -> str:
    if value is None or value is False:
        return ""
    name = key.removesuffix("_").replace("_", "-")
    if value is True:
        return f' {name}=""'
    # Positions on a page need at most two decimals.
    written = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    return f' {name}="{text(written)}"'
