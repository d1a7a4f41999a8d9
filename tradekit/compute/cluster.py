"""Cells over a Ray cluster."""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING, Any

from tradekit.compute.store import code_hash
from tradekit.compute.work import Answer, Lost, one_line, settle_in, work
from tradekit.errors import ConfigError

if TYPE_CHECKING:
    from types import ModuleType

LOCAL = "local"
# Cells handed to Ray beyond those that its processors can take at once, so that none of them waits.
SPARE = 2
PATIENCE_SECONDS = 10.0


def _work(shared: Any, payload: bytes, code: str) -> Answer:
    if code != code_hash():
        raise ConfigError("another tradekit is installed there than here; install the same on every machine")
    settle_in()
    return work(shared, payload)


class Cluster:
    """A Ray cluster; the connection is closed with this object if this object opened it.

    Args:
        address: as ``ray.init`` takes it, or ``local`` for a cluster on this machine for the time of this run.
        shared: first argument of every call, or None; put into the cluster's object store once.
        retries: further tries of a cell whose worker or machine was lost.

    Raises:
        ConfigError: Ray is not installed, or no cluster answers.
    """

    def __init__(self, address: str, shared: Any, retries: int) -> None:
        self._ray, self._retries = _ray(), retries
        self._mine = not self._ray.is_initialized()
        if self._mine:
            _connect(self._ray, address)
        self._shared = self._ray.put(shared)
        self._call = self._ray.remote(num_cpus=1, max_retries=retries, retry_exceptions=False)(_work)
        self._running: dict[Any, str] = {}

    def free(self) -> bool:
        """Return whether more cells may be handed over."""
        return len(self._running) < int(self._ray.cluster_resources().get("CPU", 1)) + SPARE

    def submit(self, key: str, payload: bytes) -> None:
        """Hand a call over."""
        self._running[self._call.remote(self._shared, payload, code_hash())] = key

    def wait(self) -> list[tuple[str, Answer | Lost]]:
        """Return what ended."""
        ready, _ = self._ray.wait(list(self._running), num_returns=1)
        return [(self._running.pop(reference), self._answer(reference)) for reference in ready]

    def close(self) -> None:
        """Drop what is running, and disconnect."""
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._running.clear()
        if self._mine:
            self._ray.shutdown()

    def _answer(self, reference: Any) -> Answer | Lost:
        errors = self._ray.exceptions
        try:
            answer: Answer = self._ray.get(reference)
        except errors.RayTaskError as error:  # raised around the cell, not in it
            if isinstance(error.cause, ConfigError):
                raise error.cause from None
            return Lost(one_line(error.cause))
        except errors.RayError as error:
            return Lost(f"its worker was lost {self._retries + 1} times ({type(error).__name__})")
        return answer


def _ray() -> ModuleType:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # leave GPU settings as they are, and say nothing
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise ConfigError("--ray needs Ray, which is not installed; run: pip install 'tradekit[ray]'") from error
    module: ModuleType = ray
    return module


def _connect(ray: Any, address: str) -> None:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if host and port.isdigit():
            socket.create_connection((host, int(port)), PATIENCE_SECONDS).close()  # Ray itself would try for minutes
        ray.init(
            address=address,
            include_dashboard=False if address == LOCAL else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise ConfigError(
            f"no Ray cluster answers at {address!r} ({one_line(error)}); start one, or give local"
        ) from error
