"""Training runs end to end, on few steps."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from tests.learn.conftest import quick
from tests.panels import random_panel
from tradekit.engine.simulate import simulate
from tradekit.errors import ConfigError, DataError, DeskError
from tradekit.learn.actions import NAMES
from tradekit.learn.bundle import WEIGHTS, read_bundle
from tradekit.learn.env import VectorSymbolEnv
from tradekit.learn.metrics import rows_of
from tradekit.learn.network import frozen
from tradekit.learn.policy import PolicyStrategy
from tradekit.learn.ppo import build_model
from tradekit.learn.recipe import Recipe
from tradekit.learn.slices import feature_spec, split_bars
from tradekit.learn.task import Task
from tradekit.learn.train import train, train_policy
from tradekit.market.features import FeatureSpec

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.learn.train import TrainResult
    from tradekit.market.panel import Panel


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("desk")
    (root / "policies" / "quick").mkdir(parents=True)
    return root


@pytest.fixture(scope="module")
def told() -> list[tuple[int, int, dict[str, Any]]]:
    return []


@pytest.fixture(scope="module")
def result(desk: Path, panel: Panel, told: list[tuple[int, int, dict[str, Any]]]) -> TrainResult:
    return train_policy("quick", desk, panel, recipe=quick(), progress=lambda *news: told.append(news))


def test_a_run_leaves_a_bundle_that_strategies_load(result: TrainResult, desk: Path, panel: Panel) -> None:
    assert result.healthy
    assert result.promoted
    assert result.bundle_path == desk / "policies" / "quick" / "bundle"
    policy = PolicyStrategy.load(desk / "policies" / "quick")
    assert (policy.name, policy.kind, policy.fit(panel) is policy) == ("quick", "policy", True)
    # 60 % of 300 bars are for training and validation.
    assert policy.seen_end == panel.timestamps[179]
    assert len(simulate(policy, panel, start=180).orders) > 0


def test_the_run_folder_tells_what_happened(result: TrainResult) -> None:
    (row,) = rows_of(result.run_folder / "metrics.parquet")
    assert row["step"] == 512
    assert sum(row[f"chosen.{name}"] for name in NAMES) == pytest.approx(1.0)
    assert sum(row[f"executed.{name}"] for name in NAMES) == pytest.approx(1.0)
    assert {"kl", "entropy", "executed_entropy", "explained_variance", "clip_fraction", "value_loss"} <= set(row)
    assert row["reward.log_return"] == pytest.approx(row["reward_mean"])
    assert row["reward_unexplained"] == 0.0
    assert row["validation_sharpe"] == result.metrics["validation_sharpe"]
    summary = json.loads((result.run_folder / "summary.json").read_text())
    assert (summary["verdict"], summary["ended"], summary["healthy"]) == (result.verdict, "finished", True)
    assert Recipe.from_dict(summary["recipe"]) == quick()
    assert sum(summary["last_roll_out"]["histogram"]) == 512
    assert read_bundle(result.run_folder / "bundle").digest == read_bundle(result.bundle_path).digest


def test_the_summary_has_every_figure_under_its_name(result: TrainResult) -> None:
    assert result.metrics.keys() >= {
        "policy_action_entropy_mean",
        "executed_action_entropy_mean",
        "voluntary_trade_rate",
        "sanitizer_trade_delta",
        "consecutive_action_violations",
        "unique_actions_mean",
        "total_trades",
        "forced_exit_ratio",
        "win_rate",
        "profit_factor",
        "max_drawdown",
        "sharpe",
        "turnover",
        "cost_ratio",
    }


def test_guards_judge_from_the_third_update_on(panel: Panel, tmp_path: Path) -> None:
    """An entropy that is always too low: the third update is the first that raises the bonus, for the fourth."""
    impatient = {"guard_floor": 2.0, "guard_after_steps": 0, "guard_patience": 1, "guard_cooldown_steps": 0}
    settings = {**quick(timesteps=2048).to_dict(), "entropy": {"schedule": "constant", **impatient}}
    train(Recipe.from_dict(settings), panel, tmp_path / "run")
    rows = rows_of(tmp_path / "run" / "metrics.parquet")
    assert [row["entropy_coefficient"] for row in rows] == pytest.approx([0.05, 0.05, 0.05, 0.05 * 1.7])


def test_components_are_told_apart(panel: Panel, tmp_path: Path) -> None:
    """Every share, the sum check, correlations and rewards to go, of a reward of several components."""
    recipe = Recipe.from_dict({**quick().to_dict(), "reward": {"preset": "stage5"}})
    train(recipe, panel, tmp_path / "run")
    (row,) = rows_of(tmp_path / "run" / "metrics.parquet")
    shares = {name: value for name, value in row.items() if name.startswith("reward_share.")}
    assert len(shares) > 4
    assert sum(shares.values()) == pytest.approx(1.0)
    means = [value for name, value in row.items() if name.startswith("reward.")]
    assert sum(means) == pytest.approx(row["reward_mean"])
    assert row["reward_unexplained"] < 1e-12
    told = json.loads((tmp_path / "run" / "summary.json").read_text())["last_roll_out"]
    assert [f"reward_share.{name}" for name in told["components"]] == list(shares)
    assert len(told["correlation"]) == len(told["to_go"]) == len(shares) + 1
    assert sum(told["to_go"][:-1]) == pytest.approx(told["to_go"][-1])


def test_gradients_are_measured_before_they_are_clipped(panel: Panel, tmp_path: Path) -> None:
    """A limit that none reaches clips none of them, one that all pass clips all, and the norm is that before."""
    train(quick(max_grad_norm=1e9), panel, tmp_path / "a")
    (free,) = rows_of(tmp_path / "a" / "metrics.parquet")
    assert (free["clipped_gradients"], free["minibatches"]) == (0.0, 8.0)
    assert 0.0 < free["gradient_norm"] <= free["gradient_norm_max"]
    train(quick(max_grad_norm=1e-9), panel, tmp_path / "b")
    (bound,) = rows_of(tmp_path / "b" / "metrics.parquet")
    assert bound["clipped_gradients"] == 1.0
    assert bound["gradient_norm"] > 1e-3


def test_the_generators_are_left_as_they_were(panel: Panel, tmp_path: Path) -> None:
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    expected = torch.rand(3), np.random.random(3)  # noqa: NPY002
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    train(quick(), panel, tmp_path / "run")
    assert torch.equal(torch.rand(3), expected[0])
    assert np.array_equal(np.random.random(3), expected[1])  # noqa: NPY002


def test_progress_reaches_its_total(result: TrainResult, told: list[tuple[int, int, dict[str, Any]]]) -> None:
    done = [news[0] for news in told]
    assert done == sorted(done)
    assert told[-1][:2] == (512, 512)


def test_the_bundle_says_what_it_was_made_of(result: TrainResult, panel: Panel) -> None:
    data = read_bundle(result.bundle_path).data
    assert data["hash"] == panel[:180].content_hash
    # 20 % of 180 bars validate, and the 20 bars that features look back are purged before them.
    assert data["validation_start"] == str(panel.timestamps[144])
    assert data["train_end"] == str(panel.timestamps[123])
    assert (data["bars"], data["fill_at"], data["frequency"]) == (180, "open", "1D")


def test_the_seed_decides_the_weights(panel: Panel, result: TrainResult, tmp_path: Path) -> None:
    def weights(seed: int, folder: Path) -> str:
        train(replace(quick(), seed=seed), panel, folder)
        return hashlib.sha256((folder / "bundle" / WEIGHTS).read_bytes()).hexdigest()

    first = hashlib.sha256((result.bundle_path / WEIGHTS).read_bytes()).hexdigest()
    assert weights(quick().seed, tmp_path / "a") == first
    assert weights(7, tmp_path / "b") != first


def test_the_number_of_threads_changes_no_weight(panel: Panel, tmp_path: Path) -> None:
    """A shell without OMP_NUM_THREADS: the first weights come from a QR, which several threads round differently."""

    def weights(threads: int) -> bytes:
        torch.set_num_threads(threads)
        folder = tmp_path / str(threads)
        train(quick(network=[64, 64]), panel, folder)
        return (folder / "bundle" / WEIGHTS).read_bytes()

    before = torch.get_num_threads()
    try:
        assert weights(1) == weights(3)
    finally:
        torch.set_num_threads(before)


def test_bars_after_the_end_of_training_change_nothing(panel: Panel, result: TrainResult, tmp_path: Path) -> None:
    later = np.arange(300)[:, None] >= 180
    names = ("open", "high", "low", "close")
    other = replace(panel, **{name: np.where(later, 3.0, 1.0) * getattr(panel, name) for name in names})
    bundle, *_ = train(quick(), other, tmp_path)
    assert (bundle.folder / WEIGHTS).read_bytes() == (result.bundle_path / WEIGHTS).read_bytes()
    assert bundle.data == read_bundle(result.bundle_path).data


def test_out_keeps_the_policys_bundle_as_it_is(desk: Path, panel: Panel, result: TrainResult, tmp_path: Path) -> None:
    before = read_bundle(result.bundle_path).digest
    other = train_policy("quick", desk, panel, recipe=quick(), seed=8, out=tmp_path / "kept")
    assert (other.promoted, other.bundle_path) == (False, tmp_path / "kept" / "bundle")
    assert read_bundle(other.bundle_path).manifest["seed"] == 8
    assert read_bundle(result.bundle_path).digest == before


def test_a_policy_that_never_trades_is_not_promoted(desk: Path, panel: Panel, result: TrainResult) -> None:
    before = read_bundle(result.bundle_path).digest
    idle = train_policy("quick", desk, panel, recipe=quick(hold_bias=50.0))
    assert (idle.healthy, idle.promoted) == (False, False)
    assert idle.verdict.startswith("collapsed: it never trades on the validation bars")
    assert idle.verdict.endswith("bundle stays as it was")
    assert idle.metrics["validation_sharpe"] is None
    assert read_bundle(result.bundle_path).digest == before
    assert read_bundle(idle.bundle_path).folder == idle.run_folder / "bundle"


@pytest.mark.parametrize("checks", [True, False])
def test_divergence_is_one_line(panel: Panel, tmp_path: Path, checks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether or not another library has switched the checks of torch's distributions off for the process."""
    monkeypatch.setattr("torch.distributions.Distribution._validate_args", checks)
    with pytest.raises(ConfigError, match=r"training diverged after 512 steps: .*; lower ppo.learning_rate"):
        train(quick(learning_rate=1e30, max_grad_norm=1e30), panel, tmp_path)


@pytest.mark.parametrize("episodes", [1, 5])
def test_the_exported_policy_decides_as_the_trained_one(panel: Panel, episodes: int) -> None:
    """float64 with the normalisation inside, against SB3's own prediction on normalised float32."""
    spec = FeatureSpec.named("return_1", "sma_gap_20")
    environments = VectorSymbolEnv(Task(panel, spec, stop=200, episode_bars=40), 16)
    model = build_model(quick(), environments)
    policy = frozen(model, environments.lanes.task.statistics)
    seen: Any = environments.reset()
    from tradekit.learn.network import ask

    agreed = 0
    for _ in range(40 * episodes):
        masks = environments.action_masks()
        expected, _ = model.predict(seen, deterministic=True, action_masks=masks)
        action, _ = ask(policy, environments.raw, masks)
        agreed += int((action == expected).sum())
        seen, *_ = environments.step(action)
    assert agreed == 40 * episodes * 16


def test_the_sample_ends_where_the_recipe_says(sample: Panel, repository: Path) -> None:
    recipe = Recipe.load(repository / "policies" / "symbol_ppo" / "recipe.toml")
    spec = feature_spec(recipe, sample)
    split = split_bars(recipe, sample, spec)
    assert spec == FeatureSpec.named("close")
    assert str(sample.timestamps[split.stop - 1])[:10] == "2011-12-30"
    assert split.validation_start - split.train_stop == spec.lookback


def test_other_data_trains_on_its_first_part(panel: Panel) -> None:
    recipe = Recipe.from_dict({"data": {"source": "sample", "end": "2010-02-01", "features": "return_1"}})
    assert split_bars(recipe, panel, feature_spec(recipe, panel)).stop == 180


def test_an_end_may_be_given(desk: Path, panel: Panel, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = train_policy("quick", desk, panel, recipe=quick(), end=str(panel.timestamps[99])[:10], out=out)
    assert read_bundle(result.bundle_path).seen_end == panel.timestamps[99]


def test_too_few_bars_leave_no_folder_behind(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        train_policy("quick", tmp_path, random_panel(60, 1), recipe=quick())
    assert str(caught.value) == (
        "random: 36 bars up to the end of training are too few; features look back 20 bars, so give at least 55"
    )
    assert list(tmp_path.iterdir()) == []
    train_policy("quick", tmp_path, random_panel(92, 1), recipe=quick())  # 60 % of 92 are 55


def test_an_unwritable_desk_is_refused_before_training(desk: Path, panel: Panel, tmp_path: Path) -> None:
    (tmp_path / "policies").touch()
    with pytest.raises(DeskError, match="cannot write there"):
        train_policy("quick", tmp_path, panel, recipe=quick())


def test_a_policy_without_a_recipe(tmp_path: Path, panel: Panel) -> None:
    with pytest.raises(ConfigError, match=r"policies/nobody/recipe.toml: no recipe can be read there"):
        train_policy("nobody", tmp_path, panel)


def test_features_that_the_data_lacks(tmp_path: Path) -> None:
    recipe = replace(quick(), data=replace(quick().data, features=("volume_z_20",)))
    with pytest.raises(DataError, match="feature volume_z_20 needs volume"):
        train_policy("quick", tmp_path, random_panel(300, 1, close_only=True), recipe=recipe)
