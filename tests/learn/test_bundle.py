"""Bundles: what is refused, and that what is loaded decides as what was saved."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from tests.learn.conftest import observations, quick, random_logits, untrained
from tradekit.errors import BundleError, DeskError
from tradekit.learn.actions import HOLD
from tradekit.learn.bundle import MANIFEST, POLICY, WEIGHTS, Bundle, _digest, copy_bundle, read_bundle
from tradekit.learn.export import export
from tradekit.learn.network import TIE, FrozenPolicy, ask, from_torchscript, to_torchscript
from tradekit.learn.observations import Normalisation
from tradekit.learn.runtimes import ONNX, RUNTIMES, read, write

if TYPE_CHECKING:
    from tradekit.market.panel import Panel


@pytest.fixture
def copy(bundle: Bundle, tmp_path: Path) -> Path:
    """Return a copy of the bundle that a test may spoil."""
    folder = tmp_path / "mine" / "bundle"
    shutil.copytree(bundle.folder, folder)
    return folder


def rewrite(folder: Path, *, sign: bool, **changed: Any) -> None:
    """Change the manifest; ``sign`` makes its digest fit again."""
    manifest = json.loads((folder / MANIFEST).read_text()) | changed
    if sign:
        manifest["digest"] = _digest(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def refusal(folder: Path) -> str:
    with pytest.raises(BundleError) as caught:
        read_bundle(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", [POLICY, WEIGHTS])
def test_a_changed_file_is_refused(copy: Path, name: str) -> None:
    (copy / name).write_bytes((copy / name).read_bytes() + b"x")
    assert refusal(copy) == (
        f"{copy / name}: its bytes are not those that bundle.json names; restore the file or train again"
    )


@pytest.mark.parametrize("name", [POLICY, WEIGHTS, MANIFEST])
def test_a_missing_file_is_refused(copy: Path, name: str) -> None:
    (copy / name).unlink()
    assert refusal(copy) == f"{copy / name}: no such file; train the policy with `tradekit train`"


def test_a_changed_manifest_is_refused(copy: Path) -> None:
    rewrite(copy, sign=False, seed=7)
    assert refusal(copy).startswith(f"{copy / MANIFEST}: it was changed after training")


def test_another_version_is_refused(copy: Path) -> None:
    rewrite(copy, sign=True, version=2)
    assert refusal(copy) == f"{copy / MANIFEST}: format version 2, and this tradekit reads 1; train again"


def test_what_is_no_bundle_is_refused(copy: Path, tmp_path: Path) -> None:
    rewrite(copy, sign=True, format="something-else")
    assert refusal(copy).startswith(f"{copy / MANIFEST}: not a tradekit-symbol-policy bundle")
    (copy / MANIFEST).write_text("{")
    assert refusal(copy).startswith(f"{copy / MANIFEST}: not JSON")
    assert refusal(tmp_path / "nowhere").startswith(f"{tmp_path / 'nowhere' / MANIFEST}: no such file")


def test_a_manifest_that_lacks_what_is_needed_is_refused(copy: Path) -> None:
    manifest = json.loads((copy / MANIFEST).read_text())
    del manifest["data"]
    manifest["digest"] = _digest(manifest)
    (copy / MANIFEST).write_text(json.dumps(manifest))
    assert refusal(copy) == f"{copy / MANIFEST}: lacks data; train the policy again"


def test_features_that_mean_something_else_are_refused(copy: Path, bundle: Bundle) -> None:
    observation = dict(bundle.manifest["observation"])
    rewrite(copy, sign=True, observation=observation | {"features_hash": "0" * 64})
    assert refusal(copy).startswith(f"{copy / MANIFEST}: features or actions are computed differently")
    rewrite(copy, sign=True, observation=observation | {"features": ["return_1", "return_of_the_king"]})
    assert refusal(copy).startswith(f"{copy / MANIFEST}: unknown feature 'return_of_the_king'")


def test_a_policy_that_torch_cannot_read_is_refused(copy: Path) -> None:
    import hashlib

    (copy / POLICY).write_bytes(b"not torchscript")
    files = json.loads((copy / MANIFEST).read_text())["files"]
    rewrite(copy, sign=True, files=files | {POLICY: hashlib.sha256(b"not torchscript").hexdigest()})
    loaded = read_bundle(copy)
    with pytest.raises(BundleError, match="this torch cannot read a policy"):
        _ = loaded.network


def test_nothing_is_run_before_the_digests_are_checked(copy: Path) -> None:
    """A pickle in place of the policy is never opened, and torch is not even imported."""

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (exit, (17,))

    (copy / POLICY).write_bytes(pickle.dumps(Bomb()))
    code = (
        "import sys; from pathlib import Path; from tradekit.errors import BundleError\n"
        "from tradekit.learn.policy import PolicyStrategy\n"
        f"try: PolicyStrategy.load({str(copy)!r})\n"
        "except BundleError: print('refused', 'torch' in sys.modules)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "refused False\n"


def test_a_policy_folder_stands_for_its_bundle(copy: Path) -> None:
    assert read_bundle(copy.parent).folder == copy


def test_a_copy_is_the_same_bundle_and_replaces_what_was_there(bundle: Bundle, copy: Path, panel: Panel) -> None:
    other = untrained(quick(), panel, copy, seed=1)
    assert other.digest != bundle.digest
    assert copy_bundle(bundle, copy).digest == bundle.digest
    assert sorted(path.name for path in copy.parent.iterdir()) == ["bundle"]


def test_an_unwritable_folder_is_one_line(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DeskError) as caught:
        copy_bundle(bundle, tmp_path / "file" / "bundle")
    assert str(caught.value).startswith(f"{tmp_path / 'file' / 'bundle'}: cannot write there (")


@pytest.fixture(params=RUNTIMES)
def either(request: pytest.FixtureRequest, bundle: Bundle, tmp_path: Path) -> Bundle:
    """Return the bundle, run from each of its policy files."""
    shutil.copytree(bundle.folder, tmp_path / "either")
    return export(read_bundle(tmp_path / "either"), ONNX).bundle if request.param == ONNX else bundle


def test_decisions_survive_saving(either: Bundle) -> None:
    """The oracle is the formula in numpy, from the weights that were saved."""
    bundle = either
    raw, mask = observations(bundle, 400)
    raw[::7, 0] = np.nan
    action, probabilities = bundle.decide(raw, mask)
    first, _, second = random_logits(raw.shape[1])
    said = bundle.manifest["observation"]["normalisation"]
    seen = (raw - np.array(said["mean"])) / np.array(said["scale"])
    seen = np.clip(np.where(np.isfinite(raw), seen, 0.0), -10.0, 10.0)
    hidden = np.tanh(seen @ array(first.weight).T + array(first.bias))
    logits = np.where(mask, hidden @ array(second.weight).T + array(second.bias), -np.inf)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    assert np.array_equal(action, logits.argmax(axis=1))
    assert probabilities == pytest.approx(shares / shares.sum(axis=1, keepdims=True), abs=1e-12)
    assert mask[np.arange(400), action].all()
    assert len(set(action.tolist())) > 3


def array(parameter: Any) -> np.ndarray[Any, Any]:
    numbers: np.ndarray[Any, Any] = parameter.detach().double().numpy()
    return numbers


def test_a_decision_does_not_depend_on_its_batch(either: Bundle) -> None:
    bundle = either
    raw, mask = observations(bundle, 300, seed=2)
    whole, probabilities = bundle.decide(raw, mask)
    rng = np.random.default_rng(3)
    for size in (1, 2, 3, 17, 64, 299):
        rows = rng.choice(300, size, replace=False)
        action, part = bundle.decide(raw[rows], mask[rows])
        assert np.array_equal(action, whole[rows])
        assert part == pytest.approx(probabilities[rows], abs=1e-12)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(("gap", "expected"), [(0.5 * TIE, 2), (2.0 * TIE, 5)])
def test_ties_take_the_lowest_action(gap: float, expected: int, runtime: str) -> None:
    head = torch.nn.Linear(1, 7).double()
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(torch.tensor([0.0, 0.0, 1.0, 0.5, 0.0, 1.0 + gap, 3.0], dtype=torch.float64))
    policy = FrozenPolicy(head, Normalisation(np.zeros(1), np.ones(1)))
    mask = np.array([[True] * 6 + [False]])
    action, probabilities = read(write(policy, runtime), runtime)(np.zeros((1, 1)), mask)
    assert action.tolist() == [expected]
    assert probabilities[0, 6] == 0.0


def test_the_policy_does_not_say_where_it_was_made(bundle: Bundle) -> None:
    with zipfile.ZipFile(io.BytesIO(bundle.policy)) as archive:
        contents = b"".join(archive.read(name) for name in archive.namelist())
    assert b"class FrozenPolicy" in contents
    assert b"network.py" not in contents
    assert str(Path.cwd()).encode() not in contents


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("place", range(7))
def test_weights_that_are_no_numbers_hold(place: int, runtime: str) -> None:
    head = torch.nn.Linear(1, 7).double()
    with torch.no_grad():
        head.bias.copy_(torch.arange(7.0))
        head.bias[place] = torch.nan
    policy = FrozenPolicy(head, Normalisation(np.zeros(1), np.ones(1)))
    action, probabilities = read(write(policy, runtime), runtime)(np.zeros((5, 1)), np.ones((5, 7), np.bool_))
    assert action.tolist() == [HOLD] * 5
    assert np.isnan(probabilities).all()


def test_a_bundle_can_be_sent_to_another_process(either: Bundle) -> None:
    bundle = either
    _ = bundle.network
    raw, mask = observations(bundle, 5)
    there = pickle.loads(pickle.dumps(bundle))  # noqa: S301 - our own object, as joblib sends it
    assert np.array_equal(there.decide(raw, mask)[0], bundle.decide(raw, mask)[0])


def test_the_same_network_gives_the_same_bytes_however_often_it_is_traced() -> None:
    """torch numbers the types that a process traces, and writes the number into the file."""
    statistics = Normalisation(np.zeros(5), np.ones(5))
    first, second = (to_torchscript(FrozenPolicy(random_logits(5), statistics)) for _ in range(2))
    assert first == second
    actions, _ = ask(from_torchscript(first), np.ones((1, 5)), np.ones((1, 7), np.bool_))
    assert actions.shape == (1,)


def test_a_decision_takes_one_thread_however_many_there_are(bundle: Bundle) -> None:
    seen: list[int] = []

    def network(observation: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(torch.get_num_threads())
        answer: tuple[torch.Tensor, torch.Tensor] = torch.zeros(len(mask), dtype=torch.int64), mask.double()
        return answer

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        ask(network, *observations(bundle, 3))
        assert (seen, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)
