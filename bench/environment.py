"""Time training environments with random allowed actions: ``python -m bench.environment [--rounds N]``.

tradekit's with the full cost model, observations and masks, the draw of the actions included, beside gym-anytrading and
gym-trading-env, which the environment of ``make peers`` has. One thread, and its own processor time, which nobody else
takes from; medians of rounds in which each has one turn, so that what they do slow is slow for all.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numba
import numpy as np
from rich.console import Console
from rich.table import Table

from bench.engine import random_walks
from tradekit import CostModel
from tradekit.learn.actions import ACTIONS
from tradekit.learn.lanes import Lanes
from tradekit.learn.rewards import Reward
from tradekit.learn.task import Task
from tradekit.market.features import FeatureSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tradekit.market.panel import Bools

    Play = Callable[[int], None]

ENVIRONMENTS = (1, 8, 64, 1024, 4096)
ROUNDS, SECONDS = 9, 0.1
BARS, SYMBOLS, WINDOW = 6000, 20, 10


class Way(NamedTuple):
    """A way of playing, the package without which there is none, and how many environments are worth waiting for."""

    name: str
    module: str
    begin: Callable[[int], Play]
    most: int


@numba.njit(cache=True)
def draw(mask: Bools, table: NDArray[np.int8], key: NDArray[np.uint64], actions: NDArray[np.int64]) -> None:
    """Write an allowed action for each row of ``mask`` (B, 7) into ``actions`` (B,), by xorshift from ``key`` (1,).

    ``table`` (128, 8) lists, for every set of actions, how many there are and which.
    """
    word = key[0]
    for b in range(len(actions)):
        word ^= word << np.uint64(13)
        word ^= word >> np.uint64(7)
        word ^= word << np.uint64(17)
        allowed = 0
        for action in range(ACTIONS):
            allowed |= int(mask[b, action]) << action
        choice = (word >> np.uint64(33)) * np.uint64(table[allowed, 0]) >> np.uint64(31)
        actions[b] = table[allowed, 1 + int(choice)]
    key[0] = word


def sets_of_actions() -> NDArray[np.int8]:
    """Return the table that ``draw`` reads."""
    table = np.zeros((1 << ACTIONS, 1 + ACTIONS), np.int8)
    for allowed in range(1 << ACTIONS):
        members = [action for action in range(ACTIONS) if allowed >> action & 1]
        table[allowed, : 1 + len(members)] = [len(members), *members]
    return table


def tradekit(reward: str = "minimal", *, drawn: bool = True) -> Callable[[int], Play]:
    """Return our lanes; without ``drawn`` the actions are those of the first step, which are soon refused."""

    def begin(environments: int) -> Play:
        task = Task(random_walks(BARS, SYMBOLS), FeatureSpec.named("close"), reward=Reward(reward), costs=CostModel())
        lanes = Lanes(task, np.resize(task.columns, environments))
        actions, key = np.zeros(environments, np.int64), np.array([88172645463325252], np.uint64)
        table = sets_of_actions()
        lanes.begin()

        def play(steps: int) -> None:
            for _ in range(steps):
                if drawn:
                    draw(lanes.state.mask, table, key, actions)
                lanes.step(actions, restart=True)

        return play

    return begin


def one_by_one(make: Callable[[], Any]) -> Callable[[int], Play]:
    """Return gymnasium environments that are stepped in turn and begin anew where they end."""

    def begin(environments: int) -> Play:
        envs = [make() for _ in range(environments)]
        for env in envs:
            env.reset()

        def play(steps: int) -> None:
            for _ in range(steps):
                for env in envs:
                    _, _, terminated, truncated, _ = env.step(env.action_space.sample())
                    if terminated or truncated:
                        env.reset()

        return play

    return begin


def anytrading() -> Any:
    """Return gym-anytrading's environment of stocks: two positions, prices and their differences as features."""
    import pandas as pd
    from gym_anytrading.envs import StocksEnv  # type: ignore[import-not-found] # an environment of its own has it

    closes = random_walks(BARS, SYMBOLS).close[:, 0]
    return StocksEnv(df=pd.DataFrame({"Close": closes}), window_size=WINDOW, frame_bound=(WINDOW, BARS))


def trading_env() -> Any:
    """Return gym-trading-env's environment: five weights as actions, our features, a proportional fee."""
    import pandas as pd
    from gym_trading_env.environments import TradingEnv  # type: ignore[import-not-found] # as above

    panel, spec = random_walks(BARS, SYMBOLS), FeatureSpec.named("close")
    rows = slice(spec.lookback, None)
    features = spec.compute(panel)[rows, 0]
    prices = dict.fromkeys(("open", "high", "low", "close"), panel.close[rows, 0])
    columns = {f"feature_{name}": features[:, i] for i, name in enumerate(spec.names)}
    frame = pd.DataFrame({**prices, **columns}, index=pd.DatetimeIndex(panel.timestamps[rows]))
    weights = [0.0, 0.25, 0.5, 0.75, 1.0]
    return TradingEnv(df=frame, positions=weights, trading_fees=0.001, borrow_interest_rate=0.0, verbose=0)


WAYS = (
    Way("tradekit, minimal reward", "numba", tradekit(), ENVIRONMENTS[-1]),
    Way("tradekit, stage5 reward", "numba", tradekit("stage5"), ENVIRONMENTS[-1]),
    Way("tradekit, every action HOLD", "numba", tradekit(drawn=False), ENVIRONMENTS[-1]),
    Way("gym-anytrading", "gym_anytrading", one_by_one(anytrading), 64),
    Way("gym-trading-env", "gym_trading_env", one_by_one(trading_env), 64),
)


def rates(environments: int, rounds: int) -> dict[str, float]:
    """Return steps a second of so many environments, by way: the median of ``rounds`` turns."""
    able = [way for way in WAYS if installed(way) and environments <= way.most]
    plays = {way.name: way.begin(environments) for way in able}
    counts = {name: _enough(play) for name, play in plays.items()}
    seconds: dict[str, list[float]] = {name: [] for name in plays}
    for _ in range(rounds):
        for name, play in plays.items():
            begin = time.process_time()
            play(counts[name])
            seconds[name].append(time.process_time() - begin)
    return {name: environments * counts[name] / statistics.median(taken) for name, taken in seconds.items()}


def _enough(play: Play) -> int:
    """Return the number of steps that take about SECONDS, after one that compiles."""
    steps = 1
    play(steps)
    while True:
        begin = time.process_time()
        play(steps)
        taken = time.process_time() - begin
        if taken > SECONDS / 4:
            return max(1, int(steps * SECONDS / taken))
        steps *= 2


def installed(way: Way) -> bool:
    """Return whether the package can be imported here."""
    return importlib.util.find_spec(way.module) is not None


def compare(rounds: int) -> Table:
    """Return steps a second of every way and number of environments."""
    found = {environments: rates(environments, rounds) for environments in ENVIRONMENTS}
    heads = [f"{environments:,}" for environments in ENVIRONMENTS]
    table = Table("environments", *heads, title="steps a second of processor time")
    for way in WAYS:
        if installed(way):
            cells = [found[environments].get(way.name) for environments in ENVIRONMENTS]
            table.add_row(way.name, *[f"{cell:,.0f}" if cell else "" for cell in cells])
        else:
            table.add_row(way.name, *["not installed"] + [""] * (len(ENVIRONMENTS) - 1))
    return table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Time training environments with random allowed actions.")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="turns of each")
    rounds = parser.parse_args().rounds
    console = Console(width=120)
    console.print(compare(rounds))
    missing = [way.name for way in WAYS if not installed(way)]
    if missing:
        console.print(f"not installed: {', '.join(missing)}; `make peers` makes .venv-peers, which has them:")
        console.print(".venv-peers/bin/python -W ignore -m bench.environment")


if __name__ == "__main__":
    main()
