"""A policy as ONNX: the decisions of its TorchScript, and what is refused."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import torch

from tests.learn.conftest import observations, random_logits
from tradekit.engine.ledger_io import content_hash
from tradekit.engine.simulate import simulate
from tradekit.errors import BundleError, ConfigError
from tradekit.learn.actions import ACTIONS
from tradekit.learn.bundle import EXPORTS, MANIFEST, POLICY, WEIGHTS, Bundle, _digest, copy_bundle, read_bundle
from tradekit.learn.export import COMPARED, TOLERANCE, export
from tradekit.learn.network import FrozenPolicy, refrozen
from tradekit.learn.observations import Normalisation
from tradekit.learn.policy import PolicyStrategy, RefitPolicy
from tradekit.learn.recipe import Ppo, Recipe, Validation
from tradekit.learn.runtimes import ONNX, RUNTIMES, TORCHSCRIPT, read, write
from tradekit.market.costs import CostModel

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.engine.ledger import Ledger
    from tradekit.market.panel import Panel

FILE = RUNTIMES[ONNX].file
DECISIONS = 100_000


@pytest.fixture
def twice(bundle: Bundle, tmp_path: Path) -> Bundle:
    """Return a copy of the bundle that has both files, run from the second."""
    shutil.copytree(bundle.folder, tmp_path / "mine" / "bundle")
    return export(read_bundle(tmp_path / "mine"), ONNX).bundle


@pytest.fixture(scope="module")
def shipped(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the shipped policy that has both files."""
    folder = tmp_path_factory.mktemp("desk") / "symbol_ppo"
    shutil.copytree(repository / "policies" / "symbol_ppo", folder)
    assert export(read_bundle(folder), ONNX).largest_difference <= TOLERANCE
    return folder


def refusal(folder: Path, runtime: str = ONNX) -> str:
    with pytest.raises(BundleError) as caught:
        read_bundle(folder, runtime)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rewrite(folder: Path, **files: bytes) -> None:
    """Put other bytes in the place of files and make every digest fit again."""
    manifest = json.loads((folder / MANIFEST).read_text())
    exports = manifest[EXPORTS]
    for name, content in files.items():
        (folder / name).write_bytes(content)
        held = exports["files"] if name in exports["files"] else manifest["files"]
        held[name] = hashlib.sha256(content).hexdigest()
    manifest["digest"] = _digest(manifest)
    said = {key: exports[key] for key in ("files", "versions")}
    exports["digest"] = _digest({"policy": manifest["digest"], **said})
    (folder / MANIFEST).write_text(json.dumps(manifest))


# ------------------------------------------------------------------------------------------------- the same decisions


@pytest.mark.parametrize("hidden", [(64, 64), (16,), ()], ids=str)
def test_a_hundred_thousand_decisions_are_those_of_torchscript(hidden: tuple[int, ...]) -> None:
    """Missing and infinite entries, entries far beyond the clip, and every share of forbidden actions among them."""
    rng, random = np.random.default_rng(4), torch.Generator().manual_seed(4)
    width, layers = 31, []
    for wide, narrow in zip((width, *hidden), (*hidden, ACTIONS), strict=True):
        layers += [torch.nn.Linear(wide, narrow), torch.nn.Tanh()]
        for parameter in layers[-2].parameters():
            parameter.data.normal_(0.0, 0.5, generator=random)
    usual = Normalisation(rng.normal(size=width), rng.uniform(0.01, 10.0, width))
    policy = FrozenPolicy(torch.nn.Sequential(*layers[:-1]), usual)
    raw = usual.mean + usual.scale * rng.standard_t(2, (DECISIONS, width))
    raw[rng.random(raw.shape) < 0.01] = np.nan
    raw[rng.random(raw.shape) < 0.001] = np.inf
    mask = rng.random((DECISIONS, ACTIONS)) < rng.random((DECISIONS, 1))
    mask[:, 0] = True
    first, second = (read(write(policy, runtime), runtime) for runtime in (TORCHSCRIPT, ONNX))
    (action, shares), (also, others) = first(raw, mask), second(raw, mask)
    assert [array.dtype for array in (action, also, shares, others)] == [np.int64] * 2 + [np.float64] * 2
    assert np.array_equal(action, also)
    assert np.abs(shares - others).max() <= TOLERANCE
    assert len(np.unique(action)) == ACTIONS
    one_by_one = [second(raw[k : k + 1], mask[k : k + 1])[0][0] for k in range(1_000)]
    assert one_by_one == action[:1_000].tolist()


def same(first: Ledger, second: Ledger) -> None:
    """Demand two ledgers with one hash, but for the entropies, which are sums in another order."""
    bare = [replace(one, extras={k: v for k, v in one.extras.items() if k != "entropy"}) for one in (first, second)]
    assert content_hash(bare[0]) == content_hash(bare[1])
    assert len(bare[0].extras) == 4
    assert np.allclose(first.extras["entropy"], second.extras["entropy"], rtol=0, atol=1e-12, equal_nan=True)


def test_a_backtest_is_the_same_to_the_last_bit(shipped: Path, sample: Panel) -> None:
    costs = [CostModel(), CostModel(slippage_mode="sampled").scaled(3)]
    ledgers = [simulate(PolicyStrategy.load(shipped, runtime), sample, costs, start=7_000) for runtime in RUNTIMES]
    for first, second in zip(*ledgers, strict=True):
        same(first, second)
        assert len(first.orders) > 100


def test_a_backtest_on_onnx_needs_no_torch(shipped: Path, twice: Bundle, panel: Panel, tmp_path: Path) -> None:
    file = tmp_path / "panel.pickle"
    file.write_bytes(pickle.dumps(panel))
    code = (
        "import pickle, sys\n"
        "from tradekit.engine.simulate import simulate; from tradekit.learn.policy import PolicyStrategy\n"
        f"policy = PolicyStrategy.load({str(twice.folder)!r}, runtime='onnx')\n"
        f"ledger = simulate(policy, pickle.load(open({str(file)!r}, 'rb')))\n"
        "print(len(ledger.orders), ledger.equity[-1].hex(), 'torch' in sys.modules)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    here = simulate(PolicyStrategy.load(twice.folder), panel)
    assert run.stdout == f"{len(here.orders)} {here.equity[-1].hex()} False\n", run.stderr


def test_a_policy_trained_in_a_window_is_run_the_same_way(twice: Bundle, panel: Panel) -> None:
    ppo = Ppo(timesteps=256, environments=8, steps=32, batch=64, epochs=1, network=(8,))
    recipe = Recipe(name="small", ppo=ppo, validation=Validation(every=256))
    assert PolicyStrategy(twice).refit().runtime == ONNX
    made = {runtime: RefitPolicy("small", recipe, 3, runtime).fit(panel).bundle for runtime in RUNTIMES}
    assert {runtime: bundle.runtime for runtime, bundle in made.items()} == {name: name for name in RUNTIMES}
    raw, mask = observations(made[ONNX], 500)
    assert np.array_equal(made[ONNX].decide(raw, mask)[0], made[TORCHSCRIPT].decide(raw, mask)[0])


# -------------------------------------------------------------------------------------------------------- what is kept


def test_the_policy_stays_the_one_that_was_trained(bundle: Bundle, twice: Bundle) -> None:
    assert twice.digest == bundle.digest
    for name in (POLICY, WEIGHTS):
        assert (twice.folder / name).read_bytes() == (bundle.folder / name).read_bytes()
    said = json.loads((twice.folder / MANIFEST).read_text())
    exports = said.pop(EXPORTS)
    assert said == json.loads((bundle.folder / MANIFEST).read_text())
    assert exports["files"] == {FILE: hashlib.sha256((twice.folder / FILE).read_bytes()).hexdigest()}
    assert exports["versions"] == {"onnx": onnx.__version__}


def test_work_that_was_done_on_one_file_is_not_taken_for_work_on_the_other(twice: Bundle) -> None:
    assert PolicyStrategy(twice).identity != PolicyStrategy.load(twice.folder).identity


def test_a_bundle_runs_from_the_first_file_unless_the_other_is_asked_for(twice: Bundle) -> None:
    assert (read_bundle(twice.folder).runtime, twice.runtime) == (TORCHSCRIPT, ONNX)
    assert read_bundle(twice.folder).policy == (twice.folder / POLICY).read_bytes()
    assert twice.policy == (twice.folder / FILE).read_bytes()


def test_a_copy_has_both_files(twice: Bundle, tmp_path: Path) -> None:
    copy = copy_bundle(twice, tmp_path / "copy")
    assert copy.runtime == ONNX
    for file in twice.folder.iterdir():
        assert (tmp_path / "copy" / file.name).read_bytes() == file.read_bytes()


def test_exporting_again_gives_the_same_bytes(twice: Bundle) -> None:
    before = {file.name: file.read_bytes() for file in twice.folder.iterdir()}
    export(read_bundle(twice.folder), ONNX)
    assert {file.name: file.read_bytes() for file in twice.folder.iterdir()} == before


def test_the_graph_is_of_a_fixed_version_and_of_any_batch(twice: Bundle) -> None:
    model = onnx.load_from_string(twice.policy)
    assert (model.ir_version, [(one.domain, one.version) for one in model.opset_import]) == (8, [("", 18)])
    batches = [value.type.tensor_type.shape.dim[0].dim_param for value in (*model.graph.input, *model.graph.output)]
    assert batches == ["batch"] * 4
    kinds = {onnx.TensorProto.DOUBLE, onnx.TensorProto.INT64}
    assert {constant.data_type for constant in model.graph.initializer} == kinds


# ----------------------------------------------------------------------------------------------------- what is refused


def test_a_changed_or_missing_file_is_refused_whichever_is_run(twice: Bundle) -> None:
    file = twice.folder / FILE
    file.write_bytes(file.read_bytes() + b"x")
    for runtime in RUNTIMES:
        assert refusal(twice.folder, runtime) == (
            f"{file}: its bytes are not those that bundle.json names; restore the file or train again"
        )
    file.unlink()
    assert refusal(twice.folder, TORCHSCRIPT).startswith(f"{file}: no such file")


@pytest.mark.parametrize("exports", [{}, [], {"files": {FILE: "0" * 64}, "versions": {}, "digest": "0" * 64}], ids=str)
def test_changed_words_about_exports_are_refused(twice: Bundle, exports: Any) -> None:
    file = twice.folder / MANIFEST
    file.write_text(json.dumps(json.loads(file.read_text()) | {EXPORTS: exports}))
    assert refusal(twice.folder).startswith(f"{file}: what it says of exports was changed")


def test_exports_of_another_policy_are_refused(twice: Bundle, bundle: Bundle) -> None:
    file = twice.folder / MANIFEST
    manifest = json.loads(file.read_text()) | {"seed": 99}
    manifest["digest"] = _digest(manifest)
    file.write_text(json.dumps(manifest))
    assert refusal(twice.folder).startswith(f"{file}: what it says of exports was changed")


def test_a_bundle_without_the_file_names_the_command(bundle: Bundle) -> None:
    folder = bundle.folder
    assert refusal(folder) == f"{folder}: has no {FILE}; write it with: tradekit export {folder} --format onnx"


def test_a_file_that_onnxruntime_cannot_read_is_one_line(twice: Bundle) -> None:
    rewrite(twice.folder, **{FILE: pickle.dumps(print)})
    with pytest.raises(BundleError) as caught:
        _ = read_bundle(twice.folder, ONNX).network
    made = f"this onnxruntime cannot read a policy written by onnx {onnx.__version__}; export it again"
    assert str(caught.value) == f"{twice.folder / FILE}: {made}"


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_what_is_not_installed_is_named_with_its_remedy(
    twice: Bundle, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    told = f"{FILE} needs {package}, not installed here; install with: pip install 'tradekit[onnx]'"
    assert refusal(twice.folder) == told
    with pytest.raises(BundleError) as caught:
        export(read_bundle(twice.folder), ONNX)
    assert str(caught.value) == told
    with pytest.raises(BundleError, match="needs onnx"):  # a bundle that was sent to another machine
        _ = twice.network


def test_an_unknown_runtime_names_the_one_that_was_meant(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match=r"unknown runtime 'onx' of a policy; did you mean onnx\?"):
        PolicyStrategy.load(bundle.folder, runtime="onx")


def test_weights_that_decide_otherwise_are_not_exported(twice: Bundle) -> None:
    """The bundle is sound by its digests, and its two files are of two networks."""
    from safetensors.numpy import load, save

    weights = load((twice.folder / WEIGHTS).read_bytes())
    weights["action_net.bias"] += np.arange(7, dtype=np.float32)
    rewrite(twice.folder, **{WEIGHTS: save(weights)})
    before = {file.name: file.read_bytes() for file in twice.folder.iterdir()}
    with pytest.raises(BundleError, match=rf"times in {COMPARED:,}, .* nothing was written, train it again"):
        export(read_bundle(twice.folder), ONNX)
    assert {file.name: file.read_bytes() for file in twice.folder.iterdir()} == before


@pytest.mark.parametrize("weights", [b"", b"\x02\0\0\0\0\0\0\0{}"], ids=["no file of its kind", "without an actor"])
def test_weights_that_are_none_are_refused(twice: Bundle, weights: bytes) -> None:
    rewrite(twice.folder, **{WEIGHTS: weights})
    with pytest.raises(BundleError, match="not the weights of a policy") as caught:
        export(read_bundle(twice.folder), ONNX)
    assert "\n" not in str(caught.value)


def test_a_network_of_other_layers_is_not_written() -> None:
    layers = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 7))
    with pytest.raises(TypeError, match="not linear layers with a tanh between"):
        write(FrozenPolicy(layers, Normalisation(np.zeros(3), np.ones(3))), ONNX)


def test_weights_find_back_to_the_network_that_they_are_of(bundle: Bundle) -> None:
    from safetensors.numpy import load

    raw, _ = observations(bundle, 1)
    usual = Normalisation(np.zeros(raw.shape[1]), np.ones(raw.shape[1]))
    found = refrozen(load((bundle.folder / WEIGHTS).read_bytes()), usual).layers()
    expected = FrozenPolicy(random_logits(raw.shape[1]), usual).layers()
    for layers in zip(found, expected, strict=True):
        for one, other in zip(*layers, strict=True):
            assert np.array_equal(one, other)
