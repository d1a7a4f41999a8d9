"""report.html of a training run: the verdict, what was learnt, and whether the learning was sound."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from tradekit.errors import DeskError
from tradekit.report import training_sections as sections
from tradekit.report.markup import Markup, join, page, tag, typeset
from tradekit.report.training_curves import Curves, curves_of
from tradekit.report.words import number, percent

if TYPE_CHECKING:
    from pathlib import Path

METRICS, SUMMARY, PAGE = "metrics.parquet", "summary.json", "report.html"


def write_training_report(folder: Path) -> Path:
    """Draw the report of the training run in ``folder`` from its metrics and summary, and return the page.

    Raises:
        DeskError: it holds no finished training run, or cannot be written.
    """
    try:
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        rows = pq.read_table(folder / METRICS).to_pylist()
    except (OSError, ValueError) as error:
        raise DeskError(f"{folder}: no training run that has ended can be read there ({error})") from error
    made, partial = folder / PAGE, folder / f".{PAGE}"
    try:
        partial.write_text(training_html(summary, rows), encoding="utf-8")
        partial.replace(made)
    except OSError as error:
        raise DeskError(f"{made}: cannot be written ({error.strerror}); free space or mend its permissions") from error
    return made


def training_html(summary: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """Return the page of a run: a function of its summary and the rows of its metrics alone."""
    curves = curves_of(rows) if rows else None
    body = join(
        _masthead(summary),
        _verdict(summary),
        sections.alarms(summary),
        *(_drawn(curves, summary) if curves is not None and len(rows) > 1 else [_too_short()]),
        sections.setup(summary),
        _footer(summary),
    )
    return page(f"Training {summary['name']}", body, curves.data() if curves is not None else "{}")


def _footer(summary: dict[str, Any]) -> Markup:
    maker = f"tradekit {(summary.get('versions') or {}).get('tradekit', '')}".strip()
    return tag("footer", f"Made by {maker} with ", tag("code", f"tradekit train {summary['name']}"))


def _drawn(curves: Curves, summary: dict[str, Any]) -> list[Markup | None]:
    return [
        sections.validation(curves),
        sections.entropy(curves, summary),
        sections.actions(curves, summary),
        sections.reward(curves, summary),
        sections.value_fit(curves),
        sections.optimiser(curves),
    ]


def _too_short() -> Markup:
    return tag("p", "Fewer than two updates: there are no curves.", class_="note")


def _masthead(summary: dict[str, Any]) -> Markup:
    data = summary.get("data")
    spans = [tag("strong", f"Training {summary['name']}")]
    if data:
        symbols = data["symbols"]
        few = ", ".join(symbols) if len(symbols) <= 4 else f"{len(symbols)} symbols"
        spans += [
            tag("span", f"{data['source'].rstrip('/').rsplit('/', 1)[-1]}: {few}, {data['frequency']} bars"),
            tag("span", f"{data['start'][:10]} to {data['seen_end'][:10]}"),
        ]
    return tag("div", *spans, tag("span", f"seed {summary['seed']}"), class_="masthead")


def _verdict(summary: dict[str, Any]) -> Markup:
    healthy = bool(summary["healthy"])
    first, _, rest = summary["verdict"].partition(": ")
    return tag(
        "header",
        tag("span", "usable" if healthy else "not usable", class_=f"pill {'pass' if healthy else 'fail'}"),
        tag("h1", typeset(f"{first[:1].upper()}{first[1:]}{': ' if rest else ''}{rest}.")),
        tag("p", typeset(summary["why"][:1].upper() + summary["why"][1:])) if summary["why"] else None,
        _tiles(summary) if summary.get("metrics") else None,
        class_="verdict",
        data_outcome="pass" if healthy else "fail",
    )


def _tiles(summary: dict[str, Any]) -> Markup:
    told = summary["metrics"]

    def tile(heading: str, key: str, shown: str, beside: str) -> Markup:
        small = tag("small", typeset(beside))
        exact = None if told[key] is None else repr(told[key])
        return tag(
            "div", tag("dt", heading), tag("dd", typeset(shown), small, data_tile=key, data_value=exact), class_="tile"
        )

    nats = f"{percent(told['policy_action_entropy_normalised'], 0)} of the most there is"
    held = summary.get("held")
    ratio, earned = (
        ("", "")
        if held is None
        else (f"; held {number(held['sharpe'])}", f"; held {percent(held['total_return'], sign=True)}")
    )
    return tag(
        "dl",
        tile("Validation Sharpe", "validation_sharpe", number(told["validation_sharpe"]), f"best checkpoint{ratio}"),
        tile(
            "Validation return",
            "validation_total_return",
            percent(told["validation_total_return"], sign=True),
            f"{percent(told['exposure'], 0)} invested{earned}",
        ),
        tile(
            "Trades a year",
            "trades_per_symbol_year",
            number(told["trades_per_symbol_year"], 1),
            f"of each symbol; {told['total_trades']:,} in all",
        ),
        tile("Entropy", "policy_action_entropy_mean", number(told["policy_action_entropy_mean"], 3), f"nats, {nats}"),
        tile(
            "Steps",
            "steps",
            f"{told['steps']:,}",
            f"in {number(summary['seconds'], 1)} s; exported: step {told['checkpoint_step']:,}",
        ),
        class_="tiles",
    )
