"""``tradekit exchange``."""

from __future__ import annotations

from pathlib import Path

import click

from tradekit.cli.options import SOURCE, actions_option, examples


@click.command(
    "exchange",
    short_help="Serve a local exchange that speaks Alpaca's REST and streams.",
    epilog=examples(
        "tradekit exchange --data sample --symbols AAPL,KO --from-bar 5000",
        "tradekit exchange --data bars.parquet --speed 60 --faults paper/faults.toml",
    ),
)
@click.option("--data", metavar="SOURCE", default="sample", show_default=True, help=SOURCE)
@click.option("--symbols", metavar="A,B", help="Symbols, separated by commas; all when left out.")
@click.option("--start", metavar="DATE", help="First date, inclusive.")
@click.option("--end", metavar="DATE", help="Last date, inclusive.")
@actions_option
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0 takes a free one.")
@click.option("--cash", type=float, default=100_000.0, show_default=True, metavar="DOLLARS", help="In the account.")
@click.option("--costs", metavar="MODEL", default="realistic", help="realistic, alpaca_low, free, or a TOML file.")
@click.option("--from-bar", type=click.IntRange(min=0), default=0, metavar="ROW", help="Where the replay starts.")
@click.option("--sleeves", is_flag=True, help="Give every symbol cash of its own, as for a symbol policy.")
@click.option("--speed", type=float, metavar="N", help="Run N times as fast as the market; closed hours take no time.")
@click.option("--auto", is_flag=True, help="Go on as soon as the client has read the newest bar and is quiet.")
@click.option(
    "--quiet-ms", type=click.FloatRange(min=1.0), metavar="MS", help="How long is quiet, with --auto.  [default: 50]"
)
@click.option("--rate-limit", type=click.IntRange(min=1), metavar="N", help="Trading requests a minute; Alpaca: 200.")
@click.option(
    "--faults", type=click.Path(path_type=Path), metavar="FILE", help="What is to go wrong; see docs/exchange.md."
)
@click.option("--store", type=click.Path(path_type=Path), metavar="FILE", help="Keep the exchange here, over restarts.")
def command(
    data: str,
    symbols: str | None,
    start: str | None,
    end: str | None,
    actions: str | None,
    port: int,
    cash: float,
    costs: str,
    from_bar: int,
    sleeves: bool,
    speed: float | None,
    auto: bool,
    quiet_ms: float | None,
    rate_limit: int | None,
    faults: Path | None,
    store: Path | None,
) -> None:
    """Serve an exchange on this machine until interrupted. It replays bars and fills orders at the model's prices.

    Any Alpaca client can talk to it: give it the printed URL and local / local as keys. Its clock stands still until
    POST /exchange/advance takes the market to the close of the next bar, unless --speed or --auto moves it.
    """
    from tradekit.desk.overrides import named_costs
    from tradekit.errors import ConfigError
    from tradekit.live.exchange import Faults, Pace, Settings, serve
    from tradekit.live.exchange.pace import QUIET_SECONDS
    from tradekit.market.sources import load_panel

    if quiet_ms is not None and not auto:
        raise ConfigError("--quiet-ms says when --auto goes on; give --auto as well")
    pace = Pace(speed, auto, QUIET_SECONDS if quiet_ms is None else quiet_ms / 1000.0)
    wrong = None if faults is None else Faults.from_toml(faults)
    panel = load_panel(data, symbols, start, end, actions=actions)
    settings = Settings(
        cash=cash, costs=named_costs(costs), sleeves=sleeves, start=from_bar, requests_per_minute=rate_limit
    )
    serve(panel, port=port, settings=settings, store=store, faults=wrong, pace=pace, ready=click.echo)
