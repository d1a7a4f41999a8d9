"""The policy network as it is deployed: a small frozen module in float64, and its TorchScript form."""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch

from tradekit.learn.actions import ACTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray
    from sb3_contrib import MaskablePPO

    from tradekit.learn.observations import Normalisation
    from tradekit.market.panel import Bools, Floats

    Network = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]

TIE = 1e-9
_HIDDEN = "mlp_extractor.policy_net."
_COUNTED = re.compile(rb"(___torch_mangle_)\d+")


class FrozenPolicy(torch.nn.Module):
    """Raw observations and masks to actions and probabilities, all in float64.

    Logits within ``TIE`` of the best allowed one count as equal and the lowest action id is taken, so a decision does
    not depend on how many others were computed with it.
    """

    def __init__(self, logits: torch.nn.Module, normalisation: Normalisation) -> None:
        super().__init__()
        self.logits = deepcopy(logits).double().eval()
        self.register_buffer("mean", torch.from_numpy(normalisation.mean.copy()))
        self.register_buffer("scale", torch.from_numpy(normalisation.scale.copy()))
        self.register_buffer("ids", torch.arange(ACTIONS))
        self.clip = float(normalisation.clip)
        self.eval()
        for parameter in self.parameters():
            parameter.requires_grad_(False)

    def forward(self, observation: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return actions (B,) int64 and probabilities (B, 7) for observations (B, D) float64 and masks (B, 7) bool.

        An entry that is not finite counts as the training mean. Should a logit not be a number, the action is HOLD and
        the probabilities are NaN.
        """
        scaled = (observation - self.get_buffer("mean")) / self.get_buffer("scale")
        known = torch.where(torch.isfinite(observation), scaled, torch.zeros_like(scaled))
        logits = self.logits(known.clamp(-self.clip, self.clip)).masked_fill(~mask, -torch.inf)
        best = logits.max(dim=1, keepdim=True).values
        ids = self.get_buffer("ids")
        tied = torch.where(logits >= best - TIE, ids, torch.full_like(ids, ACTIONS))
        return tied.min(dim=1).values % ACTIONS, torch.softmax(logits, dim=1)

    def layers(self) -> list[tuple[Floats, Floats]]:
        """Return weight (O, I) and bias (O,) of each linear layer; between two of them there is a tanh.

        Raises:
            TypeError: the network has layers of another kind.
        """
        parts = [module for module in self.logits.modules() if not any(module.children())]
        linear = [module for module in parts if isinstance(module, torch.nn.Linear)]
        kinds = [torch.nn.Linear if k % 2 == 0 else torch.nn.Tanh for k in range(2 * len(linear) - 1)]
        if [type(module) for module in parts] != kinds:
            raise TypeError(f"not linear layers with a tanh between: {self.logits}")
        return [(module.weight.numpy(), module.bias.numpy()) for module in linear]


def frozen(model: MaskablePPO, normalisation: Normalisation) -> FrozenPolicy:
    """Return what ``model`` would deploy now."""
    policy = model.policy
    return FrozenPolicy(torch.nn.Sequential(policy.mlp_extractor.policy_net, policy.action_net), normalisation)


def refrozen(weights: Mapping[str, NDArray[Any]], normalisation: Normalisation) -> FrozenPolicy:
    """Return what ``frozen`` returned of the model whose weights these are, by the names that SB3 gives them.

    Raises:
        KeyError: the actor's are not among them.
    """

    def linear(name: str) -> torch.nn.Linear:
        weight, bias = (torch.nn.Parameter(torch.from_numpy(weights[f"{name}.{part}"])) for part in ("weight", "bias"))
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0], device="meta")  # nothing is drawn for it
        layer.weight, layer.bias = weight, bias
        return layer

    numbers = sorted({int(name.split(".")[2]) for name in weights if name.startswith(_HIDDEN)})
    hidden = [layer for number in numbers for layer in (linear(f"{_HIDDEN}{number}"), torch.nn.Tanh())]
    return FrozenPolicy(torch.nn.Sequential(*hidden, linear("action_net")), normalisation)


def ask(network: Network, observation: Floats, mask: Bools) -> tuple[NDArray[np.int64], Floats]:
    """Return actions (B,) int64 and probabilities (B, 7) of numpy observations and masks.

    On one thread: where cores are busy, several wait for each other longer than the whole decision takes.
    """
    threads = torch.get_num_threads()
    if threads != 1:
        torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            action, probabilities = network(torch.from_numpy(observation), torch.from_numpy(mask))
    finally:
        if threads != 1:
            torch.set_num_threads(threads)
    return action.numpy(), probabilities.numpy()


def to_torchscript(policy: FrozenPolicy) -> bytes:
    """Return the traced, frozen module as the bytes of a TorchScript file."""
    width = policy.get_buffer("mean").shape[0]
    example = (torch.zeros((2, width), dtype=torch.float64), torch.ones((2, ACTIONS), dtype=torch.bool))
    buffer = io.BytesIO()
    with _torchscript_is_deprecated():
        traced = torch.jit.freeze(torch.jit.trace(policy, example))  # type: ignore[no-untyped-call]
        torch.jit.save(traced, buffer)
    return _without_traces(buffer.getvalue())


def _without_traces(content: bytes) -> bytes:
    """Return the TorchScript archive without what depends on where and when it was made.

    That is source paths, an identifier, and the number by which a process tells apart the types that it traced, which
    stands in names and in text but not in weights.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as kept:
        for name in archive.namelist():
            if not name.endswith((".debug_pkl", "/serialization_id")):
                held = archive.read(name)
                if name.endswith((".py", "/data.pkl")):
                    held = _COUNTED.sub(rb"\g<1>0", held)
                kept.writestr(zipfile.ZipInfo(_COUNTED.sub(rb"\g<1>0", name.encode()).decode()), held)
    return out.getvalue()


def from_torchscript(content: bytes) -> Network:
    """Return the module of a TorchScript file's bytes. Only give it bytes whose digest was checked.

    Raises:
        RuntimeError: the bytes are not TorchScript.
    """
    with _torchscript_is_deprecated():
        module: Network = torch.jit.load(io.BytesIO(content), map_location="cpu")  # type: ignore[no-untyped-call]
    return module


@contextmanager
def _torchscript_is_deprecated() -> Iterator[None]:
    """Silence torch 2.13's notice that torch.jit is deprecated, and nothing else."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.\w+` is deprecated", category=DeprecationWarning)
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread, as its results and its speed on small networks want it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
