"""What a strategy remembers between bars, as text and back, so that a restarted session need not ask it again.

Numbers, text, arrays, generators, and lists, dicts and plain objects of those. Nothing is ever unpickled: objects are
filled in on top of the fresh memory that the strategy's own ``start`` makes.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import math
from typing import Any

import numpy as np

from tradekit.errors import SessionError


def freeze(memory: Any) -> str:
    """Return ``memory`` as text.

    Raises:
        SessionError: it holds something that cannot be written down.
    """
    return json.dumps(_freeze(memory), separators=(",", ":"))


def thaw(text: str, fresh: Any) -> Any:
    """Return the memory that ``text`` holds; ``fresh`` is what ``start`` answers, for the types of its objects."""
    return _thaw(json.loads(text), fresh)


def _freeze(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, np.generic):  # before float, which numpy's float64 is too
        return {"scalar": _freeze(np.asarray(value))}
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufMmSU":
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {"array": [value.dtype.str, list(value.shape), data]}
    if isinstance(value, np.random.Generator):
        return {"generator": _freeze(value.bit_generator.state)}
    if isinstance(value, list | tuple):
        return {"list" if isinstance(value, list) else "tuple": [_freeze(item) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[_freeze(key), _freeze(item)] for key, item in value.items()]}
    if _is_plain(value):
        return {"object": {name: _freeze(item) for name, item in vars(value).items()}}
    raise SessionError(
        f"the strategy remembers a {type(value).__name__}, which a journal cannot hold; keep arrays, numbers or text"
    )


def _is_plain(value: Any) -> bool:
    """Whether an object is its ``__dict__`` and nothing else. A tensor has one too, but keeps its numbers elsewhere."""
    own = type(value).__bases__ == (object,) or dataclasses.is_dataclass(value)
    return own and hasattr(value, "__dict__") and not callable(value) and not hasattr(value, "__slots__")


def _thaw(value: Any, fresh: Any) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, body),) = value.items()
    if kind == "float":
        return float(body)
    if kind == "scalar":
        return _thaw(body, None)[()]
    if kind == "array":
        dtype, shape, data = body
        return np.frombuffer(base64.b64decode(data), dtype).reshape(shape).copy()
    if kind == "generator":
        generator = np.random.default_rng() if fresh is None else fresh
        generator.bit_generator.state = _thaw(body, None)
        return generator
    if kind in ("list", "tuple"):
        return _thaw_sequence(kind, body, fresh)
    if kind == "dict":
        known = fresh if isinstance(fresh, dict) else {}
        return {key: _thaw(item, known.get(key)) for key, item in ((_thaw(k, None), i) for k, i in body)}
    for name, item in body.items():
        object.__setattr__(fresh, name, _thaw(item, getattr(fresh, name, None)))
    return fresh


def _thaw_sequence(kind: str, body: list[Any], fresh: Any) -> Any:
    known = fresh if isinstance(fresh, list | tuple) and len(fresh) == len(body) else [None] * len(body)
    items = [_thaw(item, old) for item, old in zip(body, known, strict=True)]
    if kind == "list":
        return items
    return type(fresh)(*items) if hasattr(type(fresh), "_fields") else tuple(items)
