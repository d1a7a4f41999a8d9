"""The control of a local exchange: where its replay stands, and the step to the next bar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests

from tradekit.errors import BrokerError
from tradekit.live.times import parse_utc
from tradekit.live.transport import demand_allowed, guard

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Moment:
    """Where a replay stands: just after the close of its bar number ``bar`` of 0 to ``last``."""

    bar: int
    last: int
    timestamp: np.datetime64
    close_time: np.datetime64


class Replay:
    """Talks to the control endpoints of a local exchange.

    Args:
        key_id, secret_key: what the exchange was opened with.
        url: its loopback address.
    """

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

    def advance(self, to: int) -> Moment:
        """Move to the close of bar ``to``; being there already is fine."""
        return _moment(self._ask("POST", "/exchange/advance", {"to": to}))

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
