"""``tradekit exchange``."""

from __future__ import annotations

from pathlib import Path

import click

from tradekit.cli.options import SOURCE, actions_option, examples


@click.command(
    "exchange",
    short_help="Serve a local exchange that speaks Alpaca's REST.",
    epilog=examples("tradekit exchange --data sample --symbols AAPL,KO --port 8765"),
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
    store: Path | None,
) -> None:
    """Serve an exchange on this machine until interrupted. It replays bars and fills orders at the model's prices.

    Any alpaca-py client can talk to it: give it the printed URL as url_override, and local / local as keys. Its clock
    stands still until POST /exchange/advance takes the market to the close of the next bar, and fills what is due.
    """
    from tradekit.desk.overrides import named_costs
    from tradekit.live.exchange import Settings
    from tradekit.live.exchange.server import serve
    from tradekit.market.sources import load_panel

    panel = load_panel(data, symbols, start, end, actions=actions)
    settings = Settings(cash=cash, costs=named_costs(costs), sleeves=sleeves, start=from_bar)
    serve(panel, port=port, settings=settings, store=store, ready=click.echo)
