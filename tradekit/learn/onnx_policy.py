"""The policy network as an ONNX graph, written node by node, and run by onnxruntime.

By hand, because the network is small and a graph of known operators in float64 is what is wanted: torch's own exporter
would bring two packages more and name the nodes by its version. Needs the extra ``onnx``; running needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.learn.actions import ACTIONS

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

    from tradekit.learn.agent import Decide, Ints
    from tradekit.learn.network import FrozenPolicy
    from tradekit.market.panel import Bools, Floats

OPSET, IR_VERSION = 18, 8
"""Of ONNX 1.13, which every onnxruntime from 1.14 on runs: https://onnxruntime.ai/docs/reference/compatibility.html"""
OBSERVATION, MASK, ACTION, PROBABILITIES = "observation", "mask", "action", "probabilities"


class _Graph:
    """Nodes and constants, as they are added."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def constant(self, name: str, value: Any) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output


def to_onnx(policy: FrozenPolicy) -> bytes:
    """Return ``policy`` as the bytes of an ONNX file, for batches of any size.

    Its inputs are observation (B, D) float64 and mask (B, 7) bool, its outputs action (B,) int64 and probabilities
    (B, 7) float64; what they mean is said of ``FrozenPolicy.forward``.

    Raises:
        TypeError: a layer is of a kind that is not written.
    """
    from onnx import TensorProto, checker, helper

    from tradekit.learn.network import TIE

    graph = _Graph()
    _decide(graph, TIE, _logits(graph, policy))
    width = len(policy.get_buffer("mean"))
    shapes = helper.make_tensor_value_info
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "policy",
            [
                shapes(OBSERVATION, TensorProto.DOUBLE, ["batch", width]),
                shapes(MASK, TensorProto.BOOL, ["batch", ACTIONS]),
            ],
            [
                shapes(ACTION, TensorProto.INT64, ["batch"]),
                shapes(PROBABILITIES, TensorProto.DOUBLE, ["batch", ACTIONS]),
            ],
            graph.constants,
        ),
        producer_name="tradekit",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _logits(graph: _Graph, policy: FrozenPolicy) -> str:
    """Add normalisation and network; return the name of the logits (B, 7)."""
    graph.node("Sub", [OBSERVATION, graph.constant("mean", policy.get_buffer("mean").numpy())], "centred")
    graph.node("Div", ["centred", graph.constant("scale", policy.get_buffer("scale").numpy())], "scaled")
    graph.node("Abs", [OBSERVATION], "size")
    graph.node("Less", ["size", graph.constant("infinity", np.inf)], "finite")  # false for NaN
    graph.node("Where", ["finite", "scaled", graph.constant("zero", 0.0)], "known")
    bounds = [graph.constant("least", -policy.clip), graph.constant("most", policy.clip)]
    output = graph.node("Clip", ["known", *bounds], "seen")
    for k, (weight, bias) in enumerate(policy.layers()):
        if k:
            output = graph.node("Tanh", [output], f"hidden_{k}")
        layer = [output, graph.constant(f"weight_{k}", weight), graph.constant(f"bias_{k}", bias)]
        output = graph.node("Gemm", layer, f"linear_{k}", transB=1)
    return output


def _decide(graph: _Graph, tie: float, logits: str) -> None:
    """Add the mask, the probabilities and the lowest action within ``tie`` of the best."""
    graph.node("Where", [MASK, logits, graph.constant("forbidden", -np.inf)], "allowed")
    graph.node("Softmax", ["allowed"], PROBABILITIES, axis=1)
    axis = graph.constant("axis", np.array([1]))
    graph.node("ReduceMax", ["allowed", axis], "best", keepdims=1)
    graph.node("Sub", ["best", graph.constant("tie", tie)], "enough")
    graph.node("GreaterOrEqual", ["allowed", "enough"], "near")
    # A maximum may pass over a logit that is not a number; a softmax makes its whole row NaN, so that none is tied.
    graph.node("GreaterOrEqual", [PROBABILITIES, "zero"], "number")
    graph.node("And", ["near", "number"], "tied")
    ids, none = graph.constant("ids", np.arange(ACTIONS)[None]), graph.constant("none", np.int64(ACTIONS))
    graph.node("Where", ["tied", ids, none], "candidates")
    graph.node("ReduceMin", ["candidates", axis], "lowest", keepdims=0)
    graph.node("Mod", ["lowest", none], ACTION)


def from_onnx(content: bytes) -> Decide:
    """Return what decides by the graph of an ONNX file's bytes, on one thread.

    Raises:
        RuntimeError: this onnxruntime cannot read the bytes.
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except (
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NotImplemented,
    ) as error:
        raise RuntimeError(str(error)) from error

    def decide(observation: Floats, mask: Bools) -> tuple[Ints, Floats]:
        action, probabilities = session.run((ACTION, PROBABILITIES), {OBSERVATION: observation, MASK: mask})
        return action, probabilities

    return decide
