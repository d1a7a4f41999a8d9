"""Load strategies from files by path. A broken file is one line that names the file, the line and the mend."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from tradekit.errors import StrategyError, TradekitError, suggest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tradekit.desk.folder import Desk
    from tradekit.engine.strategy import AnyStrategy

FORMS = ("weights", "on_bar", "decide")


@dataclass(frozen=True)
class LoadedStrategy:
    """A strategy, the file it came from and the SHA-256 of the bytes that were run."""

    strategy: AnyStrategy
    path: Path
    file_hash: str


def load_strategies(desk: Desk, names: Sequence[str] | None = None) -> list[LoadedStrategy]:
    """Load the strategies called ``names``, or all of the desk in the order of their files.

    Raises:
        StrategyError: see ``load_file``; also two strategies of one name, or a desk without any.
    """
    loaded = [one for name in (strategy_names(desk) if names is None else names) for one in load_file(name, desk)]
    if not loaded:
        raise StrategyError(
            f"{desk.strategies}: no strategies; add a file there, or run: tradekit init --force {desk.root}"
        )
    first: dict[str, LoadedStrategy] = {}
    for one in loaded:
        other = first.setdefault(one.strategy.name, one)
        if other is not one:
            raise StrategyError(
                f"{desk.short(one.path)}: the name {one.strategy.name!r} is taken by {desk.short(other.path)}; "
                "give each strategy a name of its own"
            )
    return loaded


def strategy_names(desk: Desk) -> list[str]:
    """Return the names a desk's strategies are asked for by: the stems of strategies/*.py, sorted."""
    return sorted(path.stem for path in desk.strategies.glob("*.py") if not path.stem.startswith("_"))


def load_strategy(name: str | os.PathLike[str], desk: Desk) -> LoadedStrategy:
    """Load one strategy, as ``load_file`` does.

    Raises:
        StrategyError: see ``load_file``; also a file with several, none of which was chosen.
    """
    loaded = load_file(name, desk)
    if len(loaded) > 1:
        names = ", ".join(one.strategy.name for one in loaded)
        raise StrategyError(f"{name} has {len(loaded)} strategies; choose one, as {name}:NAME, of {names}")
    return loaded[0]


def load_file(name: str | os.PathLike[str], desk: Desk) -> list[LoadedStrategy]:
    """Load what a file defines: ``momentum`` of the desk's strategies/, or the path of any Python file.

    The file defines ``strategy``: an object with ``name``, ``fit`` and one of ``weights``, ``on_bar``, ``decide``, or a
    class or function without arguments that makes one, or a list of such objects. ``factor_regimes:regime_low_vol`` is
    the one of that name in a list. Relative paths inside the file count from the desk's root.

    Raises:
        StrategyError: no such file, or it cannot be compiled, fails while it runs, or defines no usable strategy.
        TradekitError: what the file itself raised, such as BundleError for a policy that was tampered with.
    """
    file, _, wanted = os.fspath(name).partition(":")
    path = _path_of(file, desk)
    shown = desk.short(path)
    try:
        source = path.read_bytes()
    except OSError as error:
        raise StrategyError(f"{shown}: cannot be read ({error.strerror}); check the path") from error
    module = _run(source, path, shown, desk)
    digest = hashlib.sha256(source).hexdigest()
    loaded = [LoadedStrategy(one, path, digest) for one in _strategies_of(module, path, shown)]
    if not wanted:
        return loaded
    names = [one.strategy.name for one in loaded]
    if wanted not in names:
        raise StrategyError(f"{shown}: no strategy {wanted!r} in it; {suggest(wanted, names)}")
    return [loaded[names.index(wanted)]]


def _path_of(name: str, desk: Desk) -> Path:
    if name.endswith(".py") or os.sep in name:
        path = Path(name).resolve()
        if not path.is_file():
            raise StrategyError(f"{name}: no such strategy file; check the path")
        return path
    path = desk.strategies / f"{name}.py"
    if not path.is_file():
        raise StrategyError(f"no strategy {name!r} in {desk.strategies}; {suggest(name, strategy_names(desk))}")
    return path


def _run(source: bytes, path: Path, shown: str, desk: Desk) -> ModuleType:
    """Run the file as a module of its own. Nothing is cached: the bytes that run are the bytes that are hashed."""
    module = ModuleType(f"tradekit_strategy_{hashlib.sha256(os.fsencode(path)).hexdigest()[:12]}_{path.stem}")
    module.__file__ = os.fspath(path)
    sys.modules[module.__name__] = module  # dataclasses and pickle look a class's module up by name
    try:
        code = compile(source, os.fspath(path), "exec", dont_inherit=True)
        with contextlib.chdir(desk.root):
            exec(code, module.__dict__)
    except SyntaxError as error:
        line = f":{error.lineno}" if error.filename == os.fspath(path) else ""
        raise StrategyError(f"{shown}{line}: syntax error: {error.msg}; correct that line") from error
    except TradekitError:
        raise
    except ImportError as error:
        raise StrategyError(
            f"{shown}:{_line(error, path)}: {_one_line(error)}; install the package or correct the import"
        ) from error
    except (Exception, SystemExit) as error:
        raise StrategyError(
            f"{shown}:{_line(error, path)}: {type(error).__name__} while the file was loaded: {_one_line(error)}"
        ) from error
    return module


def _line(error: BaseException, path: Path) -> int:
    """Return the line of the strategy file that was running when ``error`` was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno or 0 for frame in reversed(frames) if frame.filename == os.fspath(path)), 0)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or "no message"


def _strategies_of(module: ModuleType, path: Path, shown: str) -> list[AnyStrategy]:
    if not hasattr(module, "strategy"):
        raise StrategyError(f"{shown}: defines no strategy; end the file with a line such as: strategy = MyStrategy()")
    made: Any = module.strategy
    if not isinstance(made, list | tuple):
        return [_strategy_of(made, path, shown)]
    if not made:
        raise StrategyError(f"{shown}: strategy is an empty list; put a strategy in it")
    return [_strategy_of(one, path, shown) for one in made]


def _strategy_of(made: Any, path: Path, shown: str) -> AnyStrategy:
    if isinstance(made, type) or (callable(made) and not hasattr(made, "name")):
        try:
            made = made()
        except TradekitError:
            raise
        except Exception as error:
            raise StrategyError(
                f"{shown}:{_line(error, path)}: {type(error).__name__} while strategy() was called: {_one_line(error)}"
            ) from error
    _check(made, shown)
    return cast("AnyStrategy", made)


def _check(made: Any, shown: str) -> None:
    if not isinstance(getattr(made, "name", None), str) or not made.name:
        raise StrategyError(f'{shown}: strategy is {_kind(made)} without a name; give it name = "...", fit and weights')
    if not callable(getattr(made, "fit", None)):
        raise StrategyError(f"{shown}: {made.name} has no method fit; add one that returns self if nothing is learnt")
    forms = [form for form in FORMS if callable(getattr(made, form, None))]
    if len(forms) != 1:
        has = " and ".join(forms) or "none of them"
        raise StrategyError(f"{shown}: {made.name} needs exactly one method of {', '.join(FORMS)}; it has {has}")


def _kind(made: Any) -> str:
    return "None" if made is None else f"of type {type(made).__name__}"
