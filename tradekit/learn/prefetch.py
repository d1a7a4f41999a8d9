"""A hint to the processor to fetch memory that will be read soon, for kernels that jump between far rows of a table."""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir  # type: ignore[import-untyped] # it has no type information
from numba.core import cgutils, config
from numba.extending import intrinsic

from tradekit.learn.jit import inlined

_TO_READ, _IN_EVERY_CACHE, _DATA = 0, 3, 1


def _prefetch(typing: Any, table: Any, cell: Any) -> tuple[Any, Any]:
    """Return signature and code of the call ``llvm.prefetch``; see LLVM's language reference."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.bitcast(builder.gep(array.data, [arguments[1]]), cgutils.voidptr_t)
        number = ir.IntType(32)
        hint = ir.FunctionType(ir.VoidType(), [place.type, number, number, number])
        call = cgutils.get_or_insert_function(builder.module, hint, "llvm.prefetch.p0")  # type: ignore[no-untyped-call]
        builder.call(call, [place, number(_TO_READ), number(_IN_EVERY_CACHE), number(_DATA)])
        return context.get_dummy_value()

    return numba.void(table, cell), generate


_hint: Any = (lambda table, cell: None) if config.DISABLE_JIT else intrinsic(_prefetch)  # type: ignore[attr-defined] # numba is untyped


@inlined
def fetch_ahead(table: Any, cell: int) -> None:
    """Have the processor fetch number ``cell``, counted row by row, of a contiguous ``table``; nothing changes.

    There need be no such cell: a hint cannot fail.
    """
    _hint(table, cell)
