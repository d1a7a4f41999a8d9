"""The bundle: a trained policy as files that are checked before anything in them is run.

A bundle is a folder of ``policy.ts`` (TorchScript: raw observation and mask to action and probabilities, normalisation
inside), ``weights.safetensors`` (actor and critic as trained) and ``bundle.json``, which says what the policy sees and
does, on which bars it was trained and selected, and the SHA-256 of the other files and of itself. The same network may
stand beside in another form, ``policy.onnx``; see ``tradekit.learn.export``. Digests find damage and mix-ups; they do
not prove who wrote a bundle. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.errors import BundleError, ConfigError, DeskError
from tradekit.learn import observations
from tradekit.learn.actions import NAMES, ActionScheme
from tradekit.learn.runtimes import RUNTIMES, TORCHSCRIPT, read, runtime_of
from tradekit.learn.supervised import SUPERVISED, WithProbabilities
from tradekit.market.features import FeatureSpec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from tradekit.learn.agent import Decide
    from tradekit.market.panel import Bools, Floats

FORMAT, VERSION = "tradekit-symbol-policy", 1
MANIFEST, POLICY, WEIGHTS = "bundle.json", RUNTIMES[TORCHSCRIPT].file, "weights.safetensors"
EXPORTS = "exports"
_KEYS = ("name", "actions", "observation", "recipe", "seed", "data", "versions", "metrics", "files")


@dataclass(frozen=True, eq=False, repr=False)
class Bundle:
    """A bundle whose digests were checked.

    Attributes:
        folder: where it was read.
        manifest: what ``bundle.json`` says.
        runtime: which of its policy files decides; a name of ``tradekit.learn.runtimes``.
        policy: the checked bytes of that file; they are read when the first decision is asked for.
    """

    folder: Path
    manifest: Mapping[str, Any]
    runtime: str
    policy: bytes

    def __repr__(self) -> str:
        data = self.data
        return f"Bundle({self.name}: {data['frequency']} bars of {data['source']}, trained to {data['seen_end'][:10]})"

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in ("folder", "manifest", "runtime", "policy")}

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
        """SHA-256 that identifies the policy: all that training wrote, and nothing that was exported from it later."""
        return str(self.manifest["digest"])

    @cached_property
    def features(self) -> FeatureSpec:
        """What the policy sees of the bars."""
        said = self.manifest["observation"]
        if SUPERVISED in said:
            return WithProbabilities.from_dict(said["features"], said[SUPERVISED])
        return FeatureSpec(tuple(said["features"]))

    @property
    def stacked_bars(self) -> int:
        """Of how many bars it sees the features at once."""
        return int(self.manifest["observation"].get("stacked_bars", 1))

    @cached_property
    def scheme(self) -> ActionScheme:
        """What its actions do."""
        return ActionScheme.from_dict(self.manifest["actions"]["scheme"])

    @cached_property
    def network(self) -> Decide:
        """What decides: the policy file, read.

        Raises:
            BundleError: what reads it is not installed, or cannot read it.
        """
        try:
            return read(self.policy, self.runtime)
        except RuntimeError as error:
            file, writer, reader, _, again = RUNTIMES[self.runtime]
            made = {**self.manifest["versions"], **self.exports.get("versions", {})}.get(writer, "unknown")
            raise BundleError(
                f"{self.folder / file}: this {reader} cannot read a policy written by {writer} {made}; {again}"
            ) from error

    @property
    def exports(self) -> Mapping[str, Any]:
        """The policy files that were exported later: digests, and versions of the packages that wrote them."""
        exports: Mapping[str, Any] = self.manifest.get(EXPORTS, {})
        return exports

    @property
    def files(self) -> dict[str, str]:
        """SHA-256 of each file, by its name."""
        return {**self.manifest["files"], **self.exports.get("files", {})}

    def decide(self, observation: Floats, mask: Bools) -> tuple[NDArray[np.int64], Floats]:
        """Return actions (B,) and probabilities (B, 7) for raw observations (B, D) and masks (B, 7)."""
        return self.network(observation, mask)


def read_bundle(path: Path, runtime: str = TORCHSCRIPT) -> Bundle:
    """Read the bundle at ``path``, a bundle folder or a policy's folder with ``bundle/`` in it.

    Every file is checked, whichever of them ``runtime`` runs.

    Raises:
        BundleError: a file is missing, was changed, or is of a format this version does not read; or ``runtime`` is not
            installed, or has no file here.
        ConfigError: there is no such runtime.
    """
    policy = runtime_of(runtime).file
    folder = path if (path / MANIFEST).exists() or not (path / "bundle").is_dir() else path / "bundle"
    bundle = Bundle(folder, _manifest(folder), runtime, b"")
    contents = contents_of(bundle)
    if POLICY not in contents:
        raise BundleError(f"{folder / MANIFEST}: names no {POLICY}; train the policy again")
    if policy not in contents:
        raise BundleError(f"{folder}: has no {policy}; write it with: tradekit export {folder} --format {runtime}")
    _check_meaning(bundle)
    return replace(bundle, policy=contents[policy])


def contents_of(bundle: Bundle) -> dict[str, bytes]:
    """Return the bytes of a bundle's files, ``bundle.json`` aside, by name.

    Raises:
        BundleError: a file is missing or was changed.
    """
    contents = {}
    for name, digest in bundle.files.items():
        contents[name] = _read(bundle.folder / name)
        if hashlib.sha256(contents[name]).hexdigest() != digest:
            raise BundleError(
                f"{bundle.folder / name}: its bytes are not those that {MANIFEST} names; "
                "restore the file or train again"
            )
    return contents


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
    exports = manifest.get(EXPORTS)
    if exports is not None and not (isinstance(exports, dict) and exports == sealed(manifest, exports)):
        raise BundleError(f"{file}: what it says of exports was changed; restore the file or train the policy again")
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
    replace_folder(folder, {**contents, MANIFEST: text_of(manifest)})
    return read_bundle(folder)


def text_of(manifest: Mapping[str, Any]) -> bytes:
    """Return the bytes of ``bundle.json``."""
    return (json.dumps(manifest, indent=1, allow_nan=False) + "\n").encode()


def sealed(manifest: Mapping[str, Any], exports: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a manifest says of ``exports``: files and versions, and a digest over them and the policy's own."""
    said = {key: exports.get(key) for key in ("files", "versions")}
    return {**said, "digest": _digest({"policy": manifest["digest"], **said})}


def copy_bundle(bundle: Bundle, folder: Path) -> Bundle:
    """Write a checked bundle to another folder, as ``write_bundle`` does."""
    replace_folder(folder, {**contents_of(bundle), MANIFEST: text_of(bundle.manifest)})
    return read_bundle(folder, bundle.runtime)


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
    """Return the SHA-256 of everything the manifest says, its own digest and exports aside."""
    said = {key: value for key, value in manifest.items() if key not in ("digest", EXPORTS)}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
