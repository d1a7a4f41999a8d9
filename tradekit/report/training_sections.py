"""The sections of a training report, each a function of the run's summary and curves; empty ones are left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.report.cells import facts_list, heat, settings_text, th
from tradekit.report.figures import bar, choice
from tradekit.report.markup import Markup, section, table, tag, typeset
from tradekit.report.words import DASH, number, percent

if TYPE_CHECKING:
    from tradekit.report.training_curves import Curves

Summary = dict[str, Any]
STYLES = ("s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8")
# The tail counts of a histogram share a bar, so that one outlier does not squeeze the rest into a line.
BARS = 21


def validation(curves: Curves) -> Markup | None:
    """Return how the policy did on the validation bars."""
    sharpe = curves.figure("sharpe", [("validation_sharpe", "Sharpe ratio", "policy")], base=0.0)
    if sharpe is None:
        return None
    lines = [("validation_exposure", "invested", "s2"), ("validation_return", "return", "hold")]
    return section(
        "Validation Sharpe ratio",
        sharpe,
        tag("h3", "Return and exposure on the same bars"),
        curves.figure("validation", lines, percent=True, digits=1, base=0.0, low=True),
        lead="Annual, after costs, on bars that training does not learn from, against environment steps as all curves "
        "below. The best one is exported; being the best of several looks at the same bars, it flatters.",
        id_="validation",
    )


def entropy(curves: Curves, summary: Summary) -> Markup | None:
    """Return the entropy of the policy against that of what executed."""
    lines = [("entropy", "policy", "policy"), ("executed_entropy", "executed", "s1")]
    told = summary["recipe"]["entropy"]
    drawn = curves.figure("entropy", lines, digits=3, base=told["guard_floor"] if told["guard"] else 0.0)
    if drawn is None:
        return None
    floor = f" The stronger line is the guard's floor, {told['guard_floor']:g} nats." if told["guard"] else ""
    return section(
        "Entropy: the policy against what executed",
        drawn,
        tag("h3", "Weight of the entropy bonus"),
        curves.figure("bonus", [("entropy_coefficient", "weight", "s2")], digits=4, base=0.0, low=True),
        lead="Nats. Policy: of its distribution over allowed actions, mean over decisions. Executed: of the actions "
        f"that came about, within windows of an agent's decisions.{floor}",
        id_="entropy",
    )


def actions(curves: Curves, summary: Summary) -> Markup | None:
    """Return the shares of the trading actions over time, asked for and executed, and why they differ."""
    names = [name.removeprefix("chosen.") for name in curves.columns if name.startswith("chosen.")]
    trades = [name for name in names if name != "HOLD"]
    panes = []
    for kind in ("executed", "chosen"):
        lines = [(f"{kind}.{name}", name, style) for name, style in zip(trades, STYLES, strict=False)]
        drawn = curves.figure(kind, lines, percent=True, digits=2, base=0.0)
        if drawn is not None:
            panes.append((kind.capitalize(), drawn))
    if not panes:
        return None
    return section(
        "Actions over time",
        choice("actions", panes),
        _became(summary),
        lead="Share of all decisions in training. Executed: what was asked for, allowed and filled. HOLD is the rest.",
        id_="actions",
    )


def _became(summary: Summary) -> Markup | None:
    """Return what the chosen checkpoint asked for on the validation bars, what executed, and the reasons between."""
    told = summary.get("metrics")
    if told is None:
        return None
    decisions = max(1, told["decisions"])
    head = [th("Action"), th("Chosen"), th("Share"), th("Executed"), th("Share")]
    body = [
        tag(
            "tr",
            tag("th", name, scope="row"),
            *(
                cell
                for kind in ("chosen", "executed")
                for cell in (
                    tag("td", f"{told[kind][name]:,}", data_label=kind.capitalize(), data_action=name, data_kind=kind),
                    tag("td", typeset(percent(told[kind][name] / decisions, 2)), data_label="Share"),
                )
            ),
        )
        for name in told["chosen"]
    ]
    why = ", ".join(
        f"{name.replace('_', ' ')} {count:,}"
        for name, count in told["reasons"].items()
        if count and name != "as_chosen"
    )
    parts = [f"Executed otherwise than chosen: {why}" if why else "Every action executed as chosen"]
    if told["unfilled_orders"]:
        parts.append(f"{told['unfilled_orders']:,} orders did not fill, and count as HOLD")
    return tag(
        "div",
        tag("h3", "The exported checkpoint on the validation bars"),
        table(head, body, class_="cards", id_="became"),
        tag("p", f"{'. '.join(parts)}. {told['decisions']:,} decisions.", class_="note"),
    )


def reward(curves: Curves, summary: Summary) -> Markup | None:
    """Return the reward by component, how it is spread, and how its components go together."""
    names = [name for name in curves.columns if name.startswith("reward.")]
    styles = STYLES * 2 if len(names) > 1 else ("policy",)
    lines = [(name, name.removeprefix("reward."), style) for name, style in zip(names, styles, strict=False)]
    if len(names) > 1:
        lines.insert(0, ("reward_mean", "all", "policy"))
    drawn = curves.figure("reward", lines, digits=4, base=0.0)
    if drawn is None:
        return None
    unexplained = float(np.nanmax(curves.columns["reward_unexplained"]))
    sums = f"largest difference {unexplained:.1e}" if unexplained else "exactly, at every step"
    episodes = curves.figure("episodes", [("episode_reward", "episode", "policy")], base=0.0, low=True)
    return section(
        "Reward by component",
        drawn,
        tag("p", f"The components add up to the reward: {sums}.", class_="note"),
        tag("h3", "Reward of the episodes that ended") if episodes else None,
        episodes,
        _shares(curves, names),
        *_spread(summary),
        lead="Mean over the steps of each update, weights included.",
        id_="reward",
    )


def _shares(curves: Curves, names: list[str]) -> Markup | None:
    """Return what share of the reward's size each component has in the last update."""
    if len(names) < 2:
        return None
    shares = {name: float(curves.columns[name.replace("reward.", "reward_share.")][-1]) for name in names}
    drawn: list[Markup] = []
    for name, style in sorted(zip(names, STYLES * 2, strict=False), key=lambda pair: -shares[pair[0]]):
        value = tag("span", percent(shares[name]), class_="value", data_share=name, data_value=repr(shares[name]))
        drawn += [tag("span", name.removeprefix("reward.")), bar([(shares[name], style)], 1.0), value]
    return tag("div", tag("h3", "Share of the reward's size in the last update"), tag("div", *drawn, class_="bars"))


def _spread(summary: Summary) -> list[Markup | None]:
    told = summary.get("last_roll_out")
    if not told:
        return []
    return [tag("h3", "Rewards of the last update"), _histogram(told), _correlation(told)]


def _histogram(told: dict[str, Any]) -> Markup:
    """Return the counts of rewards between round edges, the tails in one bar each."""
    counts, edges = np.array(told["histogram"]), np.array(told["edges"])
    centre = int(counts.argmax())
    first = min(max(0, centre - BARS // 2), max(0, len(counts) - BARS))
    inner = counts[first : first + BARS].astype(np.float64)
    inner[0] += counts[:first].sum()
    inner[-1] += counts[first + BARS :].sum()
    drawn: list[Markup] = []
    for number_, count in enumerate(inner):
        low, high = edges[first + number_], edges[first + number_ + 1]
        drawn += [
            tag("span", typeset(f"{low:.3g} to {high:.3g}")),
            bar([(count, "policy")], float(inner.max())),
            tag("span", f"{count:,.0f}", class_="value"),
        ]
    note = "The first and the last bar hold what lies further out."
    return tag("div", tag("div", *drawn, class_="bars"), tag("p", note, class_="note"))


def _correlation(told: dict[str, Any]) -> Markup | None:
    names = [*told["components"], "reward"]
    if len(names) < 3:
        return None
    body = []
    for name, row, to_go in zip(names, told["correlation"], told["to_go"], strict=True):
        cells = [heat(value, value or 0.0, number(value)) for value in row]
        goes = tag("td", typeset(number(to_go, 4)), data_to_go=name, data_exact=repr(to_go))
        body.append(tag("tr", tag("th", name, scope="row"), *cells, goes))
    head = [th("Correlation"), *(th(name) for name in names), th("Reward to go", title="Mean, discounted.")]
    return table(head, body, class_="heat", id_="correlation")


def value_fit(curves: Curves) -> Markup | None:
    """Return how well the critic's values fit the returns."""
    drawn = curves.figure("fit", [("explained_variance", "explained", "policy")], percent=True, digits=1, base=0.0)
    if drawn is None:
        return None
    means = [("value_mean", "value", "policy"), ("reward_to_go", "reward to go", "hold")]
    return section(
        "Value fit",
        drawn,
        tag("h3", "Mean value against the mean reward to go"),
        curves.figure("values", means, digits=3, base=0.0, low=True),
        lead="Share of the variance of returns that the critic explains. At 0 it knows no more than their mean.",
        id_="fit",
    )


def optimiser(curves: Curves) -> Markup | None:
    """Return how far updates move the policy, and the gradients that move it."""
    moved = curves.figure("kl", [("kl", "KL", "policy")], digits=5, base=0.0, low=True)
    if moved is None:
        return None
    clipped = [("clip_fraction", "ratios clipped", "policy"), ("clipped_gradients", "gradients clipped", "s1")]
    norms = [("gradient_norm", "mean", "policy"), ("gradient_norm_max", "largest", "s1")]
    return section(
        "The optimiser",
        tag("h3", "Divergence of each update from the policy before it"),
        moved,
        tag("h3", "Share clipped"),
        curves.figure("clipped", clipped, percent=True, digits=1, base=0.0, low=True),
        tag("h3", "Norm of the gradients before they are clipped"),
        curves.figure("norms", norms, digits=3, base=0.0, low=True),
        tag("h3", "Learning rate"),
        curves.figure("rate", [("learning_rate", "learning rate", "s2")], digits=6, base=0.0, low=True),
        id_="optimiser",
    )


def alarms(summary: Summary) -> Markup | None:
    """Return what looked wrong, and what to change."""
    told = summary.get("alarms") or {}
    items = [
        tag(
            "li",
            tag("span", name.replace("_", " "), class_="tag"),
            f" from step {one['first_step']:,} to {one['last_step']:,}: {one['said'].split(': ', 1)[-1]}",
            data_alarm=name,
        )
        for name, one in told.items()
    ]
    items += [tag("li", tag("span", "validation", class_="tag"), f": {said}") for said in summary.get("findings") or ()]
    if not items:
        return None
    return section("What looked wrong", tag("ul", *items, class_="plain", id_="alarms"))


def setup(summary: Summary) -> Markup:
    """Return everything that is needed to run it again."""
    recipe, data = summary["recipe"], summary.get("data") or {}
    facts = {"Seed": str(recipe["seed"])}
    if data:
        facts |= {
            "Data": f"{data['source']}, {data['frequency']} bars, {data['bars']:,} from {data['start'][:10]}",
            "Symbols": ", ".join(data["symbols"]),
            "Trained to": data["train_end"][:10],
            "Validated": f"{data['validation_start'][:10]} to {data['seen_end'][:10]}",
            "Data hash": data["hash"],
        }
    score = summary.get("score")
    if score:
        facts["Composite score"] = settings_text({name: number(value) for name, value in score.items()})
    for name, settings in recipe.items():
        if isinstance(settings, dict):
            facts[f"[{name}]"] = settings_text(settings) or DASH
    return section("How it was run", facts_list(facts))
