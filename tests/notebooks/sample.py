"""A tiny chapter that every gate lets pass; the tests spoil one thing at a time."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

from mmcook.course import RECORD_TYPE

ALT = "One black pixel, the smallest figure that there is"
FIGURES = "for figure, alt in figures:\n    mmcook.plots.show(figure, alt)"
FORMULA = "## Mathematics\n$$\\frac{1}{2} + \\frac{1}{2} = 1$$\n\n| a | b |\n|---|---|\n| 1 | 2 |"
CLAIMS = """run.claim("One is one", 1 == 1, "1 against 1", headline=True)
run.claim("Two exceeds one", 2 > 1, "2 against 1")
run.claim("Three exceeds two", 3 > 2, "3 against 2")"""


def chapter() -> dict[str, Any]:
    """A clean chapter, as its file would hold it; `cell` finds its parts."""
    picture = {"text/html": f'<img alt="{ALT}" src="data:image/png;base64,{pixel()}">', "text/plain": ALT}
    record = {RECORD_TYPE: {"claims": []}, "text/plain": "3 of 3 claims hold"}
    cells = [
        markdown("title", "# A small chapter\nNew words are in the [glossary](glossary.md): $a^2 + b^2 = c^2$."),
        code("settings", 'scale = "laptop"\nseed = 0'),
        code("start", "import mmcook\n\nrun = mmcook.start(scale, seed)", stream("laptop scale, seed 0, CPU\n")),
        markdown("mathematics", FORMULA),
        code("figures", FIGURES, *[show(picture)] * 3),
        code("claims", CLAIMS, stream("Claim holds: One is one (1 against 1)\n")),
        code("summary", "run.summary()", show(record)),
    ]
    cells[1]["metadata"]["tags"] = ["parameters"]
    for count, counted in enumerate((c for c in cells if c["cell_type"] == "code"), 1):
        counted["execution_count"] = count
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def cell(notebook: dict[str, Any], name: str) -> dict[str, Any]:
    """The cell with an id."""
    return next(cell for cell in notebook["cells"] if cell.get("id") == name)


def markdown(name: str, source: str) -> dict[str, Any]:
    """A Markdown cell."""
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": source}


def code(name: str, source: str, *outputs: dict[str, Any]) -> dict[str, Any]:
    """A code cell with its outputs."""
    made = {"cell_type": "code", "id": name, "metadata": {}, "source": source}
    return made | {"execution_count": None, "outputs": list(outputs)}


def stream(text: str, name: str = "stdout") -> dict[str, Any]:
    """A printed output."""
    return {"output_type": "stream", "name": name, "text": text}


def show(data: dict[str, Any]) -> dict[str, Any]:
    """A displayed output."""
    return {"output_type": "display_data", "data": data, "metadata": {}}


def pixel() -> str:
    """A PNG of one black pixel, in base64."""
    header = struct.pack(">2I5B", 1, 1, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0\0")), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + body).decode()
