# SPDX-License-Identifier: Apache-2.0
"""Multiplications of a graph for a pixel of the coded picture, counted from its nodes.

    python complexity.py ../../codec/s-encode.onnx ../../codec/s-decode.onnx
"""

import argparse
import math

import numpy as np
import onnx

WIDTH, HEIGHT = 256, 192  # whole multiples of 64: no padding in the count
# What 4K60 has to code: 3840x2160 is padded to 3840x2176.
UHD_PIXELS_PER_SECOND = 3840 * 2176 * 60
KINDS = ("Conv", "FusedConv", "ConvInteger", "QLinearConv", "MatMul", "Gemm", "MatMulInteger")


def zeros(session):
    """Inputs of one small picture."""
    sides = {"H": HEIGHT, "W": WIDTH}
    types = {"tensor(uint8)": np.uint8, "tensor(int8)": np.int8, "tensor(int16)": np.int16, "tensor(int64)": np.int64}
    size = lambda d: d if isinstance(d, int) else sides[d[0].upper()] // int("".join(filter(str.isdigit, d)) or 1)
    return {i.name: np.zeros([size(d) for d in i.shape], types[i.type]) for i in session.get_inputs()}


def kmac(path):
    """Thousands of multiplications a pixel, of convolutions and matrix products."""
    import onnxruntime as ort

    model = onnx.load(path)
    graph = model.graph
    shapes = {i.name: list(i.dims) for i in graph.initializer}
    # Weights that are stored in another type, or scaled, keep their shape.
    for node in graph.node:
        if node.op_type in ("Cast", "DequantizeLinear") and node.input[0] in shapes:
            shapes[node.output[0]] = shapes[node.input[0]]
    products = [node for node in graph.node if node.op_type in KINDS]
    given = {o.name for o in graph.output}
    graph.output.extend(onnx.ValueInfoProto(name=n.output[0]) for n in products if n.output[0] not in given)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    total = 0
    values = session.run([n.output[0] for n in products], zeros(session))
    for node, value in zip(products, values):
        weight = shapes[node.input[3 if node.op_type == "QLinearConv" else 1]]
        total += value.size * (math.prod(weight[1:]) if "Conv" in node.op_type else weight[-2])
    return total / (WIDTH * HEIGHT) / 1000


def share_of_40_tops(kmac_per_pixel):
    """Part of 40 TOPS (8-bit, a multiplication and an addition are two operations) that 4K60 asks for."""
    return kmac_per_pixel * 1000 * 2 * UHD_PIXELS_PER_SECOND / 40e12


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graphs", nargs="+")
    for path in parser.parse_args().graphs:
        k = kmac(path)
        print(f"{path}: {k:.2f} kMAC a pixel; 4K60 needs {100 * share_of_40_tops(k):.0f} % of 40 TOPS")


if __name__ == "__main__":
    main()
