from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.panels import BuyOnce, Table, random_panel
from tradekit.compute import Store
from tradekit.engine.break_even import MULTIPLES, multiples_of
from tradekit.engine.paths import paths
from tradekit.engine.scenarios import SHIPPED, Scenario
from tradekit.engine.simulate import simulate
from tradekit.engine.stress import stress
from tradekit.engine.stress_setup import Draws
from tradekit.engine.walk_forward import walk_forward
from tradekit.engine.windows import Windowing
from tradekit.engine.worlds import Span, worlds
from tradekit.errors import ConfigError
from tradekit.evidence.measures import max_drawdown
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel
from tradekit.market.sources import load_panel

if TYPE_CHECKING:
    from tradekit.engine.strategy import AnyStrategy
    from tradekit.engine.stress import Stress
    from tradekit.market.panel import Floats, Panel

WINDOWS = Windowing(train_sessions=50, test_sessions=20)


def test_every_cell_equals_the_run_it_stands_for() -> None:
    panel = random_panel(130, 3)
    scenarios = [
        Scenario("base", "base"),
        Scenario("slip", "costs", slippage_shock=1.5),
        Scenario("all", "costs", cost_shock=2.0),
        Scenario("late", "latency", latency_bars=2),
    ]
    result = stress([Table(0.3), BuyOnce()], panel, scenarios, WINDOWS)
    model = CostModel()
    for name, costs, latency in (
        ("base", model, 0),
        ("slip", model.shocked(1.5), 0),
        ("all", model.scaled(2.0), 0),
        ("late", model, 2),
    ):
        alone = walk_forward(Table(0.3), panel, WINDOWS, costs, ExecutionModel(latency_bars=latency)).runs[0].ledger
        cell = result.cell("table", name).ledger
        assert alone is not None
        assert cell is not None
        np.testing.assert_array_equal(cell.equity, alone.equity)
        assert cell.cost_model == costs


def test_a_replay_is_learnt_just_before_and_judged_on_its_dates() -> None:
    panel = random_panel(200, 2)
    start, end = str(panel.timestamps[100])[:10], str(panel.timestamps[139])[:10]
    cell = stress(BuyOnce(), panel, [Scenario("fall", "replay", start=start, end=end)], WINDOWS).cells[0]
    assert cell.ledger is not None
    by_hand = simulate(BuyOnce(), panel[80:140])  # a test slice of 20 bars earlier, and scored from bar 100
    np.testing.assert_array_equal(cell.ledger.equity, by_hand.equity)
    assert cell.scored_from == 20


def test_a_replay_may_reach_back_beyond_the_bars_that_are_walked() -> None:
    panel = random_panel(300, 2)
    start, end = str(panel.timestamps[80])[:10], str(panel.timestamps[99])[:10]
    scenarios = [Scenario("base", "base"), Scenario("fall", "replay", start=start, end=end)]
    result = stress(BuyOnce(), panel[150:], scenarios, WINDOWS, history=panel)
    base, fall = (result.cell("buy_and_hold", name).ledger for name in ("base", "fall"))
    assert base is not None
    assert fall is not None
    assert base.timestamps[0] == panel.timestamps[200]
    np.testing.assert_array_equal(fall.equity, simulate(BuyOnce(), panel[60:100]).equity)


@pytest.mark.parametrize(
    ("start", "end"), [("2000-03-24", "2002-10-09"), ("2030-01-01", "2030-06-01"), ("2010-01-10", "2010-02-01")]
)
def test_a_replay_the_data_does_not_cover_is_listed_with_the_reason(start: str, end: str) -> None:
    cell = stress(BuyOnce(), random_panel(200, 2), [Scenario("gone", "replay", start=start, end=end)], WINDOWS).cells[0]
    assert cell.ledger is None
    assert "the data covers 2010-01-04 to 2010-07-22" in str(cell.skipped)


def test_a_policy_is_not_replayed_on_bars_it_was_trained_on() -> None:
    panel = random_panel(200, 2)
    policy = Table(0.2, "policy")
    policy.seen_end = panel.timestamps[120]  # type: ignore[attr-defined]
    start, end = str(panel.timestamps[100])[:10], str(panel.timestamps[139])[:10]
    cell = stress(policy, panel, [Scenario("fall", "replay", start=start, end=end)], WINDOWS).cells[0]
    assert cell.ledger is None
    assert str(cell.skipped).startswith("seen:")


def test_break_even_lies_where_the_edge_dies() -> None:
    # Prices rise 0.1 % a bar; turning over half the equity each bar is paid for in proportion to costs.
    flat = random_panel(130, 1)
    close = 100.0 * 1.001 ** np.arange(130.0)[:, None]
    panel = replace(flat, open=close, high=close, low=close, close=close)
    churn = Table(np.tile([[0.2], [0.7]], (40, 1)), "churn")
    linear = CostModel(commission_bps=0.0, spread_bps=3.0, slippage_bps=0.0, impact_coefficient=0.0)
    result = stress([churn, BuyOnce()], panel, [Scenario("base", "base")], WINDOWS, linear)
    multiple = result.break_even["churn"]["over_cash"]
    assert multiple is not None

    def gain(factor: float) -> float:
        ledger = walk_forward(churn, panel, WINDOWS, linear.scaled(factor), audit=False).runs[0].ledger
        assert ledger is not None
        return ledger.total_return

    assert gain(multiple * 0.97) > 0.0 > gain(multiple * 1.03)
    assert result.break_even["churn"]["over_buy_and_hold"] == 0.0
    assert result.break_even["buy_and_hold"] == {"over_cash": None, "over_buy_and_hold": None}
    assert MULTIPLES[-1] == 30.0


def test_two_scenarios_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="share a name: base"):
        stress(Table(0.1), random_panel(130, 1), [Scenario("base", "base"), Scenario("base", "base")], WINDOWS)


def test_a_strategy_that_raises_is_skipped_by_name_and_the_rest_goes_on() -> None:
    class Raises(Table):
        def weights(self, panel: Panel) -> Floats:
            raise KeyError("volume")

    scenarios = [Scenario("base", "base"), Scenario("fall", "replay", start="2010-04-20", end="2010-05-20")]
    result = stress([Raises(0.1, "raises"), BuyOnce()], random_panel(200, 2), scenarios, WINDOWS)
    assert [str(result.cell("raises", one.name).skipped).split(" (")[0] for one in scenarios] == [
        "it failed in every window: KeyError: 'volume'",
        "it raised KeyError: 'volume'",
    ]
    assert result.cell("buy_and_hold", "base").ledger is not None


def test_every_walked_strategy_is_audited() -> None:
    class Peeks(Table):
        def weights(self, panel: Panel) -> Floats:
            table = np.zeros(panel.close.shape)
            table[:-1] = (panel.close[1:] > panel.close[:-1]) / len(panel.symbols)
            return table

    result = stress([Peeks(0.0, "peeks"), BuyOnce()], random_panel(130, 2), [Scenario("base", "base")], WINDOWS)
    assert not result.audits["peeks"].passed
    assert result.audits["buy_and_hold"].passed


def test_wide_spreads_end_the_search_and_an_impossible_shock_is_skipped_by_name() -> None:
    wide = CostModel(spread_bps=400.0)
    scenarios = [Scenario("base", "base"), Scenario("absurd", "costs", cost_shock=50.0)]
    result = stress(Table(0.3), random_panel(130, 2), scenarios, WINDOWS, wide)
    assert result.cell("table", "base").ledger is not None
    assert "a sale would bring nothing" in str(result.cell("table", "absurd").skipped)
    assert multiples_of(wide)[-1] == 24.0  # 26 x 405 bp are more than the whole price


def test_a_replay_leaves_out_what_is_purged_and_reaches_back_when_anchored(tmp_path: Path) -> None:
    class Looks(Table):
        def fit(self, train: Panel) -> Looks:
            (tmp_path / "seen").write_text(f"{train.timestamps[0]} {train.timestamps[-1]}")
            return self

    panel = random_panel(200, 2)
    start, end = str(panel.timestamps[100])[:10], str(panel.timestamps[139])[:10]
    windowing = Windowing(train_sessions=50, test_sessions=20, purge_sessions=3, embargo_sessions=2, anchored=True)
    setup = [Scenario("fall", "replay", start=start, end=end)]
    stress(Looks(0.1), panel, setup, windowing)
    assert (tmp_path / "seen").read_text() == f"{panel.timestamps[0]} {panel.timestamps[74]}"


@pytest.mark.parametrize(("name", "fall"), [("COVID 2020", 0.337), ("bear 2022", 0.245)])
def test_spy_falls_as_it_fell(shared_data: Path, name: str, fall: float) -> None:
    """Adjusted closes from 2020-02-19 to 2020-03-23, and from 2022-01-03 to 2022-10-12."""
    panel = load_panel(str(shared_data / "daily_core_adj"), ["SPY"])
    scenarios = [one for one in SHIPPED if one.name == name]
    result = stress(BuyOnce(), panel, scenarios, costs=CostModel.preset("free"))
    cell = result.cells[0]
    assert cell.ledger is not None
    assert str(cell.ledger.timestamps[cell.scored_from])[:10] == scenarios[0].start
    assert max_drawdown(cell.ledger.equity[cell.scored_from - 1 :]) == pytest.approx(fall, abs=0.0005)


def test_all_draws_run_and_the_median_one_is_shown() -> None:
    panel = random_panel(130, 3)
    scenario = Scenario("paths", "bootstrap", draws=5, bars=40, block_sessions=5)
    cell = stress(BuyOnce(), panel, [scenario], WINDOWS).cells[0]
    assert cell.ledger is not None
    assert cell.draws is not None
    window = Windowing.cut(WINDOWS, panel)[0]
    worlds = list(paths(scenario, panel, Span(window.test_start, len(panel))))
    alone = [simulate(BuyOnce(), world, start=window.test_start) for world in worlds]
    assert cell.draws.total_return == pytest.approx([one.total_return for one in alone], rel=1e-12)
    assert cell.draws.max_drawdown == pytest.approx([max_drawdown(one.equity) for one in alone], rel=1e-12)
    assert cell.ledger.total_return == pytest.approx(sorted(one.total_return for one in alone)[2], rel=1e-12)
    assert len(cell.ledger.orders) == 3


def test_learners_meet_other_worlds_with_what_they_learnt_in_this_one(tmp_path: Path) -> None:
    """Fits see the train slices as they were; a path keeps the first of them."""

    def told(name: str) -> list[float]:
        file = tmp_path / name
        found = [float(line) for line in file.read_text().split()]
        file.unlink()
        return found

    class Learns(Table):
        learnt = 0.0

        def fit(self, train: Panel) -> Learns:
            one = Learns(self.weight, self.name)
            one.learnt = float(train.close.sum())
            self.tell("seen", one.learnt)
            return one

        def weights(self, panel: Panel) -> Floats:
            self.tell("asked", self.learnt)
            return super().weights(panel)

        def tell(self, name: str, value: float) -> None:
            with (tmp_path / name).open("a") as file:
                file.write(f"{value!r}\n")

    panel = random_panel(130, 3)
    fits = [float(panel[w.train_start : w.train_stop].close.sum()) for w in WINDOWS.cut(panel)]
    worlds = [Scenario("gap", "gap", size=-0.2), Scenario("wild", "volatility", factor=2.0)]
    stress(Learns(0.2), panel, worlds, WINDOWS)
    assert told("seen") == fits
    told("asked")
    stress(Learns(0.2), panel, [Scenario("paths", "bootstrap", bars=30)], WINDOWS)
    asked = told("asked")
    assert asked[-1] in fits
    assert asked.count(fits[0]) == 2  # the walk-forward's first window, and the path


def test_the_same_seed_gives_the_same_result_and_another_does_not() -> None:
    panel = random_panel(300, 3)

    def run(seed: int) -> list[Floats]:
        drawn = [
            Scenario("gap", "gap", size=-0.1, seed=seed),
            Scenario("crash", "crash", size=-0.1, seed=seed),
            Scenario("holes", "missing", share=0.1, seed=seed),
            Scenario("stuck", "stale", share=0.1, seed=seed),
            Scenario("blocks", "bootstrap", bars=100, draws=2, seed=seed),
            Scenario("shocks", "garch", bars=100, draws=2, seed=seed),
        ]
        ledgers = [cell.ledger for cell in stress(Table(0.2), panel, drawn, WINDOWS).cells]
        return [ledger.equity for ledger in ledgers if ledger is not None]

    one, same, other = run(0), run(0), run(1)
    assert len(one) == 6
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_too_few_bars_for_a_model_are_a_reason() -> None:
    cell = stress(Table(0.2), random_panel(90, 2), [Scenario("paths", "garch", bars=30)], Windowing(20, 100)).cells[0]
    assert cell.skipped == "random: 69 judged bars are too few for GARCH; give 100 or more"


def test_what_the_data_lacks_is_skipped_by_name() -> None:
    scenarios = [Scenario("base", "base"), Scenario("thin", "participation", max_participation=0.01)]
    result = stress(Table(0.2), random_panel(130, 2, close_only=True), scenarios, WINDOWS)
    assert result.cell("table", "base").ledger is not None
    assert result.cell("table", "thin").skipped == (
        "random: max_participation needs volume, which this data does not have"
    )


def test_a_wider_spread_is_paid_where_it_is_wide_and_decisions_stay() -> None:
    panel = random_panel(130, 2)
    wide = Scenario("wide", "spread", spread_multiple=10.0, share=0.2)
    result = stress(Table(0.2), panel, [Scenario("base", "base"), wide], WINDOWS)
    base, cell = (result.cell("table", name).ledger for name in ("base", "wide"))
    assert base is not None
    assert cell is not None
    assert np.array_equal(base.orders["decision_bar"], cell.orders["decision_bar"])
    multiple = next(worlds(wide, panel, Span(50, 130))).spread_multiple
    assert multiple is not None
    paid = cell.orders["spread"] / (np.abs(cell.orders["quantity"]) * cell.orders["reference"]) / 2e-4
    assert paid == pytest.approx(multiple[50:][cell.orders["fill_bar"]], rel=1e-9)
    assert (multiple == 10.0).sum() == 16  # a fifth of 79 bars


def test_a_strategy_that_a_world_breaks_is_skipped_there_alone() -> None:
    class Fragile(Table):
        def weights(self, panel: Panel) -> Floats:
            if np.isnan(panel.close).any():
                raise FloatingPointError("a hole")
            return super().weights(panel)

    scenarios = [Scenario("base", "base"), Scenario("holes", "missing", share=0.2)]
    result = stress(Fragile(0.2), random_panel(130, 2), scenarios, WINDOWS)
    assert result.cell("table", "base").ledger is not None
    assert "FloatingPointError: a hole" in str(result.cell("table", "holes").skipped)


@pytest.mark.slow
def test_processes_and_a_store_change_nothing(tmp_path: Path) -> None:
    panel = random_panel(300, 3)
    scenarios = [
        Scenario("base", "base"),
        Scenario("wild", "volatility", factor=2.0),
        Scenario("paths", "bootstrap", bars=60, draws=3),
        Scenario("fall", "replay", start="2010-07-01", end="2010-08-01"),
    ]
    strategies: list[AnyStrategy] = [Table(0.2), BuyOnce(), Table(0.9, "greedy")]
    identities = {"table": "a", "buy_and_hold": "b"}

    def run(strategies: list[AnyStrategy], **how: Any) -> Stress:
        return stress(strategies, panel, scenarios, WINDOWS, **how)

    alone = run(strategies[:2])
    for how in ({"workers": 2}, {"store": Store(tmp_path)}, {"store": Store(tmp_path), "workers": 2}):
        spread = run(strategies, identities=identities, **how)
        assert spread.break_even == alone.break_even
        for one, other in zip(alone.cells, spread.cells, strict=False):
            assert one.ledger is not None
            assert other.ledger is not None
            assert (one.strategy, one.scenario, one.draw) == (other.strategy, other.scenario, other.draw)
            assert np.array_equal(one.ledger.equity, other.ledger.equity)
            assert one.ledger.orders.tobytes() == other.ledger.orders.tobytes()
            assert one.ledger.panel.content_hash == other.ledger.panel.content_hash
        assert all("add up to 2.7000 of equity" in str(cell.skipped) for cell in spread.cells[-4:])
    assert len(list(tmp_path.rglob("*"))) > 2


def test_the_range_of_draws_by_hand() -> None:
    draws = Draws(np.arange(41.0), np.arange(41.0) / 100.0, np.full(41, 0.2))
    assert draws.ranges()["sharpe"] == {"low": 1.0, "median": 20.0, "high": 39.0}
    some = Draws(np.array([np.nan, 1.0, 3.0]), np.full(3, np.nan), np.zeros(3))
    assert some.ranges()["sharpe"]["median"] == 2.0
    assert np.isnan(some.ranges()["total_return"]["low"])
    assert draws.ranges()["max_drawdown"] == pytest.approx({"low": 0.2, "median": 0.2, "high": 0.2})


class Trains(Table):
    """Learns one number a window, and leaves a line in ``told`` whenever it does."""

    told = ""

    def fit_window(self, bars: Panel, warm_up: int, previous: Trains | None) -> Trains:
        with Path(self.told).open("a") as file:
            file.write(f"{bars.timestamps[-1]}\n")
        learnt = Trains(float(bars.close[-1, 0] % 0.3), self.name)
        learnt.told = self.told
        return learnt


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_walk_forward_has_trained_is_not_trained_again(tmp_path: Path, workers: int) -> None:
    panel, windowing = random_panel(200, 2), replace(WINDOWS, refit="each")
    one = Trains(0.1, "trains")
    one.told = str(tmp_path / "told")
    start, end = str(panel.timestamps[100])[:10], str(panel.timestamps[139])[:10]
    scenarios = [Scenario("base", "base"), Scenario("late", "latency", latency_bars=1)]
    replay = Scenario("fall", "replay", start=start, end=end)
    kept: dict[str, Any] = {"store": Store(tmp_path / "kept"), "identities": {"trains": "code"}, "workers": workers}
    walked = walk_forward(one, panel, windowing, **kept)
    trained = Path(one.told).read_text().split()
    assert len(trained) == len(windowing.cut(panel))
    again = stress(one, panel, scenarios, windowing, **kept)
    assert Path(one.told).read_text().split() == trained
    assert again.ledgers["trains"].equity.tobytes() == walked.ledgers["trains"].equity.tobytes()
    replayed = stress(one, panel, [*scenarios, replay], windowing, **kept)
    assert Path(one.told).read_text().split() == [*trained, str(panel.timestamps[79])]
    alone = stress(one, panel, [*scenarios, replay], windowing)
    for cell, other in zip(alone.cells, replayed.cells, strict=True):
        assert cell.ledger is not None
        assert other.ledger is not None
        assert cell.ledger.equity.tobytes() == other.ledger.equity.tobytes()
