"""Fees that regulators charge on sales of US equities, by date.

Two fees reach a customer who sells. The SEC's Section 31 fee is a fraction of the sale's value; its rate changes once
or twice a year by Fee Rate Advisory (https://www.sec.gov/rules-regulations/fee-rate-advisories). FINRA's Trading
Activity Fee (TAF) is charged per share, up to a maximum per trade (FINRA By-Laws, Schedule A, section 1; Notice to
Members 04-84, Regulatory Notices 11-27, 12-06 and 12-31, rule filings SR-FINRA-2020-032, -2024-019 and -2026-021).

Coverage: Section 31 from 2001-12-28, the TAF from 2004-11-01, both as published by autumn 2026. Earlier sales pay the
first row of each table, later ones the last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tradekit.market.panel import Floats, Times

# Effective date, dollars per million dollars sold. Nothing was charged from 2025-05-14 to 2026-04-03: the year's
# appropriation had been collected.
SECTION_31 = (
    ("2001-12-28", 15.00),
    ("2002-04-01", 30.10),
    ("2003-03-22", 25.20),
    ("2003-04-01", 46.80),
    ("2004-02-22", 39.00),
    ("2004-04-01", 23.40),
    ("2005-01-07", 32.90),
    ("2005-04-01", 41.80),
    ("2005-12-22", 30.70),
    ("2007-03-17", 15.30),
    ("2008-01-25", 11.00),
    ("2008-04-01", 5.60),
    ("2009-04-10", 25.70),
    ("2010-01-15", 12.70),
    ("2010-04-01", 16.90),
    ("2011-01-21", 19.20),
    ("2012-02-21", 18.00),
    ("2012-04-01", 22.40),
    ("2013-05-25", 17.40),
    ("2014-03-18", 22.10),
    ("2015-02-14", 18.40),
    ("2016-02-16", 21.80),
    ("2017-07-04", 23.10),
    ("2018-05-22", 13.00),
    ("2019-04-16", 20.70),
    ("2020-02-18", 22.10),
    ("2021-02-25", 5.10),
    ("2022-05-14", 22.90),
    ("2023-02-27", 8.00),
    ("2024-05-22", 27.80),
    ("2025-05-14", 0.00),
    ("2026-04-04", 20.60),
)

# Effective date, dollars per share sold, dollars per trade at the most. FINRA paused the fee for the last quarter of
# 2026, after which the previous rate resumes.
TRADING_ACTIVITY = (
    ("2004-11-01", 0.000075, 3.75),
    ("2011-07-01", 0.000090, 4.50),
    ("2012-03-01", 0.000095, 4.75),
    ("2012-07-01", 0.000119, 5.95),
    ("2022-01-01", 0.000130, 6.49),
    ("2023-01-01", 0.000145, 7.27),
    ("2024-01-01", 0.000166, 8.30),
    ("2026-01-01", 0.000195, 9.79),
    ("2026-10-01", 0.0, 0.0),
    ("2027-01-01", 0.000195, 9.79),
)

_MILLION = 1e6


def schedule(timestamps: Times) -> tuple[Floats, Floats, Floats]:
    """Return what a sale pays at each time.

    Args:
        timestamps: (T,) datetime64, in any unit and any order; the date alone counts.

    Returns:
        (T,) Section 31 rate as a fraction of the notional, (T,) TAF in dollars per share, (T,) TAF maximum in dollars
        per trade. No NaN.
    """
    rates = np.array([rate for _, rate in SECTION_31]) / _MILLION
    shares = np.array([share for _, share, _ in TRADING_ACTIVITY])
    caps = np.array([cap for _, _, cap in TRADING_ACTIVITY])
    sec = _rows(timestamps, [date for date, _ in SECTION_31])
    taf = _rows(timestamps, [date for date, _, _ in TRADING_ACTIVITY])
    return rates[sec], shares[taf], caps[taf]


def _rows(timestamps: Times, dates: list[str]) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Return (T,) the row in force at each time: the last that began on or before its date, else the first."""
    begins = np.array(dates, dtype="M8[D]")
    rows = np.searchsorted(begins, np.asarray(timestamps).astype("M8[D]"), side="right") - 1
    return np.maximum(rows, 0)
