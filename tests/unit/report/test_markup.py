"""All text in markup is escaped."""

from __future__ import annotations

from volflow.report.markup import element


def test_markup_is_made_of_text() -> None:
    made = element("p", "a < b & c", element("b", "d"), ["e", None], title='"', class_=None)
    assert made == '<p title="&quot;">a &lt; b &amp; c<b>d</b>e</p>'
