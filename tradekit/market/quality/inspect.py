"""All checks over one table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradekit.errors import DataError
from tradekit.market.quality.bars import each_symbol
from tradekit.market.quality.clock import read_clock
from tradekit.market.quality.columns import check_adj_close, check_columns
from tradekit.market.quality.findings import SEVERITIES, Report
from tradekit.market.quality.gaps import check_gaps, check_intraday, check_ragged
from tradekit.market.quality.prices import check_prices
from tradekit.market.quality.stamps import check_clock, check_stamps
from tradekit.market.quality.values import broken_ranges, check_cells, check_ranges, check_stale, check_volume

if TYPE_CHECKING:
    from tradekit.market.quality.findings import Finding
    from tradekit.market.quality.table import RawTable

BY_SYMBOL = (check_clock, check_gaps, check_intraday, check_volume, check_stale, check_adj_close, check_prices)


def inspect(table: RawTable) -> Report:
    """Return the report of every check over ``table``.

    Raises:
        DataError: it has no rows.
    """
    if not len(table):
        raise DataError(f"{table.origin}: no rows; the file holds only a header")
    clock = read_clock(table)
    every = list(each_symbol(table, clock))
    broken = broken_ranges(table)
    found: list[Finding] = [*check_columns(table), *check_stamps(table, clock), *check_cells(table)]
    found += check_ragged(every)
    for bars in every:
        for check in BY_SYMBOL:
            found += check(bars)
        found += check_ranges(bars, broken)
    return Report(table.origin, table.names, len(table), tuple(sorted(found, key=_order)))


def _order(finding: Finding) -> tuple[int, str, str, tuple[int, ...]]:
    return SEVERITIES.index(finding.severity), finding.check, finding.symbol, finding.rows
