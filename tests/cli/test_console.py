from __future__ import annotations

from typing import TYPE_CHECKING

from tradekit.cli.console import Pace, Steps, spoken, steps

if TYPE_CHECKING:
    import pytest


def test_a_line_for_each_label_that_stays_and_none_at_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with steps("work") as tell:
        for second, done, label in ((0, 0, "a"), (0.1, 0, "a"), (0.2, 0, "in passing"), (2, 1, "b"), (3, 2, "done")):
            now[0] = second
            tell(done, 2, label)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == ["work: 0/2 a", "work: 1/2 b"]


def test_without_labels_a_line_once_in_a_while(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    tell = Steps("work")
    for done in range(100):
        now[0] = done * 0.1
        tell(done, 100, detail="loss 0.5")
    assert capsys.readouterr().err.splitlines() == ["work: 50/100 loss 0.5 about 5 s left"]


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with steps("work") as tell:
        tell(3, 8, "a", "b")
        (task,) = tell.progress.tasks  # type: ignore[attr-defined]
        assert (task.completed, task.total, task.description) == (3, 8, "work a b")


def test_the_time_left_is_told_by_the_steps_taken_here() -> None:
    pace = Pace()
    assert pace.left(40, 100, 0.0) == ""  # forty were there already
    assert pace.left(41, 100, 2.0) == ""  # too early to tell
    assert pace.left(50, 100, 20.0) == "1 min 40 s"  # ten in 20 s, fifty to go
    assert pace.left(99, 100, 118.0) == "2 s"
    assert (spoken(59.4), spoken(3599), spoken(3 * 3600 + 65)) == ("59 s", "59 min 59 s", "3 h 1 min")
