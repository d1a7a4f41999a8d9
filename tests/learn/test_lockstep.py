"""Policies in lockstep and alone: the shipped one, and a recurrent one with a hidden state per portfolio."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from tests.worlds import panel_of
from tradekit.engine.audit import audit
from tradekit.engine.lockstep import lockstep
from tradekit.engine.simulate import simulate
from tradekit.engine.strategy import Portfolios, Targets, View
from tradekit.learn.policy import PolicyStrategy
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel
from tradekit.market.sources import load_panel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tradekit.market.panel import Panel

HIDDEN, CHOICES = 16, torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)


class Gru(torch.nn.Module):
    """Last return, own weight and hidden state to a choice of weights and the next hidden state."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = torch.nn.GRUCell(2, HIDDEN), torch.nn.Linear(HIDDEN, len(CHOICES))

    def forward(self, seen: torch.Tensor, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        after = self.cell(seen, hidden)
        return self.head(after).argmax(dim=1), after


def scripted(seed: int) -> Any:
    """Return a GRU of float64 as it comes back from a TorchScript file."""
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.\w+` is deprecated", category=DeprecationWarning)
        torch.manual_seed(seed)
        module = Gru().double().eval()
        torch.nn.init.normal_(module.head.weight, std=3.0)
        file = io.BytesIO()
        torch.jit.save(torch.jit.script(module), file)
        file.seek(0)
        return torch.jit.load(file)  # type: ignore[no-untyped-call]


class RecurrentPolicy:
    """Every symbol in a sleeve of its own, a row of ``hidden`` each."""

    name, sleeves = "gru", True

    def __init__(self, network: Any) -> None:
        self.network, self.calls = network, 0

    def __deepcopy__(self, memo: Any) -> RecurrentPolicy:
        return self

    def fit(self, train: Panel) -> RecurrentPolicy:
        return self

    def start(self, portfolios: int) -> dict[str, Any]:
        return {"hidden": np.zeros((portfolios, HIDDEN))}

    def decide(self, view: View, portfolios: Portfolios, state: dict[str, Any]) -> Targets:
        return self.decide_all([view], portfolios, state)

    def decide_all(self, views: Sequence[View], portfolios: Portfolios, state: dict[str, Any]) -> Targets:
        self.calls += 1
        sight, count = (portfolios.window, portfolios.column), len(portfolios)
        marks = np.array([view.mark for view in views])[sight]
        before = np.array([view.close[-2] if view.bar else view.mark for view in views])[sight]
        weight = portfolios.shares[:, 0] * marks / portfolios.equity
        seen = torch.from_numpy(np.stack([100 * (marks / before - 1), weight], axis=1))
        with torch.inference_mode():
            chosen, hidden = self.network(seen, torch.from_numpy(state["hidden"][:count]))
        state["hidden"][:count] = hidden.numpy()
        return Targets(CHOICES[chosen].numpy()[:, None])


def market(bars: int, symbols: int) -> Panel:
    rng = np.random.default_rng(8)
    closes = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, (bars, symbols)), axis=0))
    return panel_of(closes * np.exp(rng.normal(0, 0.004, closes.shape)), closes)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("latency", [0, 1])
def test_a_recurrent_policy_decides_in_lockstep_as_it_does_alone(seed: int, latency: int) -> None:
    panel, network, execution = market(120, 5), scripted(seed), ExecutionModel(latency_bars=latency)
    costs = [CostModel().scaled(factor) for factor in (0, 1, 4)]
    windows, seeds = [(0, 120), (30, 80), (31, 119), (60, 62)], [0, 3]
    policy = RecurrentPolicy(network)
    together = lockstep(policy, panel, windows, costs, execution, seeds=seeds)
    assert policy.calls == 119
    assert len(together) == len(windows) * len(seeds) * len(costs)
    for rollout in together:
        cost = rollout.ledger.cost_model
        alone = simulate(
            RecurrentPolicy(network), panel, cost, execution, start=rollout.start, stop=rollout.stop
        )  # seeds make no difference where nothing is drawn
        assert rollout.ledger.equity.tobytes() == alone.equity.tobytes()
        assert rollout.ledger.orders.tobytes() == alone.orders.tobytes()
    assert len(together[0].ledger.orders) > 100


def test_what_it_holds_and_what_it_remembers_both_matter() -> None:
    """Otherwise the test above would hold for a policy without either."""
    panel, network = market(120, 5), scripted(1)

    class Forgets(RecurrentPolicy):
        def decide(self, view: View, portfolios: Portfolios, state: dict[str, Any]) -> Targets:
            state["hidden"][:] = 0.0
            return super().decide(view, portfolios, state)

    usual = simulate(RecurrentPolicy(network), panel)
    assert simulate(Forgets(network), panel).equity[-1] != usual.equity[-1]
    late = simulate(RecurrentPolicy(network), panel, execution=ExecutionModel(latency_bars=2))
    assert late.orders["requested"].tolist() != usual.orders["requested"].tolist()


def test_a_recurrent_policy_passes_the_audit() -> None:
    report = audit(RecurrentPolicy(scripted(2)), market(80, 3), cuts=4)
    assert report.passed
    assert report.bars_checked > 100


def test_the_shipped_policy_decides_in_lockstep_as_it_does_alone() -> None:
    panel = load_panel("sample", symbols=["AAPL", "JPM", "XOM", "GE"], start="2012-01-01", end="2014-12-31")
    policy = PolicyStrategy.load(Path(__file__).parents[2] / "policies" / "symbol_ppo")
    costs = [CostModel(slippage_mode="sampled"), CostModel().scaled(3)]
    together = lockstep(policy, panel, [(150, 500), (400, 750), (200, 260)], costs)
    for rollout in together:
        alone = simulate(policy, panel, rollout.ledger.cost_model, start=rollout.start, stop=rollout.stop)
        assert rollout.ledger.equity.tobytes() == alone.equity.tobytes()
        assert rollout.ledger.orders.tobytes() == alone.orders.tobytes()
        for name in ("chosen", "executed", "reason", "choices"):
            assert np.array_equal(rollout.ledger.extras[name], alone.extras[name])
        assert np.allclose(rollout.ledger.extras["entropy"], alone.extras["entropy"], rtol=1e-12, equal_nan=True)
        assert (rollout.ledger.extras["chosen"][-1] == -1).all()
    assert sum(len(rollout.ledger.orders) for rollout in together) > 30
