"""Trials of earlier runs on the same bars at the same costs: what each earned, where the desk still has it.

They could have been picked as well as the run's own strategies, so the probability of overfitting and the number of
groups count them. A run folder holds a copy: rebuilding it asks no other folder.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tradekit.market.panel import Floats, Times

EQUITY, MANIFEST = "equity.parquet", "manifest.json"


class OtherTrial(NamedTuple):
    """One trial: its key in the registry, its name, and (T,) equity at each close from the one before it counts."""

    key: str
    name: str
    timestamps: Times
    equity: Floats

    def on(self, timestamps: Times) -> OtherTrial | None:
        """Return the trial cut to bars (T,), all of which it has to have; None where it has not."""
        rows = np.searchsorted(self.timestamps, timestamps)
        if not len(rows) or rows[-1] >= len(self.timestamps) or (self.timestamps[rows] != timestamps).any():
            return None
        return self._replace(timestamps=timestamps, equity=self.equity[rows])


def other_trials(places: Mapping[str, str]) -> tuple[OtherTrial, ...]:
    """Read what trials earned, by key the ``file#name`` where the registry says that it is kept, in order of the keys.

    Left out is what is no more there, was changed since, or failed its causality audit: nobody should pick that.
    """
    found = [_read(key, *place.rsplit("#", 1)) for key, place in sorted(places.items())]
    return tuple(one for one in found if one is not None)


def _read(key: str, file: str, name: str) -> OtherTrial | None:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    path = Path(file)
    try:
        manifest, content = json.loads((path.parent / MANIFEST).read_text(encoding="utf-8")), path.read_bytes()
    except (OSError, ValueError):
        return None
    if manifest.get("digests", {}).get(EQUITY) != hashlib.sha256(content).hexdigest():
        return None
    entry = next((one for one in manifest["strategies"] if one["name"] == name), None)
    if entry is None or (entry["audit"] is not None and not entry["audit"]["passed"]):
        return None
    base = manifest["base_scenario"]
    mine = (pc.field("strategy") == name) & (pc.field("scenario") == base)
    rows = pq.read_table(path, columns=["timestamp", "equity"], filters=mine)
    first = max(0, manifest["scored_from"][base] - 1)
    return OtherTrial(key, name, rows["timestamp"].to_numpy()[first:], rows["equity"].to_numpy()[first:])
