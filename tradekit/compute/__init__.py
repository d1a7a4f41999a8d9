"""Independent pieces of work, named by what they depend on: run here, in other processes, or over a Ray cluster.

``run_cells`` answers the same values however the cells are spread, keeps what is finished in a ``Store``, and says by
name which cell failed while the rest goes on. It knows no strategy and no bars: a cell is a function and its arguments.
"""

from __future__ import annotations

from tradekit.compute.cells import Cell, Outcome, Progress, run_cells
from tradekit.compute.store import Store, hash_of

__all__ = ["Cell", "Outcome", "Progress", "Store", "hash_of", "run_cells"]
