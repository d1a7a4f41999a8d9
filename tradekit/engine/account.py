"""Account: a fitted strategy ready to run, under one seed, or under several of which it holds an equal part each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from tradekit.engine.lockstep import Job, Stretch, run_lockstep
from tradekit.engine.prepared import Prepared, Switch, audit_of, decided, loop_of
from tradekit.engine.seeds import averaged
from tradekit.engine.strategy import attempt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tradekit.engine.audit import AuditReport
    from tradekit.engine.ledger import Ledger
    from tradekit.engine.windows import Windowing
    from tradekit.market.costs import CostModel
    from tradekit.market.execution import ExecutionModel
    from tradekit.market.panel import Panel

PANELS_TOGETHER = 64
"""Worlds in one roll-out. More would save little time, and each takes the memory of its bars, copied as they close."""


@dataclass(frozen=True)
class Account:
    """A strategy fitted in every window; parts: one for each seed, each with what it decides."""

    parts: tuple[Prepared, ...]

    @property
    def failures(self) -> tuple[str | None, ...]:
        """By window, why a part failed in it."""
        return tuple(next((why for why in reasons if why), None) for reasons in zip(*self._failures, strict=True))

    @property
    def _failures(self) -> list[tuple[str | None, ...]]:
        return [part.failures for part in self.parts]

    def run(
        self, panel: Panel, costs: Sequence[CostModel], execution: ExecutionModel, cash: float, *, records: bool = True
    ) -> list[Ledger]:
        """Return one ledger for each of ``costs``, of what the parts decide."""
        runs = [part.run(panel, costs, execution, cash, records) for part in self.parts]
        return [averaged(ledgers) for ledgers in zip(*runs, strict=True)]

    def run_in(
        self,
        panels: Sequence[Panel],
        windowing: Windowing,
        costs: CostModel,
        execution: ExecutionModel,
        cash: float,
        *,
        records: bool = True,
    ) -> list[Ledger | str]:
        """Return what the strategy makes of other bars, one ledger for each of ``panels``, or why it has none.

        It decides anew on each, as fitted; closed loops on many of them in one roll-out, with the numbers that each
        has alone. One that fails on some bars, in a window in which it had not, has no ledger there.
        """
        made = [_Elsewhere(part, windowing, costs, execution, cash, records).run(panels) for part in self.parts]
        return [
            next((one for one in runs if isinstance(one, str)), None)
            or averaged([one for one in runs if not isinstance(one, str)])
            for runs in zip(*made, strict=True)
        ]

    def first_fit(self) -> Account:
        """Return the account of what each part learnt in the first window, judged in that and nowhere else."""
        return Account(
            tuple(
                replace(
                    part,
                    windows=part.windows[:1],
                    fitted=part.fitted[:1],
                    failures=part.failures[:1],
                )
                for part in self.parts
            )
        )

    def audit(self, panel: Panel) -> AuditReport | None:
        """Audit every part; return the first report that failed, else the first."""
        reports = [report for part in self.parts if (report := audit_of(part, panel)) is not None]
        return next((report for report in reports if not report.passed), reports[0] if reports else None)


@dataclass(frozen=True)
class _Elsewhere:
    """One part on bars that it was not fitted on: from its first judged row to the end of the bars."""

    part: Prepared
    windowing: Windowing
    costs: CostModel
    execution: ExecutionModel
    cash: float
    records: bool

    def run(self, panels: Sequence[Panel]) -> list[Ledger | str]:
        """Return a ledger for each panel, or why there is none."""
        if all(self.part.failures):
            return [f"it failed in every window: {self.part.failures[0]}"] * len(panels)
        found: list[Ledger | str] = []
        for first in range(0, len(panels), PANELS_TOGETHER):
            some = panels[first : first + PANELS_TOGETHER]
            together = self._together(some) if self.part.driver is not None and len(some) > 1 else None
            found += together or [self._alone(panel) for panel in some]
        return found

    def _together(self, panels: Sequence[Panel]) -> list[Ledger] | None:
        """Run a closed loop on all of them; None where it fails on any, and nobody knows on which."""
        here = self._anew(max(panels, key=len))  # nothing is decided after the last bar, so nothing flattened there
        assert here.driver is not None
        start = here.windows[0].test_start
        job = Job(
            [Stretch(panel, start, len(panel)) for panel in panels],
            [0],
            [self.costs],
            self.execution,
            self.cash,
            self.records,
            None,
        )
        ledgers: list[Ledger] | None = attempt(partial(run_lockstep, loop_of(here.driver), job))[0]
        return None if self._new(here) else ledgers

    def _alone(self, panel: Panel) -> Ledger | str:
        here, failure = attempt(partial(self._anew, panel))
        ledgers: list[Ledger] | None = None
        if failure is None and not self._new(here):
            run = partial(here.run, panel, [self.costs], self.execution, self.cash, records=self.records)
            ledgers, failure = attempt(run)
        if failure is not None:
            return f"it raised {failure}"
        if new := self._new(here):
            return f"it failed in {len(new)} of {len(here.windows)} windows: {new[0]}"
        assert ledgers is not None
        return ledgers[0]

    def _anew(self, panel: Panel) -> Prepared:
        """Return the part with what it decides on ``panel``; a loop that had to be one for each window still is."""
        last = self.part.windows[-1]._replace(test_stop=len(panel))
        part = replace(self.part, windows=(*self.part.windows[:-1], last))
        if isinstance(part.driver, Switch):
            return replace(part, driver=Switch(part, self.windowing.carry == "flatten"))
        return decided(part, panel, self.windowing, self.execution)

    def _new(self, here: Prepared) -> list[str]:
        """Return why ``here`` failed, in windows in which the part had not."""
        late = here.driver.failures if isinstance(here.driver, Switch) else {}
        now = [late.get(k, why) for k, why in enumerate(here.failures)]
        return [why for before, why in zip(self.part.failures, now, strict=True) if why and not before]
