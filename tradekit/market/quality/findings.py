"""What a check found: findings by row, and the report that counts and judges them."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sized

    import numpy as np
    from numpy.typing import NDArray

    from tradekit.market.quality.table import RawTable

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One defect of one symbol.

    Attributes:
        check: which check found it, as ``duplicate`` or ``unadjusted_split``.
        severity: ``error`` makes results wrong or the table unreadable; ``warning`` should be looked at and does not
            stop a run; ``note`` says something a reader may take for a defect and is not, or is harmless.
        symbol: whose rows; empty when it concerns the whole table.
        message: what is wrong, where, and how to mend it, in one line.
        rows: positions in the table (from 0) of the rows concerned, in time order; empty for what is missing.
        timestamps: those rows' timestamps as written, or the sessions and bars that are missing.
        value: the measured quantity that the message names; None where there is none.
        repair: the ``ask`` of ``repair`` that mends it; None where only the source can.
    """

    check: str
    severity: Severity
    symbol: str
    message: str
    rows: tuple[int, ...] = ()
    timestamps: tuple[str, ...] = ()
    value: float | None = None
    repair: str | None = None


@dataclass(frozen=True)
class Report:
    """Every finding of a source, worst first.

    Attributes:
        source: what was checked.
        symbols: whose rows it holds.
        rows: how many rows (bars of all symbols) were read.
        findings: sorted by severity, check, symbol.
    """

    source: str
    symbols: tuple[str, ...]
    rows: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """True when no finding is an error."""
        return not self.of(severity="error")

    @property
    def verdict(self) -> str:
        """``ok``, ``ok with warnings`` or ``not ok``."""
        if not self.ok:
            return "not ok"
        return "ok with warnings" if self.of(severity="warning") else "ok"

    @property
    def counts(self) -> dict[str, int]:
        """Findings by severity, all three always present."""
        found = Counter(finding.severity for finding in self.findings)
        return {severity: found[severity] for severity in SEVERITIES}

    @property
    def checks(self) -> dict[str, int]:
        """Findings by check, those that found anything."""
        return dict(sorted(Counter(finding.check for finding in self.findings).items()))

    def of(
        self, check: str | None = None, *, severity: Severity | None = None, symbol: str | None = None
    ) -> tuple[Finding, ...]:
        """Return the findings of a check, severity or symbol; None takes all."""
        wanted = {"check": check, "severity": severity, "symbol": symbol}
        return tuple(
            finding
            for finding in self.findings
            if all(value is None or getattr(finding, name) == value for name, value in wanted.items())
        )

    def lines(self) -> Iterator[str]:
        """Yield one line per finding for a terminal."""
        for finding in self.findings:
            yield f"{finding.severity:7} {finding.check:16} {finding.message}"

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON holds it."""
        return {
            "source": self.source,
            "verdict": self.verdict,
            "ok": self.ok,
            "symbols": list(self.symbols),
            "rows": self.rows,
            "counts": self.counts,
            "checks": self.checks,
            "findings": [
                {**asdict(finding), "rows": list(finding.rows), "timestamps": list(finding.timestamps)}
                for finding in self.findings
            ],
        }


def count(rows: Sized, noun: str) -> str:
    """Return how many, with the noun in its number.

    >>> count([3], "row"), count([3, 4], "row")
    ('1 row', '2 rows')
    """
    return f"{len(rows)} {noun}{'' if len(rows) == 1 else 's'}"


def finding(
    check: str,
    severity: Severity,
    table: RawTable,
    symbol: str,
    rows: NDArray[np.intp],
    message: str,
    value: float | None = None,
    repair: str | None = None,
) -> Finding:
    """Return a finding about ``rows`` of a table."""
    whole = f"{symbol}: {message}" if symbol else message
    places = tuple(int(row) for row in rows)
    return Finding(check, severity, symbol, whole, places, table.stamps(rows), value, repair)
