"""Does the evidence keep its promises? The gate on markets, and intervals on returns, whose truth is known.

    python -m bench.calibration                      # everything, hours; what is done already is not done again
    python -m bench.calibration --only no_edge --runs 500

Every run is a row in a file of its experiment under ``--work``, keyed by its seed, so an interrupted experiment goes on
where it stopped. The figures go to docs/calibration.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import track
from scipy import stats

from bench.returns import WORLDS, series
from tradekit import load_panel
from tradekit.desk.folder import find_desk
from tradekit.desk.loader import load_strategies
from tradekit.engine.scenarios import Scenario, slippage_scenario
from tradekit.engine.stress import stress
from tradekit.engine.windows import Windowing
from tradekit.evidence.bootstrap import block_length, percentile_interval, resample
from tradekit.evidence.gates import RULES
from tradekit.evidence.sharpe import sharpe, sharpe_interval
from tradekit.market import indicators
from tradekit.market.costs import CostModel
from tradekit.market.panel import equal_weight_returns
from tradekit.report.gate import gate_of
from tradekit.report.record import record_of
from tradekit.report.summary import plain, summary_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tradekit.engine.strategy import AnyStrategy
    from tradekit.market.panel import Floats, Panel

HOME = Path(__file__).resolve().parents[1]
FIGURES = HOME / "docs" / "calibration.json"
QUICK = ("buy_and_hold", "equal_weight", "sma_cross", "momentum", "regime_aware", "random_actions")
"""Baselines of the desk that learn nothing."""

HALF_LIVES = (3.0, 5.0, 10.0, 20.0, 40.0)
BARS, SYMBOLS = 2016, 8
WINDOWS = Windowing(train_sessions=756, test_sessions=126)
SCENARIOS = (Scenario("base", "base"), slippage_scenario(1.5))
PREMIUMS = {"premium": 0.00022, "bull": 0.00044}
"""Daily return added to every symbol: holding all eight has a Sharpe ratio of about 0.8, and of 1.6."""

ADDED = "deflated_difference"
"""The criterion that was added to the others; the rates are told with and without it."""

STRENGTHS = (0.05, 0.10, 0.125)
STATED = 0.125
"""The strength at which the document promises 80 %."""

FREE = CostModel.preset("free")
POLICY_BARS = 2400
EAGER: dict[str, Any] = {"timesteps": 32_768, "hold_bias": 0.0}
"""A short training that trades a lot: what a policy makes of noise when nothing holds it back."""

PATIENT: dict[str, Any] = {"timesteps": 98_304}
COVERAGE_BARS = (250, 1000, 2500)
SHARPE_PER_BAR = 0.05


@dataclass
class Follow:
    """Holds 1/N of what rose, by an average that halves in ``half_life`` bars; or of what fell, the contrarian's way.

    Attributes:
        half_life: bars.
        side: 1 to follow, -1 to go against.
        firm: how many standard deviations of the average it takes to change one's mind.
    """

    half_life: float
    side: int
    firm: float = 0.5
    name: str = ""

    kind = "custom"

    def __post_init__(self) -> None:
        """Name it by what tells it from the others."""
        self.name = f"{'follow' if self.side > 0 else 'against'}_{self.half_life:g}"

    @property
    def lookback(self) -> int:
        """Bars that the average still remembers, and one to take a return from."""
        return int(8 * self.half_life) + 2

    def fit(self, train: Panel) -> Follow:
        """Learn nothing."""
        return self

    def weights(self, panel: Panel) -> Floats:
        """Return (T, N) weights; NaN leaves a position alone."""
        change = indicators.log_return(panel.close, 1)
        decay, span = 0.5 ** (1.0 / self.half_life), self.lookback - 1
        past = np.lib.stride_tricks.sliding_window_view(change, span, axis=0)
        weight = decay ** np.arange(span)[::-1]
        trend = self.side * (past @ weight) / np.sqrt((past**2) @ weight**2)
        target = np.full(panel.close.shape, np.nan)
        target[span - 1 :][trend > self.firm] = 1.0 / len(panel.symbols)
        target[span - 1 :][trend < -self.firm] = 0.0
        return target


class Tilt:
    """Buys every symbol once, of each a share drawn at random: holding, dressed up."""

    kind, lookback = "custom", 1

    def __init__(self, seed: int, number: int) -> None:
        self.name = f"tilt_{number}"
        self._draw = (seed, number)

    def fit(self, train: Panel) -> Tilt:
        """Learn nothing."""
        return self

    def weights(self, panel: Panel) -> Floats:
        """Return (T, N) weights: the shares whenever a quarter begins, nothing new in between."""
        shares = np.random.default_rng(self._draw).dirichlet(np.full(len(panel.symbols), 3.0))
        quarter = panel.timestamps.astype("M8[M]").astype(int) // 3
        begins = np.append(True, quarter[1:] != quarter[:-1])
        return np.where(begins[:, None], shares, np.nan)


def candidates() -> list[AnyStrategy]:
    """Return what a trader might try in an afternoon: ten rules, of which the best is put forward."""
    return [Follow(half_life, side) for side in (1, -1) for half_life in HALF_LIVES]


def baselines() -> list[AnyStrategy]:
    """Return the desk's own strategies that learn nothing."""
    return [one.strategy for one in load_strategies(find_desk(HOME), QUICK)]


def judged(strategies: Sequence[AnyStrategy], panel: Panel, costs: CostModel) -> dict[str, Any]:
    """Return what the gate says of the best candidate among ``strategies``, from walk-forward to verdict."""
    result = stress(strategies, panel, SCENARIOS, WINDOWS, costs)
    hashes: dict[str, Any] = {"file_hashes": {}, "bundle_hashes": {}, "versions": {}, "trials": None}
    told = {"command": "calibration", "created": "", "seeds": [], "action_names": [], "action_reasons": []}
    summary = summary_of(record_of(result, hashes | told))
    gate = gate_of(summary)
    lines = {row["name"]: row for row in gate["criteria"]}
    return {
        "strategy": gate["strategy"],
        "go": gate["go"],
        "outcome": summary["verdict"]["outcome"],
        "met": sorted(name for name, row in lines.items() if row["verdict"] == "pass"),
        "values": {name: row["value"] and round(row["value"], 4) for name, row in lines.items()},
    }


def no_edge(seed: int) -> dict[str, Any]:
    """Judge the best of ten rules on a martingale, free of costs: no rule can earn anything but luck."""
    return judged([*baselines(), *candidates()], noise(seed), FREE)


def premium(seed: int) -> dict[str, Any]:
    """Judge the best of ten rules where everything rises on average: holding earns, timing adds nothing."""
    return judged([*baselines(), *candidates()], risen(noise(100_000 + seed), PREMIUMS["premium"]), FREE)


def bull(seed: int) -> dict[str, Any]:
    """Judge the best of ten ways to hold in a market that rises so well that any of them looks good."""
    tilts = [Tilt(seed, number) for number in range(10)]
    return judged([*baselines(), *tilts], risen(noise(200_000 + seed), PREMIUMS["bull"]), FREE)


def planted(strength: float, seed: int) -> dict[str, Any]:
    """Judge the best of ten rules where following the trend earns: a gate that always says no is no gate."""
    options = f"symbols={SYMBOLS}&bars={BARS}&seed={300_000 + seed}&strength={strength}"
    return judged([*baselines(), *candidates()], load_panel(f"synthetic:planted?{options}"), CostModel())


def policy(source: str, costs: CostModel, ppo: dict[str, Any], seed: int) -> dict[str, Any]:
    """Judge a policy trained on the first bars of a market on the rest of them."""
    from tradekit.learn.policy import PolicyStrategy
    from tradekit.learn.recipe import Recipe
    from tradekit.learn.train import train

    panel = load_panel(f"{source}symbols={SYMBOLS}&bars={POLICY_BARS}&seed={400_000 + seed}")
    recipe = Recipe(name="learnt", seed=seed, costs=costs).changed(**ppo)
    with tempfile.TemporaryDirectory() as folder:
        bundle = train(recipe, panel, Path(folder))[0]
        return judged([*baselines(), PolicyStrategy(bundle)], panel, costs)


def noise(seed: int) -> Panel:
    """Return a market without anything to learn."""
    return load_panel(f"synthetic:noise?symbols={SYMBOLS}&bars={BARS}&seed={seed}")


def risen(panel: Panel, daily: float) -> Panel:
    """Return ``panel`` with a constant return added to every bar."""
    growth = (1.0 + daily) ** np.arange(len(panel))[:, None]
    prices = {name: getattr(panel, name) * growth for name in ("open", "high", "low", "close")}
    return replace(panel, **prices, benchmark_returns=equal_weight_returns(prices["close"]))


def coverage(world: str, bars: int, seed: int) -> dict[str, Any]:
    """Return which intervals of one series of known Sharpe ratio hold it."""
    returns = series(world, bars, seed, SHARPE_PER_BAR)
    direct = sharpe_interval(returns, 1.0)
    drawn = resample(returns[:, None], block_length(returns), 500, seed=seed)
    resampled = percentile_interval(sharpe(returns, 1.0), drawn.sharpe[:, 0])
    return {
        "interval": direct.low <= SHARPE_PER_BAR <= direct.high,
        "bootstrap": resampled.low <= SHARPE_PER_BAR <= resampled.high,
    }


EXPERIMENTS: dict[str, tuple[Callable[[int], dict[str, Any]], int]] = {
    "no_edge": (no_edge, 500),
    "premium": (premium, 100),
    "bull": (bull, 500),
    **{f"planted_{strength:g}": (partial(planted, strength), 100) for strength in STRENGTHS},
    "learnt_no_edge": (partial(policy, "synthetic:noise?", FREE, EAGER), 100),
    "learnt_planted": (partial(policy, "synthetic:planted?strength=0.2&", CostModel(), PATIENT), 20),
    **{f"coverage_{w}_{n}": (partial(coverage, w, n), 2000) for w in WORLDS for n in COVERAGE_BARS},
}
"""Name, what one seed of it does, and how many seeds are asked for by default."""


def rows_of(name: str, runs: int, work: Path) -> list[dict[str, Any]]:
    """Return the rows of ``runs`` seeds of an experiment, doing those that are not in its file yet."""
    path = work / f"{name}.jsonl"
    known = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
    done = {row["seed"]: row for row in known}
    missing = [seed for seed in range(runs) if seed not in done]
    work.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        for seed in track(missing, name, console=Console(stderr=True), disable=not missing):
            done[seed] = plain({"seed": seed, **EXPERIMENTS[name][0](seed)})
            file.write(json.dumps(done[seed], sort_keys=True) + "\n")
            file.flush()
    return [done[seed] for seed in range(runs)]


def figures_of(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return how often each thing that is true or false of a run was true, with exact 95 % bounds."""
    if "go" not in rows[0]:
        return {name: share(sum(row[name] for row in rows), len(rows)) for name in ("interval", "bootstrap")}
    criteria = sorted({name for row in rows for name in row["values"]})
    return {
        "go": share(sum(row["go"] for row in rows), len(rows)),
        "ahead": share(sum(row["outcome"] == "ahead" for row in rows), len(rows)),
        "met": {name: sum(name in row["met"] for row in rows) for name in criteria},
        "median_sharpe": round(float(np.median([row["values"]["sharpe"] or 0.0 for row in rows])), 2),
        "go_without_it": share(sum(_without(row) for row in rows), len(rows)),
    }


def _without(row: dict[str, Any]) -> bool:
    """Return whether the gate would have said go without the criterion that was added."""
    binding = {rule.name for rule in RULES if not rule.advisory} - {ADDED}
    return binding <= set(row["met"])


def share(hits: int, runs: int) -> dict[str, float]:
    """Return a count with its rate, its Clopper-Pearson 95 % interval and its one-sided 95 % upper bound."""
    low = float(stats.beta.ppf(0.025, hits, runs - hits + 1)) if hits else 0.0
    high, upper = (float(stats.beta.ppf(q, hits + 1, runs - hits)) if hits < runs else 1.0 for q in (0.975, 0.95))
    rounded = {"rate": hits / runs, "low": low, "high": high, "upper": upper}
    return {"hits": hits, "runs": runs, **{name: round(value, 4) for name, value in rounded.items()}}


def main() -> None:
    """Run the experiments asked for and write the figures."""
    parser = argparse.ArgumentParser(description="Calibrate the gate and the intervals.")
    parser.add_argument("--only", nargs="+", default=list(EXPERIMENTS), help=", ".join(EXPERIMENTS))
    parser.add_argument("--runs", type=int, help="seeds of each; default: as many as docs/calibration.md says")
    parser.add_argument("--work", type=Path, default=HOME / "build" / "calibration", help="folder of the rows")
    parser.add_argument("--figures", type=Path, default=FIGURES, help="file of the figures")
    options = parser.parse_args()
    chosen = [name for name in EXPERIMENTS if any(name == want or name.startswith(f"{want}_") for want in options.only)]
    found = json.loads(options.figures.read_text(encoding="utf-8")) if options.figures.is_file() else {}
    for name in chosen:
        found[name] = figures_of(rows_of(name, options.runs or EXPERIMENTS[name][1], options.work))
        options.figures.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        counts = {key: one for key, one in found[name].items() if isinstance(one, dict) and "hits" in one}
        Console().print(name, *(f"{key} {one['hits']}/{one['runs']}" for key, one in counts.items()))


if __name__ == "__main__":
    main()
