"""Read the hand-worked tables of docs/execution.md."""

from __future__ import annotations

from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "execution.md"

Row = dict[str, str]


def table(heading: str) -> list[Row]:
    """Return the first table under ``### heading`` as one dictionary per row, cells as text."""
    section = DOCUMENT.read_text().split(f"\n### {heading}\n", 1)[1]
    lines = [line for line in section.split("\n#", 1)[0].splitlines() if line.startswith("|")]
    names, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(names, row, strict=True)) for row in rows]


def number(cell: str) -> float:
    """Return a cell as float64; a dash is NaN."""
    return float("nan") if cell == "-" else float(cell)
