"""HTTP as every client here does it: known hosts only, always a time-out, no proxy, no redirect, no silent retry."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from requests import RequestException
from requests.adapters import HTTPAdapter

from tradekit.errors import BrokerError

if TYPE_CHECKING:
    from requests import PreparedRequest, Response, Session

PAPER_TRADING, MARKET_DATA = "https://paper-api.alpaca.markets", "https://data.alpaca.markets"
ALLOWED = frozenset(urlsplit(url).hostname for url in (PAPER_TRADING, MARKET_DATA))
TIMEOUT_SECONDS = 15.0
"""Between two bytes of an answer, and at most CONNECT_SECONDS of it to connect."""
CONNECT_SECONDS = 3.05


def demand_allowed(url: str) -> None:
    """Raise BrokerError unless ``url`` leads to Alpaca's paper account, its market data, or this machine.

    >>> demand_allowed("https://paper-api.alpaca.markets/v2/orders")
    >>> demand_allowed("https://api.alpaca.markets/v2/orders")
    Traceback (most recent call last):
    ...
    tradekit.errors.BrokerError: api.alpaca.markets is refused: orders go to paper-api.alpaca.markets or to this machine
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise BrokerError("the broker's address cannot be read; write http://127.0.0.1:PORT") from error
    # User names and back-slashes make two readers see two hosts in one address.
    plain = "@" not in parts.netloc and "\\" not in url
    known = parts.scheme == "https" and host in ALLOWED and port in (None, 443)
    if plain and (known or (parts.scheme == "http" and _is_loopback(host))):
        return
    paper = urlsplit(PAPER_TRADING).hostname
    raise BrokerError(f"{host or 'an address without a host'} is refused: orders go to {paper} or to this machine")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Redirected(RequestException):
    """The answer was a redirect. What was asked may or may not have been done."""


class GuardedAdapter(HTTPAdapter):
    """Checks the host of every single request, redirects included, and gives each a time-out."""

    def __init__(self, timeout: float = TIMEOUT_SECONDS) -> None:
        super().__init__()
        self._timeout = (min(CONNECT_SECONDS, timeout), timeout)

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: dict[str, str] | None = None,
    ) -> Response:
        """Send to an allowed host only; raise Redirected on a redirect."""
        demand_allowed(request.url or "")
        response = super().send(request, stream, timeout or self._timeout, verify, cert, proxies)
        if 300 <= response.status_code < 400:
            response.close()
            host = urlsplit(request.url or "").hostname
            raise Redirected(f"{host} answered with a redirect ({response.status_code}), which is never followed")
        return response


def guard(session: Session, timeout: float = TIMEOUT_SECONDS) -> None:
    """Make a requests session safe: guarded adapters with a time-out in seconds, nothing from the environment."""
    session.trust_env = False
    session.max_redirects = 0
    for prefix in ("https://", "http://"):
        session.mount(prefix, GuardedAdapter(timeout))


def scrub(text: str, secrets: tuple[str, ...]) -> str:
    """Return one line without the secrets."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return " ".join(text.split())
