"""docs/metrics.md defines every metric that summary.json carries."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tradekit.report.run_folder import read_summary

if TYPE_CHECKING:
    from pathlib import Path


def test_every_metric_is_defined(walked_folder: Path, repository: Path) -> None:
    text = (repository / "docs" / "metrics.md").read_text(encoding="utf-8")
    table = text.split("| metric | definition |")[1].split("\n\n")[0]
    rows = [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| `")]
    defined = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    metrics = next(one["metrics"] for one in read_summary(walked_folder)["strategies"] if one["metrics"])
    assert defined == set(metrics)
