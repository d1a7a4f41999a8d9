from __future__ import annotations

from typing import TYPE_CHECKING

from tradekit.cli.console import Steps, steps

if TYPE_CHECKING:
    import pytest


def test_a_line_for_each_label_and_none_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    with steps("work") as tell:
        for done, label in ((0, "a"), (0, "a"), (1, "b"), (2, "done")):
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
    assert capsys.readouterr().err.splitlines() == ["work: 50/100 loss 0.5"]


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with steps("work") as tell:
        tell(3, 8, "a", "b")
        (task,) = tell.progress.tasks  # type: ignore[attr-defined]
        assert (task.completed, task.total, task.description) == (3, 8, "work a b")
