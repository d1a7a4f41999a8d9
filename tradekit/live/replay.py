"""The control of a local exchange: where its replay stands, and the step to the next bar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import requests

from tradekit.errors import BrokerError, SessionError
from tradekit.live.hours import Moment, demand_close
from tradekit.live.times import parse_utc
from tradekit.live.transport import demand_allowed, guard

if TYPE_CHECKING:
    from collections.abc import Callable

    from tradekit.live.broker import BrokerClock


class Replay:
    """Talks to the control endpoints of a local exchange.

    Args:
        key_id, secret_key: what the exchange was opened with.
        url: its loopback address.
    """

    always_trades = False

    def __init__(self, key_id: str, secret_key: str, url: str) -> None:
        demand_allowed(url)
        self._url, self._session = url, requests.Session()
        self._session.headers.update({"APCA-API-KEY-ID": key_id, "APCA-API-SECRET-KEY": secret_key})
        guard(self._session)

    def state(self) -> dict[str, Any]:
        """Return what is replayed and how; see the exchange's own description."""
        return self._ask("GET", "/exchange")

    def moment(self) -> Moment:
        """Return where the replay stands."""
        return _moment(self.state())

    def advance(self, to: int, between: Callable[[], None] = lambda: None) -> Moment:
        """Move to the close of bar ``to``; being there already is fine. Nothing happens in ``between``."""
        del between
        return _moment(self._ask("POST", "/exchange/advance", {"to": to}))

    def announce(self, to: int) -> str:
        """Return when bar ``to`` closes: as soon as it is asked for."""
        return f"bar {to} of the replay, at once"

    def demand_near(self, done: int, journal: str) -> None:
        """Raise SessionError unless the exchange stands where a journal of ``done`` bars ends.

        An exchange that forgot must not be mistaken for one that never got the orders.
        """
        stands = self.moment().bar
        if stands not in (done, done + 1):
            raise SessionError(
                f"{journal}: ends at bar {done} of the replay, but the exchange stands at bar {stands}; "
                "restart the exchange from its own log, or move the journal away"
            )

    def is_late(self, moment: Moment, seconds: float) -> bool:
        """Return False: a replay waits for whoever steps it."""
        del moment, seconds
        return False

    def demand_time(self, clock: BrokerClock, moment: Moment, seconds: float) -> None:
        """Raise Stopped when the broker's clock is more than ``seconds`` away from the close of the bar."""
        demand_close(clock.now, moment.close_time, seconds, "the replay's")

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            response = self._session.request(method, self._url + path, json=body, allow_redirects=False)
            answer = response.json()
        except requests.RequestException as error:
            raise BrokerError(f"no answer from the exchange at {self._url} ({type(error).__name__})") from None
        if response.status_code != 200 or not isinstance(answer, dict):
            raise BrokerError(f"the exchange at {self._url} answered {response.status_code}: {answer}")
        return answer


def _moment(state: dict[str, Any]) -> Moment:
    return Moment(state["bar"], state["last"], parse_utc(state["timestamp"]), parse_utc(state["close_time"]))
