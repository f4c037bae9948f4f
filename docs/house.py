"""Draws docs/images/house.svg: the layers of pyproject.toml, with the lines of CONTRIBUTING.rst."""

from __future__ import annotations

import re
import textwrap
import tomllib
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "house.svg"
BESIDE = "persistence/"

WIDTH, HEIGHT_OF_ROOF, BESIDE_WIDTH = 980, 70, 150
LEFT, GAP, PADDING, LINE = 30, 6, 12, 15
# Pixels of a character at 12 px, on average: a little more than it needs.
CHARACTER = 6.9

_STYLE = """
    .door { fill: #2f6db3 }  .work { fill: #1f8076 }
    .data { fill: #7a4fb0 }  .base { fill: #5d6675 }
    .later { fill: none; stroke: #7d8795; stroke-dasharray: 4 4 }
    .in { fill: #ffffff }  .out { fill: #7d8795 }  .line { stroke: #7d8795; fill: none }
    .name { font-weight: bold }  .small { font-size: 12px }
"""
_KINDS = {
    "door": ("cli", "api"),
    "work": ("runs", "report", "flows", "tasks", "plans", "context", "config"),
    "data": ("repositories", "movers", "disk", "observers", "host", "cloud", "persistence"),
}


def layers() -> list[list[str]]:
    """The packages and modules of each layer, the uppermost first, by their names in the table."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (contract,) = (one for one in settings["contracts"] if one["id"] == "layers")
    return [[_shown(name) for name in re.split(r"[|:]", layer)] for layer in contract["layers"]]


def rooms() -> dict[str, str]:
    """What each package or module holds, as the table in CONTRIBUTING.rst says."""
    text = (ROOT / "CONTRIBUTING.rst").read_text()
    table = text.partition(".. rooms")[2].partition(".. where to look")[0]
    rows = re.findall(r"^   \* - ``([\w./]+)``\n     - (.+)$", table, re.MULTILINE)
    return dict(rows)


def draw() -> str:
    """The picture as SVG, readable on a light and on a dark page."""
    lines, parts = rooms(), []
    right = WIDTH - LEFT - BESIDE_WIDTH - 2 * GAP
    middle = (LEFT + right) / 2
    top = float(HEIGHT_OF_ROOF)
    for layer in layers():
        width = (right - LEFT - GAP * (len(layer) - 1)) / len(layer)
        texts = [_wrapped(name, lines[name], width, alone=len(layer) == 1) for name in layer]
        height = 18 + LINE * max(len(text) for text in texts)
        for index, (name, text) in enumerate(zip(layer, texts, strict=True)):
            left = LEFT + index * (width + GAP)
            parts += _room(name, text, left, top, width, height, alone=len(layer) == 1)
        top += height + GAP
    left = WIDTH - LEFT - BESIDE_WIDTH
    text = _wrapped(BESIDE, lines[BESIDE], BESIDE_WIDTH, alone=False)
    parts += _room(BESIDE, text, left, HEIGHT_OF_ROOF, BESIDE_WIDTH, top - GAP - HEIGHT_OF_ROOF)
    bottom = top + 22
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom:g}" width="{WIDTH}" \
height="{bottom:g}" role="img"
     aria-labelledby="title desc" font-family="'DejaVu Sans', 'Helvetica Neue', Arial, sans-serif" \
font-size="13">
  <title id="title">The packages of volflow</title>
  <desc id="desc">Layers from top to bottom; a package imports from the layers below its own.</desc>
  <!-- Drawn by docs/house.py. Colours that can be read on a light and on a dark page. -->
  <style>{_STYLE}  </style>
  <path class="line" stroke-width="1.5" \
d="M {LEFT} {HEIGHT_OF_ROOF - GAP} L {middle:g} 8 L {right} {HEIGHT_OF_ROOF - GAP} z"/>
  <text class="out name" x="{middle:g}" y="50" text-anchor="middle">volflow/</text>
  <path class="line" stroke-width="1.5" \
d="M 14 {HEIGHT_OF_ROOF} V {top - GAP:g} m -5 -8 l 5 8 l 5 -8"/>
{chr(10).join(parts)}
  <text class="out small" x="{LEFT}" y="{top + 12:g}">Imports point down. Packages of one layer \
do not import each other. Dashed: planned.</text>
</svg>
"""


def _shown(name: str) -> str:
    name = name.strip(" ()")
    return f"{name}.py" if (ROOT / "volflow" / f"{name}.py").exists() else f"{name}/"


def _wrapped(name: str, line: str, width: float, *, alone: bool) -> list[str]:
    line = re.sub(r"``|^\(planned\) |^beside volflow/: ", "", line.replace("``", ""))
    room = width - 2 * PADDING - (120 if alone else 0)
    wrapped = textwrap.wrap(line, int(room / CHARACTER))
    return wrapped if alone else ["", *wrapped]


def _room(
    name: str,
    text: list[str],
    left: float,
    top: float,
    width: float,
    height: float,
    *,
    alone: bool = False,
) -> list[str]:
    plain = name.removesuffix("/").removesuffix(".py")
    kinds = (kind for kind, names in _KINDS.items() if plain in names)
    exists = name == BESIDE or (ROOT / "volflow" / name).exists()
    kind, ink = (next(kinds, "base"), "in") if exists else ("later", "out")
    parts = [
        f'  <rect class="{kind}" x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}" '
        'rx="6"/>',
        f'  <text class="{ink} name" x="{left + PADDING:g}" y="{top + 20:g}">{name}</text>',
    ]
    indent = PADDING + (120 if alone else 0)
    parts += [
        f'  <text class="{ink} small" x="{left + indent:g}" y="{top + 20 + LINE * number:g}">'
        f"{escape(line)}</text>"
        for number, line in enumerate(text)
        if line
    ]
    return parts


if __name__ == "__main__":
    PICTURE.write_text(draw())
