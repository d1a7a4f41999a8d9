from __future__ import annotations

import multiprocessing
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tradekit.errors import DeskError
from tradekit.registry import Registry, Result, Trial

if TYPE_CHECKING:
    from pathlib import Path

ABC = ("A", "B", "C")


def trial(candidate: str, data: str = "bars", symbols: tuple[str, ...] = ABC, kind: str = "backtest") -> Trial:
    return Trial(kind, candidate, candidate, data, symbols)  # type: ignore[arg-type] # a str stands for the literal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "registry.sqlite"


def begin(registry: Registry, *trials: Trial, symbols: tuple[str, ...] = ABC, kind: str = "walk_forward") -> int:
    hashes = {"spec": "s", "data": "bars", "costs": "c"}
    return registry.begin(kind, command="tradekit x", name="x", symbols=symbols, trials=trials, hashes=hashes)


def test_a_trial_is_counted_once_however_often_it_is_run(path: Path) -> None:
    with Registry(path) as registry:
        runs = [begin(registry, trial("one"), trial("two")) for _ in range(3)]
        assert [registry.frozen(run).count for run in runs] == [2, 2, 2]
        assert begin(registry, trial("one", "other bars")) == 4
        assert registry.frozen(4).count == 3


def test_the_set_is_frozen_when_the_run_begins(path: Path) -> None:
    with Registry(path) as registry:
        first = begin(registry, trial("one"))
        was = registry.frozen(first)
        begin(registry, trial("two"), trial("three"))
        registry.add(first, trial("late", kind="tune"))
        assert registry.frozen(first) == was
        assert registry.frozen(begin(registry)).count == 4
        assert was.keys == (trial("one").key,)
        assert len(was.hash) == 64


def test_only_trials_on_overlapping_symbols_count(path: Path) -> None:
    with Registry(path) as registry:
        begin(registry, trial("one"))
        begin(registry, trial("two", "x", ("X", "Y")), symbols=("X", "Y"))
        assert registry.frozen(begin(registry, symbols=("C", "D"))).count == 1
        assert registry.frozen(begin(registry, symbols=("C", "X"))).count == 2
        assert registry.frozen(begin(registry, symbols=("Z",))).count == 0


def test_tuning_trials_count_and_a_policy_trained_and_judged_counts_once(path: Path) -> None:
    with Registry(path) as registry:
        tuning = begin(registry, kind="tune")
        for k in range(5):
            registry.add(tuning, trial(f"try {k}", "early bars", kind="tune"), Result("c", 0.1 * k, 100))
        begin(registry, trial("bundle", "early bars", kind="train"), kind="train")
        judged = begin(registry, trial("bundle"), trial("rule"))
        # five tries, the policy as judged (not again as trained), the rule
        assert registry.frozen(judged).count == 7


def test_sharpes_are_those_of_the_same_bars_and_costs(path: Path) -> None:
    one, two, three = trial("one"), trial("two"), trial("three", "other bars")
    with Registry(path) as registry:
        first = begin(registry, one, two, three)
        registry.finish(
            first,
            results={
                one.key: Result("c", 0.05, 250, -0.1, 4.0, "equity.parquet#one"),
                two.key: Result("c", None, 1),
                three.key: Result("c", 0.9, 250),
            },
        )
        second = begin(registry, two)
        registry.measure(second, {two.key: Result("c", 0.02, 250)})
        assert registry.sharpes(second, "c") == {one.key: 0.05, two.key: 0.02}
        assert registry.sharpes(first, "c") == {one.key: 0.05}
        assert registry.sharpes(second, "dearer") == {}
        assert registry.returns(second, "c") == {one.key: "equity.parquet#one"}
        third = begin(registry, one)
        registry.measure(third, {one.key: Result("c", 0.06, 260)})
        assert registry.sharpes(third, "c")[one.key] == 0.06
        assert registry.sharpes(second, "c")[one.key] == 0.05


def test_runs_are_listed_with_how_they_ended(path: Path, tmp_path: Path) -> None:
    with Registry(path) as registry:
        done, failed = begin(registry), begin(registry)
        registry.finish(done, folder=tmp_path / "2026-run", metrics={"one": {"sharpe": 1.0, "cagr": None}})
        registry.finish(failed, "failed", note="ConfigError: no")
        rows = registry.runs()
        assert [(row.id, row.status, row.note) for row in rows] == [(2, "failed", "ConfigError: no"), (1, "done", "")]
        assert rows[1].metrics == {"one": {"sharpe": 1.0, "cagr": None}}
        assert rows[1].hashes == {"spec": "s", "data": "bars", "costs": "c"}
        assert len(registry.runs(1)) == 1
        assert registry.run("2026-run") == registry.run("1") == registry.run("#1") == rows[1]
        with pytest.raises(DeskError, match=r"no run '7' in .*; the newest is 2; list them with: tradekit runs"):
            registry.run("7")


BEGINS = """
import os, sys
from tradekit.registry import Registry
registry = Registry(sys.argv[1])
registry.begin("stress", command="c", name="n", symbols=["A"])
print("begun", flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_run_whose_process_was_killed_is_interrupted(path: Path) -> None:
    with Registry(path) as registry:
        mine = begin(registry)
        said = subprocess.run([sys.executable, "-c", BEGINS, str(path)], capture_output=True, text=True, check=False)
        assert said.stdout == "begun\n"
        assert [row.status for row in registry.runs()] == ["interrupted", "running"]
        assert registry.run(mine).status == "running"


def write(path: str, number: int, runs: int) -> None:
    for k in range(runs):
        with Registry(path) as registry:
            run = begin(registry, trial("shared"), trial(f"{number}-{k}"))
            registry.finish(run, results={trial("shared").key: Result("c", 0.1, 10)})


def test_several_processes_write_at_once_from_the_first_moment(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=write, args=(str(path), number, 10)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    with Registry(path) as registry:
        assert len(registry.runs()) == 40
        assert {row.status for row in registry.runs()} == {"done"}
        assert registry.frozen(begin(registry)).count == 41


def test_a_transaction_that_fails_leaves_nothing(path: Path) -> None:
    with Registry(path) as registry:
        run = begin(registry, trial("one"))
        with pytest.raises(KeyError, match="no trial"):
            registry.finish(run, results={trial("one").key: Result("c", 1.0, 9), "unknown": Result("c", 1.0, 9)})
        assert registry.sharpes(run, "c") == {}
        assert registry.run(run).status == "running"


def test_damage_strangers_and_newer_versions_are_named(path: Path, tmp_path: Path) -> None:
    with Registry(path) as registry:
        for _ in range(200):
            begin(registry, trial("one"))
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with (
        pytest.raises(DeskError, match=r"registry.sqlite: damaged \(.*\); restore it, or move it away"),
        Registry(path) as registry,
    ):
        registry.runs()
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(DeskError, match=r"registry.sqlite: damaged \(file is not a database\)"):
        Registry(path)
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as file:
        file.execute("CREATE TABLE addresses (name TEXT)")
    with pytest.raises(DeskError, match="not a registry of tradekit"):
        Registry(other)
    newer = tmp_path / "newer.sqlite"
    Registry(newer).close()
    with sqlite3.connect(newer) as file:
        file.execute("PRAGMA user_version = 9")
    with pytest.raises(DeskError, match=r"schema 9, this one reads 1\); update tradekit"):
        Registry(newer)


def test_a_registry_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DeskError, match=r"registry\.sqlite: cannot be used"):
        Registry(tmp_path / "file" / "registry.sqlite")
