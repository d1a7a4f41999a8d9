"""Cells over a real Ray cluster of two nodes on this machine."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.compute import jobs
from tests.compute.test_cells import TABLE
from tradekit.compute import Cell, Outcome, run_cells
from tradekit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield made
    made.shutdown()  # type: ignore[no-untyped-call] # Ray types little


def test_the_numbers_are_those_of_one_process(cluster: Any) -> None:
    cells = [Cell(str(k), "product", jobs.product, (k,)) for k in range(8)]
    cells.append(Cell("bad", "bad", jobs.fail, ("no",)))
    cells.append(Cell("sum", "sum", jobs.total, after=("0", "bad")))
    here = run_cells(cells[:-1], shared=TABLE)
    there = run_cells(cells[:-1], shared=TABLE, ray=cluster.address)
    assert here == there
    after = run_cells([cells[-1], Cell("0", "d", jobs.double, (3,)), cells[-2]], ray=cluster.address)
    assert after["sum"].value == [6, "ValueError: no"]


def test_workers_share_the_arrays_and_use_one_thread(cluster: Any) -> None:
    cells = [Cell("mapped", "mapped", jobs.is_mapped)]
    assert run_cells(cells, shared=TABLE, ray=cluster.address)["mapped"].value == (False, False)
    outcome = run_cells([Cell("threads", "threads", jobs.threads)], ray=cluster.address)["threads"]
    assert set(outcome.value) == {1}


def test_cells_of_a_machine_that_is_stopped_are_run_again_on_another(cluster: Any, tmp_path: Path) -> None:
    second = cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes()
    left: list[int] = []

    def stop() -> None:
        """Stop the second node half a cell after it has finished one, however long it took to begin."""
        while not list(tmp_path.glob(f"{second.node_id}-*")):
            time.sleep(0.05)
        time.sleep(0.5)
        left.append(24 - len(list(tmp_path.iterdir())))
        cluster.remove_node(second, allow_graceful=False)

    gone = threading.Thread(target=stop, daemon=True)
    cells = [Cell(str(k), "node", jobs.node, (1.0, str(tmp_path), str(k))) for k in range(24)]
    gone.start()
    outcomes = run_cells(cells, ray=cluster.address)
    gone.join(10.0)
    assert left, "everything was over before the second node began"
    assert left[0] > 0, "everything was over before the node was stopped"
    assert [one.failure for one in outcomes.values()] == [None] * 24
    assert len({one.value for one in outcomes.values()}) == 2


def test_a_cell_that_kills_its_worker_every_time_is_named(cluster: Any, tmp_path: Path) -> None:
    cells = [Cell("k", "k", jobs.die_until, (str(tmp_path), 99)), Cell("d", "d", jobs.double, (2,))]
    outcomes = run_cells(cells, ray=cluster.address, retries=1)
    assert outcomes["k"].failure == "its worker was lost 2 times (WorkerCrashedError)"
    assert outcomes["d"] == Outcome(4)
    traces = len(list(tmp_path.iterdir()))
    assert traces == 2


def test_a_cluster_that_does_not_answer_is_named() -> None:
    with pytest.raises(ConfigError, match=r"no Ray cluster answers at '127\.0\.0\.1:1'"):
        run_cells([Cell("d", "d", jobs.double, (2,))], ray="127.0.0.1:1")


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"--ray needs Ray, .* pip install 'tradekit\[ray\]'"):
        run_cells([Cell("d", "d", jobs.double, (2,))], ray="local")
