"""TensorBoard's files and an MLflow store hold the metrics of the run, once each, after a resumption too."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.learn.conftest import quick
from tradekit.errors import ConfigError, Interrupted
from tradekit.learn.metrics import rows_of
from tradekit.learn.recipe import Tracking
from tradekit.learn.run import begin_run
from tradekit.learn.train import go_on

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.market.panel import Panel


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow", "ignore:The ``noload`` loader strategy is deprecated")
def test_curves_are_written_once_after_an_interruption(panel: Panel, tmp_path: Path) -> None:
    from mlflow import MlflowClient
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    store = f"sqlite:///{tmp_path / 'store.db'}"
    recipe = replace(quick(timesteps=2048), tracking=Tracking(tensorboard=True, mlflow=store))
    out = tmp_path / "run"
    begin_run(out, recipe, panel, None)
    with pytest.raises(Interrupted):
        go_on(out, recipe, panel, stop=lambda: True)
    go_on(out, recipe, panel)
    expected = {row["step"]: row["entropy"] for row in rows_of(out / "metrics.parquet")}
    assert len(expected) == 4

    events = EventAccumulator(str(out / "tensorboard"))
    events.Reload()
    assert {one.step: one.value for one in events.Scalars("train/entropy")} == pytest.approx(expected)
    assert len(events.Scalars("train/entropy")) == 4
    assert "reward/log_return" in events.Tags()["scalars"]

    client = MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name("quick")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    logged = client.get_metric_history(run.info.run_id, "train/entropy")
    assert {one.step: one.value for one in logged} == pytest.approx(expected)
    assert run.info.status == "FINISHED"
    assert run.data.params["ppo.timesteps"] == "2048"


def test_mlflow_that_is_not_installed(panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    recipe = replace(quick(), tracking=Tracking(mlflow="sqlite:///x.db"))
    begin_run(tmp_path, recipe, panel, None)
    with pytest.raises(ConfigError) as caught:
        go_on(tmp_path, recipe, panel)
    assert str(caught.value) == "MLflow is not installed; install it with: pip install 'tradekit[mlflow]'"
