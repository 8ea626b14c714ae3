# SPDX-License-Identifier: Apache-2.0
"""Writes the trained restoration net as ONNX, with its compact weights, log and manifest entry.

    python export.py

    y, y_before u8[1,1,H,W], uv, uv_before u8[1,2,H/2,W/2], condition f32[4] -> y_out, uv_out
    H, W multiples of 8; condition as in net.py.
"""

import argparse
import hashlib
import importlib.util
import os
import shutil
import sys

import numpy as np
import onnx
import torch
from onnx import TensorProto as T
from onnx import helper

from net import ATTENUATE, CONDITION, Restore

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(os.path.join(HERE, "..", "..", ".."))
# The exporter of the enhancement nets imports from its own folder.
sys.path.append(os.path.join(HERE, "..", "enhance"))
spec = importlib.util.spec_from_file_location("enhance_export", os.path.join(HERE, "..", "enhance", "export.py"))
shared = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shared)


def graph(net):
    g = shared.Graph()

    def planes(y, uv):
        # Bytes are shuffled, not floats.
        return g.op("Concat", [g.op("SpaceToDepth", [y], blocksize=2), uv], axis=1)

    now = g.op("Cast", [planes("y", "uv")], to=T.FLOAT)
    before = g.op("Cast", [planes("y_before", "uv_before")], to=T.FLOAT)
    column = g.op("Reshape", ["condition", g.const(np.array([1, CONDITION, 1, 1], np.int64))])
    # On the scale of bytes, as everything that enters the first convolution.
    column = g.op("Mul", [column, g.const(np.float32(255))])
    shape = g.op("Concat", [g.const(np.array([1, CONDITION], np.int64)), g.op("Slice", [
        g.op("Shape", ["uv"]), g.const(np.array([2], np.int64)), g.const(np.array([4], np.int64)),
    ])], axis=0)
    head = g.op("Concat", [now, before, g.op("Expand", [column, shape])], axis=1)
    v = g.conv(head, net.head, scale_in=1 / 255)
    for block in net.blocks:
        v = g.op("Add", [v, g.conv(v, block)])
    r = g.conv(v, net.tail, scale_out=255.0 * ATTENUATE, offset=0.5, relu=False)
    out = g.byte(g.op("Add", [r, now]), None)
    y, _ = g.op("Split", [out, g.const(np.array([4, 2], np.int64))], names=[None, "uv_out"], axis=1)
    g.op("DepthToSpace", [y], names=["y_out"], blocksize=2, mode="CRD")
    luma, chroma = [1, 1, "H", "W"], [1, 2, "H/2", "W/2"]
    inputs = [
        helper.make_tensor_value_info("y", T.UINT8, luma),
        helper.make_tensor_value_info("uv", T.UINT8, chroma),
        helper.make_tensor_value_info("y_before", T.UINT8, luma),
        helper.make_tensor_value_info("uv_before", T.UINT8, chroma),
        helper.make_tensor_value_info("condition", T.FLOAT, [CONDITION]),
    ]
    outputs = [
        helper.make_tensor_value_info("y_out", T.UINT8, luma),
        helper.make_tensor_value_info("uv_out", T.UINT8, chroma),
    ]
    return g, inputs, outputs


def complexity(net):
    """kMAC a pixel of luma; everything runs at half the size."""
    return sum(module.kernel().numel() for module in net.modules() if hasattr(module, "kernel")) / 4 / 1000


def build(net, meta):
    g, inputs, outputs = graph(net)
    model = helper.make_model(
        helper.make_graph(g.nodes, "airestore", inputs, outputs, g.init),
        opset_imports=[helper.make_opsetid("", 17)], ir_version=9,
    )
    model.producer_name = "gst-aivideo"
    for key, value in {"multiple": "8", **meta}.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = f"airestore.{key}", str(value)
    onnx.checker.check_model(model, full_check=True)
    return model


def compare(net, data):
    """The graph against the net, on a picture with structure: both round, so a step apart at most."""
    import onnxruntime

    rng = np.random.default_rng(3)
    h, w = 72, 104
    make = lambda c, h, w: np.clip(
        128 + 60 * np.sin(np.arange(w) / 5) + 30 * np.cos(np.arange(h) / 7)[:, None] + rng.normal(0, 8, (1, c, h, w)), 0, 255
    ).astype(np.uint8)
    feed = {"y": make(1, h, w), "uv": make(2, h // 2, w // 2), "y_before": make(1, h, w), "uv_before": make(2, h // 2, w // 2),
            "condition": np.array([0.6, 1, 0.5, 1], np.float32)}
    y, uv = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, feed)
    from net import planes

    as_float = lambda name: torch.from_numpy(feed[name].astype(np.float32)) / 255
    with torch.no_grad():
        out = net(planes(as_float("y"), as_float("uv")), planes(as_float("y_before"), as_float("uv_before")),
                  torch.from_numpy(feed["condition"])[None])
    want = (out * 255).round().clamp(0, 255).numpy()
    got = planes(torch.from_numpy(y.astype(np.float32)), torch.from_numpy(uv.astype(np.float32))).numpy()
    worst = np.abs(want - got).max()
    if worst > 1:
        raise SystemExit(f"the graph differs from the net by {worst}")
    return worst


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--work", default=os.path.join(ROOT, "target", "training", "restore"))
    p.add_argument("--name", default="run")
    p.add_argument("--out", default=os.path.join(ROOT, "models", "restore"))
    a = p.parse_args()
    run = os.path.join(a.work, a.name)
    state = torch.load(os.path.join(run, "checkpoint.pt"), weights_only=False)
    net = Restore(**state["config"])
    net.load_state_dict(state["average"])
    os.makedirs(a.out, exist_ok=True)
    steps = state["before"]["steps"] + state["step"]
    minutes = state["before"]["minutes"] + state["spent"] / 60
    model = build(net, {"steps": steps})
    data = model.SerializeToString()
    worst = compare(net, data)
    path = os.path.join(a.out, "restore.onnx")
    with open(path + ".tmp", "wb") as f:
        f.write(data)
    os.replace(path + ".tmp", path)
    torch.save({"net": state["average"], "config": state["config"], "step": steps, "minutes": minutes}, os.path.join(a.out, "restore.pt"))
    shutil.copyfile(os.path.join(run, "log.csv"), os.path.join(a.out, "restore.log.csv"))
    shared.manifest_entry(
        a.out,
        {
            "path": "restore.onnx",
            "sha256": hashlib.sha256(data).hexdigest(),
            "kind": "restore",
            "inputs": shared.describe(model.graph.input),
            "outputs": shared.describe(model.graph.output),
            "licence": "Apache-2.0",
            "training": {
                "steps": steps,
                "minutes": round(minutes, 1),
                "data": "train/ of the project's data set: 60 clips, shrunk, coded by SVT-AV1, x265 and x264",
                "log": "restore.log.csv",
            },
        },
    )
    print(f"restore.onnx {len(data)} bytes, {steps} steps, {complexity(net):.2f} kMAC a pixel, graph and net differ by {worst:.0f}")


if __name__ == "__main__":
    main()
