"""Quality of price data: every defect named by row, and repairs of what is asked for.

>>> from tradekit.market.quality import check
>>> check("synthetic:noise").verdict
'ok'
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tradekit.market.quality.findings import Finding, Report

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tradekit.market.actions import Actions
    from tradekit.market.panel import Panel
    from tradekit.market.quality.repairs import Repaired
    from tradekit.market.sources.raw import Source

__all__ = ["Finding", "Report", "check", "demand_adjusted", "repair"]


def check(source: Source) -> Report:
    """Return every finding about a file, folder, named source, panel, table or DataFrame.

    Raises:
        DataError: it cannot be opened, has no timestamp or no close column, or no rows.
    """
    from tradekit.market.quality.inspect import inspect
    from tradekit.market.sources.raw import open_raw

    return inspect(open_raw(source))


def repair(
    source: Source,
    findings: Iterable[Finding] | None = None,
    *,
    ask: Sequence[str],
    actions: Actions | str | os.PathLike[str] | None = None,
) -> Repaired:
    """Return a source with the repairs that are asked for done on the rows that findings name, and no others.

    Args:
        source: as for ``check``.
        findings: of that source; None checks it and takes all.
        ask: which repairs; ``tradekit.market.quality.repairs.ASKS`` says what each does.
        actions: for ``apply_actions``: splits and dividends, or a file that holds them; None takes the table's own.

    Raises:
        DataError: as ``check``; an unknown repair, or one that cannot be done on this table.
    """
    from tradekit.market.quality.inspect import inspect
    from tradekit.market.quality.repairs import repair_table
    from tradekit.market.sources.raw import open_raw, read_actions

    table = open_raw(source)
    given = read_actions(actions) if isinstance(actions, (str, os.PathLike)) else actions
    return repair_table(table, inspect(table).findings if findings is None else findings, ask, given)


def demand_adjusted(panel: Panel) -> None:
    """Raise DataError when a panel's prices step by a split: raw prices, which no strategy may be run on.

    Raises:
        DataError: names the first such symbol, session and ratio, and the mend.
    """
    from tradekit.market.quality.adjusted import first_unadjusted

    found = first_unadjusted(panel)
    if found is not None:
        from tradekit.errors import DataError

        raise DataError(
            f"{panel.source}: {found.symbol} steps by a {found.new}:{found.old} split on {found.date} "
            f"({found.before:g} to {found.after:g}), so its prices are raw; load it with its actions "
            "(--actions FILE, actions=FILE in Python: timestamp, symbol, split, dividend), or take adjusted prices"
        )
