"""The columns of the table of strategies, shared by the terminal, summary.md and report.html."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from tradekit.report.words import DASH, dollars, interval, number, percent

if TYPE_CHECKING:
    from collections.abc import Callable

Metrics = dict[str, Any]


class Column(NamedTuple):
    """One metric as a column: its key in summary.json, its heading, how it reads, and what it means."""

    metric: str
    heading: str
    show: Callable[[Metrics], str]
    meaning: str


def _sharpe(metrics: Metrics) -> str:
    return number(metrics["sharpe"])


def _sharpe_interval(metrics: Metrics) -> str:
    bounds = interval(metrics["sharpe_low"], metrics["sharpe_high"])
    return _sharpe(metrics) if bounds == DASH else f"{_sharpe(metrics)} {bounds}"


TOTAL_RETURN = Column(
    "total_return",
    "Return",
    lambda m: percent(m["total_return"], sign=True),
    "Compounded over the scored bars, after costs.",
)
CAGR = Column("cagr", "CAGR", lambda m: percent(m["cagr"], sign=True), "The same as a yearly rate of growth.")
SHARPE = Column(
    "sharpe",
    "Sharpe",
    _sharpe,
    "Mean over standard deviation of the return per bar, times the square root of the bars in a year of 252 sessions; "
    "cash earns 0 %. The interval of 95 % allows for skewness, fat tails and autocorrelation, not for how many "
    "strategies were tried.",
)
SHARPE_WITH_INTERVAL = SHARPE._replace(heading="Sharpe [95 %]", show=_sharpe_interval)
MAX_DRAWDOWN = Column(
    "max_drawdown",
    "Max drawdown",
    lambda m: percent(m["max_drawdown"]),
    "The deepest fall of equity under its highest close so far.",
)
TURNOVER = Column(
    "turnover",
    "Turnover",
    lambda m: number(m["turnover"], 1),
    "Dollars bought plus sold in a year, as a multiple of equity.",
)
TRADES = Column("trades", "Trades", lambda m: number(m["trades"], 0), "Orders that filled, whole or in part.")
COST_A_YEAR = Column(
    "cost_a_year",
    "Costs a year",
    lambda m: percent(m["cost_a_year"], 2),
    "All cost terms in a year, as a share of equity.",
)
EXCESS = Column(
    "excess_over_benchmark",
    "Excess",
    lambda m: percent(m["excess_over_benchmark"], sign=True),
    "CAGR less that of the benchmark.",
)
VOLATILITY = Column(
    "volatility", "Volatility", lambda m: percent(m["volatility"]), "Standard deviation of the return, a year."
)
SORTINO = Column(
    "sortino", "Sortino", lambda m: number(m["sortino"]), "As Sharpe, counting only the deviation of losing bars."
)
CALMAR = Column("calmar", "Calmar", lambda m: number(m["calmar"]), "CAGR over max drawdown.")
HIT_RATE = Column(
    "hit_rate", "Hit rate", lambda m: percent(m["hit_rate"]), "Gaining bars among the bars on which equity moved."
)
PROFIT_FACTOR = Column(
    "profit_factor",
    "Profit factor",
    lambda m: number(m["profit_factor"]),
    "Sum of gaining bars over sum of losing bars.",
)
EXPOSURE = Column(
    "exposure", "Exposure", lambda m: percent(m["exposure"], 0), "Mean gross value of the positions over equity."
)
COST = Column("cost", "Costs", lambda m: dollars(m["cost"]), "Dollars of all cost terms over the scored bars.")
COST_RATIO = Column(
    "cost_ratio",
    "Cost ratio",
    lambda m: percent(m["cost_ratio"]),
    "Costs over the profit before costs; undefined where there was none.",
)
PROBABILITY = Column(
    "probabilistic_sharpe",
    "P(Sharpe > 0)",
    lambda m: percent(m["probabilistic_sharpe"]),
    "Probability that the true Sharpe ratio is above zero (Bailey and Lopez de Prado 2012); it does not allow for "
    "how many strategies were tried, which the deflated ratio does.",
)
DEFLATED = Column(
    "deflated_sharpe",
    "Deflated Sharpe",
    lambda m: percent(m["deflated_sharpe"]),
    "Probability that the true Sharpe ratio is above what the best of all trials would show without skill (Bailey and "
    "Lopez de Prado 2014).",
)
DIFFERENCE = Column(
    "deflated_difference",
    "Deflated, over holding",
    lambda m: percent(m["deflated_difference"]),
    "The same for the difference of the Sharpe ratio from that of buy and hold.",
)
TRACK_RECORD = Column(
    "least_track_record_bars",
    "Track record needed",
    lambda m: f"{number(m['least_track_record_bars'], 0)} bars",
    "Bars it takes to tell this Sharpe ratio from zero with 95 % confidence (minimum track record length, Bailey and "
    "Lopez de Prado 2012).",
)
CAPTURE = Column(
    "ceiling_capture",
    "Share of the ceiling",
    lambda m: percent(m["ceiling_capture"]),
    "Log growth as a share of what perfect foresight of every price would have brought.",
)
INFORMATION = Column(
    "information_ratio",
    "Information ratio",
    lambda m: number(m["information_ratio"]),
    "Mean over deviation of the difference from the benchmark, a year.",
)
LONGEST = Column(
    "longest_drawdown_bars",
    "Longest drawdown",
    lambda m: f"{number(m['longest_drawdown_bars'], 0)} bars",
    "Most bars in a row under an earlier high.",
)

MAIN = (TOTAL_RETURN, CAGR, SHARPE_WITH_INTERVAL, MAX_DRAWDOWN, TURNOVER, TRADES, COST_A_YEAR, EXCESS)
FURTHER = (
    VOLATILITY,
    SORTINO,
    CALMAR,
    HIT_RATE,
    PROFIT_FACTOR,
    EXPOSURE,
    LONGEST,
    COST,
    COST_RATIO,
    PROBABILITY,
    DEFLATED,
    DIFFERENCE,
    TRACK_RECORD,
    CAPTURE,
    INFORMATION,
)
STRESS = (SHARPE, TOTAL_RETURN, MAX_DRAWDOWN)
