"""TensorBoard's files and an MLflow store hold the metrics of the run, once each, after a resumption too."""

from __future__ import annotations

import resource
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.learn.conftest import quick
from tradekit.errors import ConfigError, DeskError, Interrupted
from tradekit.learn.metrics import rows_of
from tradekit.learn.recipe import Tracking
from tradekit.learn.run import begin_run
from tradekit.learn.tracking import sinks_of
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


def test_event_files_are_written_at_once_and_a_full_disk_is_one_line(tmp_path: Path) -> None:
    """The kernel refuses a file that grows past a limit, as it does on a full disk."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with sinks_of(quick(), tmp_path, 0) as (write,):
        write({"step": 512, "entropy": 1.25})
        events = EventAccumulator(str(tmp_path / "tensorboard"))
        events.Reload()
        assert [(one.step, one.value) for one in events.Scalars("train/entropy")] == [(512, 1.25)]
        (file,) = (tmp_path / "tensorboard").iterdir()
        resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size, hard))
        try:
            with pytest.raises(DeskError, match=r"tensorboard: cannot write event files \(File too large\); mend that"):
                write({"step": 1024, "entropy": 1.0})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_no_event_files_unless_wanted(tmp_path: Path) -> None:
    with sinks_of(replace(quick(), tracking=Tracking(tensorboard=False)), tmp_path, 0) as sinks:
        assert sinks == []
    assert list(tmp_path.iterdir()) == []


def test_mlflow_that_is_not_installed(panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    recipe = replace(quick(), tracking=Tracking(mlflow="sqlite:///x.db"))
    begin_run(tmp_path, recipe, panel, None)
    with pytest.raises(ConfigError) as caught:
        go_on(tmp_path, recipe, panel)
    assert str(caught.value) == "MLflow is not installed; install it with: pip install 'tradekit[mlflow]'"
