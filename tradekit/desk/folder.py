"""A desk: the folder that holds strategies/, policies/, backtests/ and paper/, topped by ``tradekit.toml``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tradekit.desk.toml import read_toml, reject_unknown
from tradekit.errors import ConfigError, DeskError

MARKER = "tradekit.toml"


@dataclass(frozen=True)
class Desk:
    """The folders of one desk.

    Attributes:
        root: absolute path of the folder that holds ``tradekit.toml``.
        data: the source of bars that a command takes when it names none and reads no spec.
    """

    root: Path
    data: str = "sample"

    @property
    def strategies(self) -> Path:
        """One file per strategy."""
        return self.root / "strategies"

    @property
    def policies(self) -> Path:
        """One folder per policy: its recipe and its bundle."""
        return self.root / "policies"

    @property
    def backtests(self) -> Path:
        """Walk-forward and stress specs."""
        return self.root / "backtests"

    @property
    def results(self) -> Path:
        """Run folders that backtests wrote."""
        return self.backtests / "results"

    @property
    def cells(self) -> Path:
        """Finished work of runs, kept to be taken up again."""
        return self.results / ".cells"

    @property
    def registry(self) -> Path:
        """Every run and trial of the desk."""
        return self.root / "registry.sqlite"

    @property
    def paper(self) -> Path:
        """Paper session specs."""
        return self.root / "paper"

    @property
    def journals(self) -> Path:
        """Journals that paper sessions wrote."""
        return self.paper / "journals"

    def short(self, path: Path) -> str:
        """Return ``path`` from the desk's root where it lies inside, else as it is."""
        return os.fspath(path.relative_to(self.root) if path.is_relative_to(self.root) else path)


def find_desk(start: Path | None = None) -> Desk:
    """Return the desk that ``start`` (default: the working folder) lies in, looking upwards as git does.

    Raises:
        DeskError: no folder on the way up holds ``tradekit.toml``.
        ConfigError: ``tradekit.toml`` has an unknown key or a wrong value.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / MARKER).is_file():
            return _open(folder)
    raise DeskError(f"no desk here: neither {here} nor a folder above it holds {MARKER}; run: tradekit init DIR")


def _open(root: Path) -> Desk:
    marker = root / MARKER
    settings = read_toml(marker)
    reject_unknown(settings, {"defaults"}, MARKER, "table")
    defaults = settings.get("defaults", {})
    if not isinstance(defaults, dict):
        raise ConfigError(f"{marker}: defaults is not a table; write [defaults] on a line of its own")
    reject_unknown(defaults, {"data"}, f"{marker}: [defaults]")
    data = defaults.get("data", "sample")
    if not isinstance(data, str) or not data:
        raise ConfigError(f'{marker}: [defaults] data is {data!r}; name a source, as data = "sample"')
    return Desk(root, data)


def make_folder(folder: Path) -> Path:
    """Return ``folder``, made with its parents where missing and proven writable.

    Raises:
        DeskError: it cannot be made or written; the message says why and what to do.
    """
    probe = folder / ".tradekit-probe"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except (FileExistsError, NotADirectoryError) as error:
        blocker = next(path for path in (folder, *folder.parents) if path.is_file())
        raise DeskError(f"{folder}: cannot write there, {blocker} is a file; give another folder") from error
    except OSError as error:
        raise DeskError(
            f"{folder}: cannot write there ({error.strerror}); mend its permissions or give another folder"
        ) from error
    return folder
