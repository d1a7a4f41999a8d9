"""Markets and books as tensors, and how a step finds its cells in them. See ``tradekit.learn.torch_step``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tradekit.market.kernel import Book, Market

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


class TorchMarket(NamedTuple):
    """``Market`` as tensors: shapes as there; the keys are int64 of the same bits."""

    reference: Tensor
    mark: Tensor
    volume: Tensor
    dollar_volume: Tensor
    volatility: Tensor
    time_key: Tensor
    symbol_key: Tensor
    sec_rate: Tensor
    taf_rate: Tensor
    taf_cap: Tensor
    nights: Tensor
    spread_multiple: Tensor


class TorchBook(NamedTuple):
    """``Book`` as tensors, field by field, without its queue; held, flags, column, scenario and stream are int64."""

    cash: Tensor
    equity: Tensor
    peak: Tensor
    shares: Tensor
    average_cost: Tensor
    held: Tensor
    due: Tensor
    asked: Tensor
    flags: Tensor
    carry: Tensor
    column: Tensor
    scenario: Tensor
    stream: Tensor


def to_torch(market: Market, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float64) -> TorchMarket:
    """Return the market of ``market_of`` as tensors on ``device``; numbers as ``dtype``."""
    return TorchMarket(*_tensors(market, device, dtype))


def book_to_torch(book: Book, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float64) -> TorchBook:
    """Return a copy of the book of ``open_book`` as tensors on ``device``; numbers as ``dtype``."""
    return TorchBook(*_tensors(book[:-1], device, dtype))


def book_to_numpy(book: TorchBook) -> Book:
    """Return a copy of the book as the kernel's arrays, to go on with there."""
    kinds = {True: np.float64, False: np.int64}
    arrays: list[Any] = [item.cpu().numpy().astype(kinds[item.is_floating_point()]) for item in book]
    queue: Any = np.zeros(tuple(book.shares.shape), np.int64)
    return Book(*[*arrays, queue])


def _tensors(arrays: Iterable[NDArray[Any]], device: torch.device | str, dtype: torch.dtype) -> list[Tensor]:
    """Copy arrays to ``device``, floats as ``dtype`` and integers as int64 of the same bits."""
    return [
        torch.tensor(array, dtype=dtype, device=device)
        if array.dtype.kind == "f"
        else torch.tensor(array.view(np.int64), device=device)
        for array in arrays
    ]


def columns_of(book: TorchBook) -> Tensor:
    """Return (B, n) market columns."""
    return book.column[:, None] + torch.arange(book.shares.shape[1], device=book.column.device)


def at(table: Tensor, cells: Tensor) -> Tensor:
    """Return (B, n) the cells, numbered row by row, of a (T, N) table."""
    return table.reshape(-1)[cells]


def mark_of(market: TorchMarket, book: TorchBook, bars: Tensor) -> Tensor:
    """Return (B, n) the last known closes at ``bars`` (B,), NaN before the first."""
    return at(market.mark, bars[:, None] * market.mark.shape[1] + columns_of(book))


def waiting(table: Tensor, slot: Tensor) -> Tensor:
    """Return the (B, n) entries of a (B, 1 + latency, n) table in the slots (B,)."""
    if table.shape[1] == 1:
        return table[:, 0]
    return table.gather(1, slot[:, None, None].expand(-1, 1, table.shape[2])).squeeze(1)


def put(table: Tensor, slot: Tensor, values: Tensor, where: Tensor | None) -> Tensor:
    """Return a (B, 1 + latency, n) table with ``values`` (B, n) in the slots (B,), only ``where`` (B, n) when given."""
    here = torch.arange(table.shape[1], device=table.device)[None, :, None] == slot[:, None, None]
    if where is not None:
        here = here & where[:, None]
    return torch.where(here, values[:, None].to(table.dtype), table)
