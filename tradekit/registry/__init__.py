"""The registry: every run of a desk and every trial that was made in it, in one SQLite file.

A Sharpe ratio means less the more candidates it was picked from, so somebody has to count them. A *trial* is a distinct
(candidate, bars): strategy code with its parameters, or a trained policy, on one set of bars, that a person could have
chosen. Tuning trials are trials. Seeds that are averaged, windows, stress cells and a run repeated with the same inputs
are not: they have the same key, or none.

Trials are only ever added. A run remembers how far the list went when it began, its own trials included, so the set it
is judged against is frozen and can be counted again later. Writers in several processes take turns (WAL, one immediate
transaction per call).

The file's path is passed in; strategies, panels and folders are known here by name and hash only.
"""

from __future__ import annotations

from tradekit.registry.book import Registry
from tradekit.registry.rows import Frozen, Kind, Result, RunRow, Status, Trial

__all__ = ["Frozen", "Kind", "Registry", "Result", "RunRow", "Status", "Trial"]
