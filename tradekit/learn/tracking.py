"""Where a run's curves go besides its folder: TensorBoard's event files, an MLflow store."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from tradekit.errors import ConfigError, DeskError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tradekit.learn.loop import Sink
    from tradekit.learn.recipe import Recipe

TENSORBOARD = "tensorboard"
# Columns that are no curves.
_NOT_DRAWN = ("step", "seconds")
# The tag by which a run that is gone on with finds itself in a store.
_FOLDER = "tradekit.folder"


@contextmanager
def sinks_of(recipe: Recipe, out: Path, step: int) -> Iterator[list[Sink]]:
    """Give what is called with the row of every update, for the run in ``out`` that goes on from ``step``.

    Raises:
        ConfigError: MLflow is asked for and is not installed, or its store cannot be used.
        DeskError: the event files cannot be written; raised by what is given too.
    """
    with ExitStack() as stack:
        sinks: list[Sink] = []
        if recipe.tracking.tensorboard:
            sinks.append(stack.enter_context(_tensorboard(out / TENSORBOARD, step)))
        if recipe.tracking.mlflow is not None:
            sinks.append(stack.enter_context(_mlflow(recipe.tracking.mlflow, recipe, out)))
        yield sinks


@contextmanager
def _tensorboard(folder: Path, step: int) -> Iterator[Sink]:
    """Give what appends a row to a file of events, at once: a run that is killed leaves its curves.

    Written record by record, because ``SummaryWriter`` has a thread, which on a full disk fails later and by itself.
    """
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    def put(**event: Any) -> None:
        with _told(folder):
            records.write(Event(wall_time=time.time(), **event).SerializeToString())

    def write(row: dict[str, Any]) -> None:
        values = [Summary.Value(tag=name, simple_value=value) for name, value in _curves(row)]
        put(step=row["step"], summary=Summary(value=values))

    with _told(folder):
        folder.mkdir(exist_ok=True)
        # Files are read in the order of their names, which must contain "tfevents".
        file = (folder / f"events.out.tfevents.{int(time.time()):010d}.{step:012d}").open("wb", buffering=0)
    with file:
        records = RecordWriter(file)
        put(file_version="brain.Event:2")
        if step:  # what an interrupted run wrote after the checkpoint that it goes on from is hidden
            put(step=step + 1, session_log=SessionLog(status=SessionLog.START))
        yield write


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DeskError(
            f"{folder}: cannot write event files ({error.strerror}); mend that and go on with --resume, "
            "or train with --no-tensorboard"
        ) from error


@contextmanager
def _mlflow(uri: str, recipe: Recipe, out: Path) -> Iterator[Sink]:
    try:
        from mlflow import MlflowClient
        from mlflow.entities import Metric
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise ConfigError("MLflow is not installed; install it with: pip install 'tradekit[mlflow]'") from error
    try:
        client = MlflowClient(tracking_uri=uri)
        run = _mlflow_run(client, recipe, str(out.resolve()))

        def write(row: dict[str, Any]) -> None:
            now = int(time.time() * 1000)
            metrics = [Metric(name, value, now, row["step"]) for name, value in _curves(row)]
            client.log_batch(run, metrics)

        status = "FAILED"
        try:
            yield write
            status = "FINISHED"
        finally:
            client.set_terminated(run, status)
    except MlflowException as error:
        said = " ".join(str(error).split())
        raise ConfigError(f"the MLflow store {uri} cannot be used ({said}); give another with --mlflow") from error


def _mlflow_run(client: Any, recipe: Recipe, folder: str) -> str:
    """Return the id of the run of ``folder``, a new one when there is none yet."""
    found = client.get_experiment_by_name(recipe.name)
    experiment = client.create_experiment(recipe.name) if found is None else found.experiment_id
    quoted = folder.replace("'", "\\'")
    before = client.search_runs([experiment], f"tags.`{_FOLDER}` = '{quoted}'", max_results=1)
    if before:
        return str(before[0].info.run_id)
    run: str = client.create_run(experiment, tags={_FOLDER: folder}, run_name=folder.rsplit("/", 1)[-1]).info.run_id
    for section, settings in recipe.to_dict().items():
        for key, value in settings.items() if isinstance(settings, dict) else [("", settings)]:
            client.log_param(run, f"{section}.{key}".rstrip("."), value)
    return run


def _curves(row: dict[str, Any]) -> list[tuple[str, float]]:
    """Return the numbers of a row as curves, those that belong together under one heading."""
    known = {key: value for key, value in row.items() if key not in _NOT_DRAWN and math.isfinite(value)}
    return [(key.replace(".", "/", 1) if "." in key else f"train/{key}", value) for key, value in known.items()]
