"""The forms in which a trained network is written, and what runs each: TorchScript by torch, ONNX by onnxruntime."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from tradekit.errors import BundleError, ConfigError, suggest

if TYPE_CHECKING:
    from tradekit.learn.agent import Decide
    from tradekit.learn.network import FrozenPolicy

TORCHSCRIPT, ONNX = "torchscript", "onnx"


class Runtime(NamedTuple):
    """What one form needs.

    Attributes:
        file: its name in a bundle.
        writer, reader: the packages that write and run it.
        extra: of tradekit that brings them; "" where they are always there.
        again: how a user has the file written anew.
    """

    file: str
    writer: str
    reader: str
    extra: str
    again: str


RUNTIMES = {
    TORCHSCRIPT: Runtime("policy.ts", "torch", "torch", "", "train it again"),
    ONNX: Runtime("policy.onnx", "onnx", "onnxruntime", "onnx", "export it again"),
}


def runtime_of(name: str) -> Runtime:
    """Return what the runtime called ``name`` needs.

    Raises:
        ConfigError: there is none of that name.
        BundleError: its packages are not installed.
    """
    if name not in RUNTIMES:
        raise ConfigError(f"unknown runtime {name!r} of a policy; {suggest(name, RUNTIMES)}")
    runtime = RUNTIMES[name]
    missing = [package for package in dict.fromkeys((runtime.writer, runtime.reader)) if find_spec(package) is None]
    if missing:
        wanted = f"'tradekit[{runtime.extra}]'" if runtime.extra else "tradekit"
        raise BundleError(
            f"{runtime.file} needs {' and '.join(missing)}, not installed here; install with: pip install {wanted}"
        )
    return runtime


def write(policy: FrozenPolicy, name: str) -> bytes:
    """Return ``policy`` in the form called ``name``; the same policy and versions give the same bytes.

    Raises:
        ConfigError, BundleError: see ``runtime_of``.
    """
    runtime_of(name)
    if name == ONNX:
        from tradekit.learn.onnx_policy import to_onnx

        return to_onnx(policy)
    from tradekit.learn.network import to_torchscript

    return to_torchscript(policy)


def read(content: bytes, name: str) -> Decide:
    """Return what decides by the bytes of a file: see ``Bundle.decide``.

    Nothing is unpickled. Only give it bytes whose digest was checked.

    Raises:
        ConfigError, BundleError: see ``runtime_of``.
        RuntimeError: the bytes are not of that form, or of a version that is not read here.
    """
    runtime_of(name)
    if name == ONNX:
        from tradekit.learn.onnx_policy import from_onnx

        return from_onnx(content)
    from tradekit.learn.network import ask, from_torchscript

    return partial(ask, from_torchscript(content))
