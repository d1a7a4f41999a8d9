"""Write a fresh desk from the template: inside an installed package, or the checkout itself."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

from tradekit.desk.folder import MARKER, make_folder
from tradekit.errors import DeskError

# What commands produce; none of it belongs into version control.
IGNORED = ("backtests/results/", "paper/journals/", "policies/*/runs/", "registry.sqlite*", "__pycache__/")


def init_desk(target: Path, *, force: bool = False) -> list[Path]:
    """Write a desk into ``target`` and return the files written, from ``target``.

    A file that is already there is never touched.

    Args:
        target: the folder, made when missing.
        force: fill up a folder that holds something already.

    Raises:
        DeskError: the folder holds something and ``force`` is not set, or it cannot be written.
    """
    if target.is_dir() and any(target.iterdir()) and not force:
        raise DeskError(f"{target}: not empty; give a new folder, or --force to add only the files that are missing")
    make_folder(target)
    written = []
    for source, place in sorted(template().items(), key=lambda item: item[1]):
        if _write(target / place, source):
            written.append(place)
    ignore = target / ".gitignore"
    if not ignore.exists():
        ignore.write_text("# What tradekit's commands produce.\n" + "".join(f"{line}\n" for line in IGNORED))
        written.append(Path(".gitignore"))
    return written


def template() -> dict[Path, Path]:
    """Return the template's files and where each goes in a desk.

    Raises:
        DeskError: the installed package holds no template.
    """
    package = Path(__file__).parent.parent
    shipped, checkout = package / "desk" / "template", package.parent
    if shipped.is_dir():
        # Installers byte-compile what they unpack; that is not template.
        files = (path for path in shipped.rglob("*") if path.is_file() and path.parent.name != "__pycache__")
        return {path: path.relative_to(shipped) for path in files}
    if not (checkout / "pyproject.toml").is_file() or not (checkout / MARKER).is_file():
        raise DeskError(f"{shipped}: the desk template is missing; install tradekit again")
    # The checkout is a desk; the list by which the wheel is built says what of it is template.
    build = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    globs = build["hooks"]["custom"]["desk"]
    return {path: path.relative_to(checkout) for glob in globs for path in checkout.glob(glob) if path.is_file()}


def _write(place: Path, source: Path) -> bool:
    if place.exists():
        return False
    make_folder(place.parent)
    shutil.copyfile(source, place)
    return True
