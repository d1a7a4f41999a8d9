"""``python -m tradekit`` is the ``tradekit`` command."""

from __future__ import annotations

from tradekit.cli import main

if __name__ == "__main__":
    main()
