"""What a strategy remembers between bars, as text and back, so that a restarted session need not ask it again.

Numbers, text, arrays, generators, and lists, dicts and plain objects of those. Nothing is ever unpickled: objects are
filled in on top of the fresh memory that the strategy's own ``start`` makes.

All of it is written at every bar, but for the lists that a class names in ``GROWS``. Of those only what was appended is
written: a diary costs a bar the same on the first day and after years.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tradekit.errors import SessionError

if TYPE_CHECKING:
    from collections.abc import Iterable


class Appended(NamedTuple):
    """One item of a list that only grows: the list's name, the item's number in it from 0, and its text."""

    name: str
    number: int
    text: str


class Keeper:
    """Writes down what one strategy remembers, bar after bar.

    A class of memory may name attributes in ``GROWS``: lists to which items are only appended, and these never change.
    """

    def __init__(self) -> None:
        self._kept: dict[str, tuple[int, str]] = {}  # by list: its length, and a hash over its items one by one

    def freeze(self, memory: Any) -> tuple[str, list[Appended]]:
        """Return ``memory`` as text, and what was appended to its lists since the last time.

        Raises:
            SessionError: it holds something that cannot be written down, or a list has become shorter.
        """
        added = [one for name in _growing(memory) for one in self._new(name, getattr(memory, name))]
        return _dump(_freeze(memory, {name: {"grown": self._kept[name]} for name in _growing(memory)})), added

    def thaw(self, text: str, items: Iterable[Appended], fresh: Any) -> Any:
        """Return the memory that ``text`` and the ``items`` of its lists hold; see the function of this name.

        Raises:
            SessionError: the items are not those that were written.
        """
        lists: dict[str, list[Any]] = {name: [] for name in _growing(fresh)}
        self._kept = dict.fromkeys(lists, (0, ""))
        for name, number, item in items:
            if name not in lists or number != len(lists[name]):
                raise SessionError(f"what the strategy remembers as {name} has an item {number} too many or too few")
            lists[name].append(_thaw(json.loads(item), None))
            self._keep(name, item)
        body = json.loads(text)
        for name, kept in self._kept.items():
            if body["object"].pop(name)["grown"] != list(kept):
                raise SessionError(f"what the strategy remembers as {name} was damaged or edited")
        memory = _thaw(body, fresh)
        for name, values in lists.items():
            object.__setattr__(memory, name, values)
        return memory

    def _new(self, name: str, values: list[Any]) -> list[Appended]:
        known, _ = self._kept.setdefault(name, (0, ""))
        if len(values) < known:
            raise SessionError(f"the strategy took items from {name}, which its GROWS says only grows")
        added = [Appended(name, known + k, _dump(_freeze(value))) for k, value in enumerate(values[known:])]
        for one in added:
            self._keep(name, one.text)
        return added

    def _keep(self, name: str, text: str) -> None:
        count, digest = self._kept[name]
        self._kept[name] = count + 1, hashlib.sha256(f"{digest}{text}".encode()).hexdigest()


def _growing(memory: Any) -> tuple[str, ...]:
    return tuple(getattr(type(memory), "GROWS", ()))


def freeze(memory: Any) -> str:
    """Return ``memory`` as text.

    Raises:
        SessionError: it holds something that cannot be written down.
    """
    return _dump(_freeze(memory))


def thaw(text: str, fresh: Any) -> Any:
    """Return the memory that ``text`` holds; ``fresh`` is what ``start`` answers, for the types of its objects."""
    return _thaw(json.loads(text), fresh)


def _dump(body: Any) -> str:
    return json.dumps(body, separators=(",", ":"))


def _freeze(value: Any, instead: dict[str, Any] | None = None) -> Any:
    """Return ``value`` as JSON knows it; ``instead`` has what stands for attributes of it, as an object."""
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
        given = instead or {}
        return {"object": {k: given[k] if k in given else _freeze(item) for k, item in vars(value).items()}}
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
