"""Trials of earlier runs: read from their folders, copied into the run's own, counted where picking is judged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.report.conftest import RUN
from tradekit.evidence.overfitting import overfitting_probability
from tradekit.report.evidence import Joint, evidence_of
from tradekit.report.other_trials import other_trials
from tradekit.report.run_folder import SUMMARY, read_run, read_summary, rebuild, write_run
from tradekit.report.summary import summary_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tradekit.engine.walk_forward import WalkForward


def place(folder: Path, name: str) -> str:
    return f"{folder / 'equity.parquet'}#{name}"


def test_what_an_earlier_run_earned_is_read_from_the_bars_that_counted(walked_folder: Path) -> None:
    (one,) = other_trials({"key": place(walked_folder, "rotation")})
    track = read_run(walked_folder).base["rotation"]
    assert (one.key, one.name) == ("key", "rotation")
    assert one.equity.tolist() == track.equity[track.scored_from - 1 :].tolist()
    assert one.timestamps.tolist() == track.timestamps[track.scored_from - 1 :].tolist()
    cut = one.on(one.timestamps[5:9])
    assert cut is not None
    assert cut.equity.tolist() == one.equity[5:9].tolist()
    early = one.timestamps[:3] - np.timedelta64(1, "D")
    assert one.on(early) is None
    assert one.on(one.timestamps[-1:] + np.timedelta64(1, "D")) is None
    assert one.on(one.timestamps[:0]) is None


def test_what_is_gone_changed_or_dishonest_is_left_out(write: Callable[..., Path]) -> None:
    gone, changed, peeked, sound = (write(name) for name in ("gone", "changed", "peeked", "sound"))
    (gone / "manifest.json").unlink()
    (changed / "equity.parquet").write_bytes((changed / "equity.parquet").read_bytes() + b" ")
    manifest = json.loads((peeked / "manifest.json").read_text())
    mine = next(one for one in manifest["strategies"] if one["name"] == "rotation")
    mine["audit"]["passed"] = False
    (peeked / "manifest.json").write_text(json.dumps(manifest))
    places = {folder.name: place(folder, "rotation") for folder in (gone, changed, peeked, sound)}
    assert [one.key for one in other_trials(places)] == ["sound"]
    assert other_trials({"none": place(sound, "nobody")}) == ()


def test_a_run_counts_them_and_a_rebuild_needs_no_other_folder(
    walked: WalkForward, walked_folder: Path, tmp_path: Path
) -> None:
    earlier = write_run(walked, tmp_path / "earlier", **RUN)
    others = other_trials({"b": place(earlier, "rotation"), "a": place(earlier, "buy_and_hold")})
    folder = write_run(walked, tmp_path / "run", **RUN, others=others)
    record = read_run(folder)
    assert [(one.key, one.name) for one in record.others] == [("a", "buy_and_hold"), ("b", "rotation")]
    before, after = read_summary(walked_folder), read_summary(folder)
    assert (before["pbo"]["configurations"], before["pbo"]["earlier"]) == (4, 0)
    assert (after["pbo"]["configurations"], after["pbo"]["earlier"]) == (6, 2)
    assert after["trials"]["count"] == 6
    assert after["trials"]["clusters"] == before["trials"]["clusters"]  # two that were there already
    tracks = list(record.base.values())
    columns = [one.equity[one.scored_from - 1 :] for one in tracks] + [one.equity for one in record.others]
    table = np.column_stack([np.diff(one) / one[:-1] for one in columns])
    assert after["pbo"]["probability"] == pytest.approx(overfitting_probability(table), abs=1e-12)
    assert "the 6 strategies (2 of earlier runs) that could be picked" in " ".join(after["verdict"]["reasons"])
    written = (folder / SUMMARY).read_bytes()
    for one in earlier.iterdir():
        one.unlink() if one.is_file() else None
    rebuild(folder)
    assert (folder / SUMMARY).read_bytes() == written


def test_bars_that_one_lacks_leave_it_out(walked: WalkForward, tmp_path: Path) -> None:
    earlier = write_run(walked, tmp_path / "earlier", **RUN)
    (one,) = other_trials({"a": place(earlier, "rotation")})
    short: Any = one._replace(timestamps=one.timestamps[3:], equity=one.equity[3:])
    folder = write_run(walked, tmp_path / "run", **RUN, others=[short])
    assert read_run(folder).others == ()
    assert not (folder / "trials.parquet").exists()
    assert summary_of(read_run(folder))["pbo"]["earlier"] == 0


def test_a_choice_made_over_several_runs_is_as_overfit_as_one_made_in_one() -> None:
    """Twenty rules without skill, all in one run, or nineteen of them in earlier ones: the same probability."""
    returns = np.random.default_rng(3).normal(0.0, 0.01, (640, 20))
    names = tuple(f"s{k}" for k in range(20))
    whole = Joint(names, ("custom",) * 20, returns, returns[:, 0], None, (True,) * 20, 252.0)
    last = Joint(names[:1], ("custom",), returns[:, :1], returns[:, 0], None, (True,), 252.0, returns[:, 1:])
    found = [evidence_of(joint, 20)["pbo"] for joint in (whole, last)]
    assert found[0] == {**found[1], "earlier": 0}
    assert found[1]["probability"] == overfitting_probability(returns)
