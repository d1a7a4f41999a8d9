"""The bundle: a trained policy as files that are checked before anything in them is run.

A bundle is a folder of ``policy.ts`` (TorchScript: raw observation and mask to action and probabilities, normalisation
inside), ``weights.safetensors`` (actor and critic as trained) and ``bundle.json``, which says what the policy sees and
does, on which bars it was trained and selected, and the SHA-256 of the other files and of itself. Digests find damage
and mix-ups; they do not prove who wrote a bundle. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.errors import BundleError, ConfigError, DeskError
from tradekit.learn import observations
from tradekit.learn.actions import NAMES, ActionScheme
from tradekit.market.features import FeatureSpec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from tradekit.learn.network import Network
    from tradekit.market.panel import Bools, Floats

FORMAT, VERSION = "tradekit-symbol-policy", 1
MANIFEST, POLICY, WEIGHTS = "bundle.json", "policy.ts", "weights.safetensors"
_KEYS = ("name", "actions", "observation", "recipe", "seed", "data", "versions", "metrics", "files")


@dataclass(frozen=True, eq=False, repr=False)
class Bundle:
    """A bundle whose digests were checked.

    Attributes:
        folder: where it was read.
        manifest: what ``bundle.json`` says.
        script: the checked bytes of ``policy.ts``; torch reads them when the first decision is asked for.
    """

    folder: Path
    manifest: Mapping[str, Any]
    script: bytes

    def __repr__(self) -> str:
        data = self.data
        return f"Bundle({self.name}: {data['frequency']} bars of {data['source']}, trained to {data['seen_end'][:10]})"

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in ("folder", "manifest", "script")}

    @property
    def name(self) -> str:
        """Of the policy."""
        return str(self.manifest["name"])

    @property
    def data(self) -> Mapping[str, Any]:
        """What it was trained on: source, symbols, dates, bars, hash, frequency, columns, benchmark, fill_at."""
        data: Mapping[str, Any] = self.manifest["data"]
        return data

    @property
    def seen_end(self) -> np.datetime64:
        """Open of the last bar that training or validation used."""
        return np.datetime64(self.data["seen_end"], "ns")

    @property
    def digest(self) -> str:
        """SHA-256 that identifies the bundle, its files included."""
        return str(self.manifest["digest"])

    @cached_property
    def features(self) -> FeatureSpec:
        """What the policy sees of the bars."""
        return FeatureSpec(tuple(self.manifest["observation"]["features"]))

    @property
    def stacked_bars(self) -> int:
        """Of how many bars it sees the features at once."""
        return int(self.manifest["observation"].get("stacked_bars", 1))

    @cached_property
    def scheme(self) -> ActionScheme:
        """What its actions do."""
        return ActionScheme.from_dict(self.manifest["actions"]["scheme"])

    @cached_property
    def network(self) -> Network:
        """The TorchScript module.

        Raises:
            BundleError: this torch cannot read it.
        """
        from tradekit.learn.network import from_torchscript

        try:
            return from_torchscript(self.script)
        except RuntimeError as error:
            made = self.manifest["versions"].get("torch", "unknown")
            raise BundleError(
                f"{self.folder / POLICY}: this torch cannot read a policy written by torch {made}; train it again"
            ) from error

    def decide(self, observation: Floats, mask: Bools) -> tuple[NDArray[np.int64], Floats]:
        """Return actions (B,) and probabilities (B, 7) for raw observations (B, D) and masks (B, 7)."""
        from tradekit.learn.network import ask

        return ask(self.network, observation, mask)


def read_bundle(path: Path) -> Bundle:
    """Read the bundle at ``path``, a bundle folder or a policy's folder with ``bundle/`` in it.

    Raises:
        BundleError: a file is missing, was changed, or is of a format this version does not read.
    """
    folder = path if (path / MANIFEST).exists() or not (path / "bundle").is_dir() else path / "bundle"
    manifest = _manifest(folder)
    contents = {}
    for name, digest in manifest["files"].items():
        contents[name] = _read(folder / name)
        if hashlib.sha256(contents[name]).hexdigest() != digest:
            raise BundleError(
                f"{folder / name}: its bytes are not those that {MANIFEST} names; restore the file or train again"
            )
    if POLICY not in contents:
        raise BundleError(f"{folder / MANIFEST}: names no {POLICY}; train the policy again")
    bundle = Bundle(folder, manifest, contents[POLICY])
    _check_meaning(bundle)
    return bundle


def _manifest(folder: Path) -> dict[str, Any]:
    file = folder / MANIFEST
    try:
        manifest = json.loads(_read(file))
    except ValueError as error:
        raise BundleError(f"{file}: not JSON; restore the file or train the policy again") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BundleError(f"{file}: not a {FORMAT} bundle; give the folder that `tradekit train` wrote")
    if manifest.get("version") != VERSION:
        raise BundleError(
            f"{file}: format version {manifest.get('version')}, and this tradekit reads {VERSION}; train again"
        )
    if manifest.get("digest") != _digest(manifest):
        raise BundleError(f"{file}: it was changed after training; restore the file or train the policy again")
    missing = [key for key in _KEYS if key not in manifest]
    if missing:
        raise BundleError(f"{file}: lacks {', '.join(missing)}; train the policy again")
    return manifest


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise BundleError(f"{file}: no such file; train the policy with `tradekit train`") from error
    except OSError as error:
        raise BundleError(f"{file}: cannot be read ({error.strerror}); mend the path or its permissions") from error


def _check_meaning(bundle: Bundle) -> None:
    """Raise BundleError when features or actions mean something else here than where the policy was trained."""
    file = bundle.folder / MANIFEST
    try:
        same = bundle.features.content_hash == bundle.manifest["observation"]["features_hash"]
        same &= tuple(bundle.manifest["observation"]["names"]) == observations.names(
            bundle.features, bundle.stacked_bars
        )
        same &= tuple(bundle.manifest["actions"]["names"]) == NAMES
        _ = bundle.scheme
    except ConfigError as error:
        raise BundleError(f"{file}: {error}; this tradekit lacks what the policy needs, train it again") from error
    if not same:
        raise BundleError(
            f"{file}: features or actions are computed differently by this tradekit; train the policy again"
        )


def write_bundle(folder: Path, manifest: dict[str, Any], policy: bytes, weights: bytes) -> Bundle:
    """Write a bundle to ``folder``, replacing what is there only when it is complete, and read it back.

    Raises:
        DeskError: the folder cannot be written.
    """
    contents = {POLICY: policy, WEIGHTS: weights}
    files = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    manifest = {"format": FORMAT, "version": VERSION, **manifest, "files": files}
    manifest["digest"] = _digest(manifest)
    text = json.dumps(manifest, indent=1, allow_nan=False) + "\n"
    replace_folder(folder, {**contents, MANIFEST: text.encode()})
    return read_bundle(folder)


def copy_bundle(bundle: Bundle, folder: Path) -> Bundle:
    """Write a checked bundle to another folder, as ``write_bundle`` does."""
    names = (*bundle.manifest["files"], MANIFEST)
    replace_folder(folder, {name: _read(bundle.folder / name) for name in names})
    return read_bundle(folder)


def replace_folder(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files to a new folder beside ``folder`` and put it in its place.

    Raises:
        DeskError: it cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent)
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        os.chmod(fresh, 0o755)  # noqa: PTH101 - mkdtemp answers a string
        for name, content in contents.items():
            with open(os.path.join(fresh, name), "wb") as file:  # noqa: PTH118, PTH123
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        if folder.exists():
            os.rename(folder, f"{fresh}-old")  # noqa: PTH104
        os.rename(fresh, folder)  # noqa: PTH104
    except OSError as error:
        raise cannot_write(folder, error) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(f"{fresh}-old", ignore_errors=True)


def cannot_write(folder: Path, error: OSError) -> DeskError:
    """Return the error for a folder that cannot be written."""
    return DeskError(f"{folder}: cannot write there ({error.strerror}); mend its permissions or give another folder")


def _digest(manifest: Mapping[str, Any]) -> str:
    """Return the SHA-256 of everything the manifest says, its own digest aside."""
    said = {key: value for key, value in manifest.items() if key != "digest"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
