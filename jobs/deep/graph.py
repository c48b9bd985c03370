"""The encoder as an ONNX graph without its weights: the session that runs it is given them one by one. Rows of the word
table come in with each window, so that the table, half of all weights, need not be there as float32.

Operators are of ONNX opset 20 (Gelu, LayerNormalization), the layout is that of BERT (Devlin et al. 2019,
doi:10.18653/v1/N19-1423) with the three projections of attention in one matrix product; out come the mean states after
each of the last layers, which the head is laid over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OPSET = 20
IR_VERSION = 10
EPSILON = 1e-12


def build(shapes: Mapping[str, tuple[int, ...]], *, layers: int, heads: int) -> bytes:
    """The graph: ``words`` float32 (1, T, width) and ``untrusted`` int64 (1,) in, ``pooled`` float32 (1, K * width)
    out, K layers being what the head has rows for.

    Args:
        shapes: name and shape of every weight, float32, as `aimds.jobs.deep.encoder.Encoder.arrays` names them.
    """
    from onnx import TensorProto, helper

    width, seen = shapes["word"][1], shapes["head.weight"][0]
    nodes: list[Any] = []
    constants: list[Any] = []

    def ints(name: str, values: list[int]) -> str:
        constants.append(helper.make_tensor(name, TensorProto.INT64, [len(values)], values))
        return name

    def add(kind: str, inputs: list[str], out: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [out], name=out, **attributes))
        return out

    def dense(x: str, name: str, out: str) -> str:
        return add("Add", [add("MatMul", [x, f"{name}.weight"], f"{out}.product"), f"{name}.bias"], out)

    def norm(x: str, name: str, out: str) -> str:
        inputs = [x, f"{name}.weight", f"{name}.bias"]
        return add("LayerNormalization", inputs, out, axis=-1, epsilon=EPSILON)

    zero, one = ints("zero", [0]), ints("one", [1])
    size = add("Shape", ["words"], "size", start=1, end=2)
    places = add("Slice", ["position", zero, size, zero, one], "places")
    told = add("Add", [places, add("Gather", ["channel", "untrusted"], "told")], "place")
    x = norm(add("Add", ["words", told], "embedded"), "norm", "x0")
    split = add("Concat", [one, size, ints("split.tail", [3, heads, width // heads])], "split.shape", axis=0)
    joined = add("Concat", [one, size, ints("width", [width])], "joined.shape", axis=0)
    constants.append(helper.make_tensor("scale", TensorProto.FLOAT, [], [(width // heads) ** -0.5]))
    means: list[str] = []
    for layer in range(layers):
        at = f"layer.{layer}"
        qkv = add("Reshape", [dense(x, f"{at}.qkv", f"{at}.qkv.out"), split], f"{at}.qkv.split")
        parts = []
        for k in range(3):
            axis, first, last = ints(f"{at}.axis.{k}", [2]), ints(f"{at}.lo.{k}", [k]), ints(f"{at}.hi.{k}", [k + 1])
            cut = add("Slice", [qkv, first, last, axis], f"{at}.cut.{k}")
            parts.append(add("Squeeze", [cut, axis], f"{at}.part.{k}"))
        query = add("Mul", [add("Transpose", [parts[0]], f"{at}.q", perm=[0, 2, 1, 3]), "scale"], f"{at}.q.scaled")
        key = add("Transpose", [parts[1]], f"{at}.k", perm=[0, 2, 3, 1])
        value = add("Transpose", [parts[2]], f"{at}.v", perm=[0, 2, 1, 3])
        weights = add("Softmax", [add("MatMul", [query, key], f"{at}.scores")], f"{at}.weights", axis=-1)
        mixed = add("Transpose", [add("MatMul", [weights, value], f"{at}.mixed")], f"{at}.turned", perm=[0, 2, 1, 3])
        flat = add("Reshape", [mixed, joined], f"{at}.flat")
        x = norm(add("Add", [x, dense(flat, f"{at}.out", f"{at}.projected")], f"{at}.first"), f"{at}.norm1", f"{at}.y")
        hidden = add("Gelu", [dense(x, f"{at}.up", f"{at}.hidden")], f"{at}.active")
        lowered = dense(hidden, f"{at}.down", f"{at}.lowered")
        x = norm(add("Add", [x, lowered], f"{at}.second"), f"{at}.norm2", f"{at}.z")
        if layers - layer <= seen // width:
            means.append(add("ReduceMean", [x, one], f"{at}.mean", keepdims=0))
    add("Concat", means, "pooled", axis=1)

    weights_out = []
    for name, shape in shapes.items():
        if name == "word" or name.startswith("head."):
            continue
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=list(shape))
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="weights")
        weights_out.append(tensor)
    graph = helper.make_graph(
        nodes,
        "encoder",
        [
            helper.make_tensor_value_info("words", TensorProto.FLOAT, [1, "tokens", width]),
            helper.make_tensor_value_info("untrusted", TensorProto.INT64, [1]),
        ],
        [helper.make_tensor_value_info("pooled", TensorProto.FLOAT, [1, seen])],
        [*weights_out, *constants],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    content: bytes = model.SerializeToString()
    return content
