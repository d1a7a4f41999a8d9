"""A trained policy in another form: the same network, written beside the first and held to the same decisions."""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tradekit.errors import BundleError
from tradekit.learn.actions import ACTIONS, HOLD
from tradekit.learn.bundle import (
    EXPORTS,
    MANIFEST,
    WEIGHTS,
    Bundle,
    contents_of,
    read_bundle,
    replace_folder,
    sealed,
    text_of,
)
from tradekit.learn.observations import Normalisation
from tradekit.learn.runtimes import RUNTIMES, read, runtime_of, write

if TYPE_CHECKING:
    from tradekit.learn.agent import Decide
    from tradekit.learn.network import FrozenPolicy

COMPARED = 10_000
"""Decisions that a new file must share with the old one before it is kept."""
TOLERANCE = 1e-12
"""How far probabilities may differ: two libraries add up the same products in another order."""


class Exported(NamedTuple):
    """A bundle with a policy file more, run by it, and the largest difference of a probability."""

    bundle: Bundle
    largest_difference: float


def export(bundle: Bundle, runtime: str) -> Exported:
    """Write the policy of a checked bundle in the form that ``runtime`` runs, into the bundle's own folder.

    It is written from ``weights.safetensors``, compared with the file that decides now, and named in ``bundle.json``.
    What training wrote keeps its bytes and its digest: it is the same policy.

    Raises:
        BundleError: the runtime is not installed, a file was changed, or the new file would decide otherwise.
        ConfigError: there is no such runtime.
        DeskError: the folder cannot be written.
    """
    form = runtime_of(runtime)
    contents = contents_of(bundle)
    policy = _policy(bundle, contents[WEIGHTS])
    content = write(policy, runtime)
    difference = _difference(bundle, read(content, runtime), form.file)
    exports = {
        "files": {**bundle.exports.get("files", {}), form.file: hashlib.sha256(content).hexdigest()},
        "versions": {**bundle.exports.get("versions", {}), form.writer: version(form.writer)},
    }
    manifest = {**bundle.manifest, EXPORTS: sealed(bundle.manifest, exports)}
    replace_folder(bundle.folder, {**contents, form.file: content, MANIFEST: text_of(manifest)})
    return Exported(read_bundle(bundle.folder, runtime), difference)


def _policy(bundle: Bundle, weights: bytes) -> FrozenPolicy:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    from tradekit.learn.network import refrozen

    try:
        return refrozen(load(weights), _normalisation(bundle))
    except (KeyError, SafetensorError) as error:
        raise BundleError(
            f"{bundle.folder / WEIGHTS}: not the weights of a policy ({error}); train it again"
        ) from error


def _normalisation(bundle: Bundle) -> Normalisation:
    said = bundle.manifest["observation"]["normalisation"]
    return Normalisation(np.array(said["mean"]), np.array(said["scale"]), float(said["clip"]))


def _difference(bundle: Bundle, decide: Decide, file: str) -> float:
    """Return the largest difference of a probability between a new file and the one that decides now.

    Observations are drawn three times as wide as the training's, some entries missing; masks at random, HOLD allowed.

    Raises:
        BundleError: they choose another action somewhere, or a probability differs by more than ``TOLERANCE``.
    """
    rng, usual = np.random.default_rng(0), _normalisation(bundle)
    raw = usual.mean + 3.0 * usual.scale * rng.normal(size=(COMPARED, len(usual.mean)))
    raw[rng.random(raw.shape) < 0.01] = np.nan
    mask = rng.random((COMPARED, ACTIONS)) < 0.6
    mask[:, HOLD] = True
    (before, shares), (after, others) = bundle.decide(raw, mask), decide(raw, mask)
    difference = float(np.abs(shares - others).max())
    wrong = int((before != after).sum())
    if wrong or not difference <= TOLERANCE:
        raise BundleError(
            f"{bundle.folder}: {file} would choose another action than {RUNTIMES[bundle.runtime].file} {wrong} "
            f"times in {COMPARED:,}, probabilities differing by up to {difference:.1e}; "
            "nothing was written, train it again"
        )
    return difference
