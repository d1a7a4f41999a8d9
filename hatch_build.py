"""Put the shipped desk into the wheel as ``tradekit/desk/template``, and into the sdist where the checkout has it.

One allow-list in pyproject.toml serves both, so a wheel built from the sdist is the wheel built from the checkout,
and nothing a desk produces (results, journals, training runs) can slip in by being there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

TEMPLATE = "tradekit/desk/template"


class DeskTemplate(BuildHookInterface):  # type: ignore[type-arg]
    """Add the files that match the ``desk`` globs of the hook's table to the archive."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name each file and where it goes; an editable install reads the checkout and needs none."""
        if version == "editable":
            return
        root = Path(self.root)
        for file in desk_files(root, self.config["desk"]):
            here = file.relative_to(root).as_posix()
            there = f"{TEMPLATE}/{here}" if self.target_name == "wheel" else here
            build_data["force_include"][str(file)] = there


def desk_files(root: Path, globs: list[str]) -> list[Path]:
    """Return the files under root that match the globs, sorted."""
    return sorted({path for glob in globs for path in root.glob(glob) if path.is_file()})
