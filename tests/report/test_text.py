"""The terminal's tables and summary.md carry the numbers of the summary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console

from tradekit.report.order import few, ranked
from tradekit.report.run_folder import read_summary
from tradekit.report.text import IN_TERMINAL, break_even_text, skipped_lines, summary_markdown, summary_text
from tradekit.report.words import interval, number, percent

if TYPE_CHECKING:
    from pathlib import Path


def _printed(summary: dict[str, Any]) -> str:
    console = Console(width=200, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as capture:
        console.print(summary_text(summary))
    return capture.get()


def test_every_number_of_the_table(walked_folder: Path) -> None:
    summary = read_summary(walked_folder)
    printed, markdown = _printed(summary), summary_markdown(summary)
    for one in ranked(summary):
        metrics = one["metrics"]
        line = next(row for row in printed.splitlines() if row.startswith(one["name"] + " "))
        in_file = next(row for row in markdown.splitlines() if row.startswith(f"| {one['name']} |"))
        for shown in (
            one["kind"],
            percent(metrics["total_return"], sign=True),
            percent(metrics["cagr"], sign=True),
            f"{number(metrics['sharpe'])} {interval(metrics['sharpe_low'], metrics['sharpe_high'])}",
            percent(metrics["max_drawdown"]),
            number(metrics["turnover"], 1),
            number(metrics["trades"], 0),
            percent(metrics["cost_a_year"], 2),
            percent(metrics["excess_over_benchmark"], sign=True),
        ):
            assert shown in line
            assert shown in in_file


def test_a_narrow_terminal_gets_fewer_columns_and_no_cut_number(walked_folder: Path) -> None:
    summary = read_summary(walked_folder)
    with (console := Console(width=80, force_terminal=False)).capture() as capture:
        console.print(summary_text(summary))
    printed = capture.get()
    assert "\u2026" not in printed
    assert printed.split()[:4] == ["Strategy", "Return", "Sharpe", "[95"]
    assert "left out, the terminal is too narrow: Kind, Trades, Turnover, CAGR" in printed
    for one in ranked(summary):
        assert percent(one["metrics"]["total_return"], sign=True) in printed


def test_best_first_and_verdict_after_the_table(walked_folder: Path) -> None:
    summary = read_summary(walked_folder)
    sharpes = [one["metrics"]["sharpe"] for one in ranked(summary)]
    assert sharpes == sorted(sharpes, reverse=True)
    table, verdict = _printed(summary).split(f"{summary['verdict']['headline']}: ")
    assert table.splitlines()[1].startswith(ranked(summary)[0]["name"])
    assert verdict.startswith(summary["verdict"]["line"][:40])
    reasons = summary["verdict"]["reasons"]
    assert reasons
    assert all(f"- {reason}"[:100] in verdict for reason in reasons)
    assert all(f"\n- {reason}" in summary_markdown(summary) for reason in reasons)


def test_one_that_uses_the_future_says_so_beside_its_kind(walked_folder: Path) -> None:
    summary = read_summary(walked_folder)
    assert "uses the future" not in _printed(summary)
    one = next(one for one in ranked(summary) if one["audit"])
    one["audit"]["passed"] = False
    for text in (_printed(summary), summary_markdown(summary)):
        assert text.count(f"{one['kind']}, uses the future") == 1


def test_the_ceiling_ranks_last(walked_folder: Path) -> None:
    summary = read_summary(walked_folder)
    best = ranked(summary)[0]["name"]
    next(one for one in summary["strategies"] if one["name"] == best)["kind"] = "ceiling"
    assert ranked(summary)[-1]["name"] == best


def test_undefined_sharpe_ranks_last(walked_folder: Path) -> None:
    summary = read_summary(walked_folder)
    summary["strategies"][0]["metrics"]["sharpe"] = None
    assert ranked(summary)[-1]["name"] == "buy_and_hold"


def test_stress_tables(stressed_folder: Path) -> None:
    summary = read_summary(stressed_folder)
    printed, markdown = _printed(summary), summary_markdown(summary)
    for scenario in summary["scenarios"]:
        cells = [cell["metrics"] for cell in scenario["cells"]]
        if any(cells):
            shown = [number(metrics["sharpe"]) if metrics else "-" for metrics in cells]
            assert f"| {scenario['name']} | {' | '.join(shown)} |" in markdown
            assert scenario["name"] in printed
        else:
            assert f"| {scenario['name']} |" not in markdown


def test_what_was_skipped_and_what_failed(walked_folder: Path, stressed_folder: Path) -> None:
    assert skipped_lines(read_summary(walked_folder)) == [
        ("unfit", "random: it needs volume at night"),
        ("breaks in window 2", "ValueError: a class has no members; it held cash"),
    ]
    stressed = skipped_lines(read_summary(stressed_folder))
    assert ("every strategy in dot-com", "the data covers 2010-01-04 to 2010-09-20") in stressed


def test_break_even_in_words() -> None:
    held = {"name": "buy_and_hold", "metrics": {}, "break_even": {"over_cash": None, "over_buy_and_hold": None}}
    mine = {"name": "mine", "metrics": {"sharpe": 1.0}, "break_even": {"over_cash": 2.54, "over_buy_and_hold": 0.0}}
    held["metrics"] = {"sharpe": 1.0}
    summary = {"strategies": [held, mine]}
    assert break_even_text(summary, mine, "over_cash") == "x2.5"
    assert break_even_text(summary, mine, "over_buy_and_hold") == "no edge"
    assert break_even_text(summary, held, "over_cash") == "beyond all tried"
    assert break_even_text(summary, held, "over_buy_and_hold") == "-"
    assert break_even_text({"strategies": [mine]}, mine, "over_buy_and_hold") == "-"


def test_the_few_begin_with_what_is_compared(walked_folder: Path) -> None:
    summary = read_summary(walked_folder)
    names = [one["name"] for one in ranked(summary)]
    assert set(few(summary)) == set(names)
    best = summary["verdict"]["best_baseline"]
    assert few(summary, 2) == ["symbol_ppo", "buy_and_hold"]
    assert few(summary, 3)[2] == next(name for name in (best, *names) if name not in few(summary, 2))


def test_many_strategies_leave_the_terminals_stress_table_narrow(stressed_folder: Path) -> None:
    summary = read_summary(stressed_folder)
    for k in range(20):  # as many copies of one strategy under other names, each a little worse
        one = next(one for one in summary["strategies"] if one["name"] == "rotation")
        summary["strategies"].append(one | {"name": f"copy_{k}"})
        for scenario in summary["scenarios"]:
            cell = next(cell for cell in scenario["cells"] if cell["strategy"] == "rotation")
            scenario["cells"].append(cell | {"strategy": f"copy_{k}"})
    printed = _printed(summary)
    head = next(row for row in printed.splitlines() if row.startswith("Scenario"))
    assert len(head.split()) == 1 + IN_TERMINAL + len(["median", "of", "all"])
    assert "median of all" in head
    assert f"{IN_TERMINAL} of 23 strategies; all of them in report.html and summary.json" in printed
    base = next(row for row in printed.splitlines() if row.startswith("base "))
    rotation = next(one for one in summary["strategies"] if one["name"] == "rotation")
    assert base.split()[-1] == number(rotation["metrics"]["sharpe"])
