"""The summary: every figure of a run in one plain structure, the content of summary.json."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.report.across_seeds import across_seeds, seeds_text
from tradekit.report.evidence import ADDED, REFERENCE, evidence_of, joint_of
from tradekit.report.metrics import costs_of, metrics_of, orders_of, window_metrics
from tradekit.report.paths import path_figures, paths_text
from tradekit.report.scenario_bounds import NAMES, scenario_bounds
from tradekit.report.verdict import verdict_of
from tradekit.report.words import number, percent, stamp

if TYPE_CHECKING:
    from tradekit.report.record import Actions, Record

SCHEMA = "tradekit.run/1"
COPIED = ("kind", "created", "command", "costs", "execution", "windowing", "cash", "seeds")


def summary_of(record: Record) -> dict[str, Any]:
    """Return the summary of a record: a function of the record alone, NaN as None."""
    manifest = record.manifest
    strategies = [_strategy(record, entry) for entry in manifest["strategies"]]
    proof = evidence_of(joint_of(record, strategies), (manifest.get("trials") or {}).get("count"))
    added = proof.pop("metrics")
    for one in strategies:
        if one["metrics"] is not None:
            one["metrics"] |= dict.fromkeys(ADDED, math.nan) | added.get(one["name"], {})
    block = proof["bootstrap"] and proof["bootstrap"]["block"]
    scenarios = [_scenario(record, entry, added, block) for entry in manifest["scenarios"]]
    verdict = verdict_of(record, strategies, proof)
    paths = _paths(record)
    for one in strategies:
        if one["name"] in paths:
            one["paths"] = paths[one["name"]]
    if verdict["candidate"] in paths:
        verdict["reasons"] = [*paths_text(verdict["candidate"], paths[verdict["candidate"]]), *verdict["reasons"]]
    if manifest["kind"] == "stress":
        verdict["line"] = " ".join([verdict["line"], *_endurance(verdict["candidate"], strategies, scenarios)])
    seeds = across_seeds(strategies, verdict["best_baseline"])
    verdict["reasons"] += [seeds_text(one) for one in seeds if one["strategy"] == verdict["candidate"]]
    summary: dict[str, Any] = plain(
        {
            "schema": SCHEMA,
            **{key: manifest[key] for key in COPIED},
            **({"cross_validation": manifest["cross_validation"]} if "cross_validation" in manifest else {}),
            "data": manifest["data"] | {"scored": _scored_span(record)},
            "strategies": strategies,
            "scenarios": scenarios,
            **proof,
            "across_seeds": seeds,
            "skipped": _skipped(manifest),
            "verdict": verdict,
        }
    )
    return summary


def _strategy(record: Record, entry: dict[str, Any]) -> dict[str, Any]:
    track = record.base.get(entry["name"])
    if track is None:
        return entry | {"metrics": None, "costs": None, "orders": None, "actions": None, "windows": []}
    years, frequency = record.bars_per_year, record.manifest["data"]["frequency"]
    windows = [
        {
            "window": row.window,
            "test_start": stamp(row.test_start, frequency),
            "test_end": stamp(row.test_end, frequency),
            "failure": row.failure,
            **window_metrics(track, row, years),
        }
        for row in record.windows
        if row.strategy == entry["name"]
    ]
    mine = next((one for one in record.actions if one.strategy == entry["name"]), None)
    return entry | {
        "metrics": metrics_of(track, years),
        "costs": costs_of(track, years),
        "orders": orders_of(record.orders.of(entry["name"]), track),
        "actions": mine and _actions(mine, track.scored_from, record.manifest),
        "windows": windows,
    }


def _paths(record: Record) -> dict[str, dict[str, Any]]:
    """Return what the paths of each strategy of a cross-validation came to; empty for any other run."""
    if not record.paths:
        return {}
    start = record.manifest["scored_from"][record.manifest["base_scenario"]]
    return path_figures(record.paths, record.manifest["learning"], start, record.bars_per_year)


def _actions(actions: Actions, scored_from: int, manifest: dict[str, Any]) -> dict[str, Any]:
    """Return how often each action was chosen and executed, as shares of the decisions behind the scored bars."""
    decided = actions.chosen[scored_from - 1 :] >= 0
    chosen, executed, reason = (
        ids[scored_from - 1 :][decided] for ids in (actions.chosen, actions.executed, actions.reason)
    )
    most = max([len(manifest["action_names"]) - 1, *chosen.tolist(), *executed.tolist()])
    names = _labels(manifest["action_names"], most, "action")
    reasons = _labels(manifest["action_reasons"], int(reason.max(initial=0)), "reason")
    return {
        "decisions": len(chosen),
        "chosen": _shares(chosen, names),
        "executed": _shares(executed, names),
        "changed": float(np.mean(chosen != executed)) if len(chosen) else math.nan,
        "reasons": {name: share for name, share in _shares(reason, reasons).items() if share and name != reasons[0]},
    }


def _labels(names: list[str], most: int, kind: str) -> list[str]:
    return [names[k] if k < len(names) else f"{kind} {k}" for k in range(most + 1)]


def _shares(ids: Any, names: list[str]) -> dict[str, float]:
    counts = np.bincount(ids, minlength=len(names)).tolist()
    return {name: count / max(1, len(ids)) for name, count in zip(names, counts, strict=True)}


def _scenario(
    record: Record, entry: dict[str, Any], added: dict[str, dict[str, float]], block: float | None
) -> dict[str, Any]:
    """Return a scenario with its cells; the one that the others are compared with has the bounds of the run."""
    tracks, gone = record.of(entry["name"]), record.manifest["skipped_cells"]
    why = {one["strategy"]: one["skipped"] for one in gone if one["scenario"] == entry["name"]}
    draws = {one["strategy"]: one for one in record.manifest["draws"] if one["scenario"] == entry["name"]}
    bounds = scenario_bounds(tracks, block)
    if entry["name"] == record.manifest["base_scenario"]:
        bounds |= {name: {key: added[name][key] for key in NAMES} for name in tracks if name in added}
    cells = [
        {
            "strategy": name,
            "skipped": why.get(name),
            "metrics": metrics_of(tracks[name], record.bars_per_year) | bounds[name] if name in tracks else None,
            "draws": draws.get(name),
        }
        for name in (one["name"] for one in record.manifest["strategies"])
    ]
    return entry | {"cells": cells}


def _endurance(candidate: str | None, strategies: list[dict[str, Any]], scenarios: list[dict[str, Any]]) -> list[str]:
    """Say at what costs the candidate's edge dies and where it lost most."""
    said = []
    held = any(one["name"] == REFERENCE and one["metrics"] for one in strategies)
    for one in strategies:
        if one["name"] == candidate and one["break_even"]:
            said.append(_dies("cash", one["break_even"]["over_cash"]))
            if held and candidate != REFERENCE:
                said.append(_dies(REFERENCE, one["break_even"]["over_buy_and_hold"]))
    losses = [
        (cell["metrics"]["total_return"], scenario["name"])
        for scenario in scenarios
        for cell in scenario["cells"]
        if cell["strategy"] == candidate and cell["metrics"] and not math.isnan(cell["metrics"]["total_return"])
    ]
    if losses:
        worst, name = min(losses)
        said.append(f"Its worst scenario is {name} ({percent(worst, sign=True)}).")
    return said


def _dies(over: str, multiple: float | None) -> str:
    if multiple is None:
        return f"Its edge over {over} outlives every multiple of the costs."
    if multiple > 0.0:
        return f"Its edge over {over} dies at {number(multiple, 1)} times the costs."
    return f"It has no edge over {over} even without costs."


def _skipped(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what did not run: whole strategies first, then windows and single cells of a stress run."""
    whole = {one["name"]: one["skipped"] for one in manifest["strategies"] if one["skipped"] is not None}
    lost = {one["name"]: f"it {one['lost']}; it held cash there" for one in manifest["strategies"] if one.get("lost")}
    return [
        *({"strategy": name, "scenario": None, "reason": reason} for name, reason in {**whole, **lost}.items()),
        *(
            {"strategy": one["strategy"], "scenario": one["scenario"], "reason": one["skipped"]}
            for one in manifest["skipped_cells"]
            if one["skipped"] != whole.get(one["strategy"])
        ),
    ]


def _scored_span(record: Record) -> dict[str, Any]:
    """Return the first and last scored bar of the base scenario and how many there are."""
    track = next(iter(record.base.values()), None)
    if track is None or track.scored_from >= len(track.timestamps):
        return {"start": None, "end": None, "bars": 0}
    times, frequency = track.timestamps[track.scored_from :], record.manifest["data"]["frequency"]
    return {"start": stamp(times[0], frequency), "end": stamp(times[-1], frequency), "bars": len(times)}


def plain(value: Any) -> Any:
    """Return ``value`` as JSON can hold it: NaN and infinity become None, numpy scalars Python's, tuples lists."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_json(value: Any) -> str:
    """Return JSON with sorted keys and the shortest digits that give each float back, the same bytes every time."""
    return json.dumps(plain(value), indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"
