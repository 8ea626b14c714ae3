# SPDX-License-Identifier: Apache-2.0
"""Writes a trained net as ONNX, with its compact checkpoint, log, and manifest entry.

    python export.py upscale
    python export.py denoise

The graphs take and give 8-bit planes, so that the element copies bytes and
nothing else; scaling, rounding and clipping are folded into weights or fused.
They are written node by node: the operators are few, and it keeps the exact
shape that ONNX Runtime's blocked convolutions want.  Weights have names, by
which the element's own kernels find them; `aienhance.layers` says that a file
is what those kernels take it for (elements/enhance/src/operations/*/cpu.rs:
whoever changes the order of layers or their activation raises the number).

    upscale  x u8[1,1,H,W] -> y u8[1,1,2H,2W]                  H, W even
    denoise  y u8[1,1,H,W], uv u8[1,2,H/2,W/2], sigma f32[2]   H, W multiples of 8
             -> y_out, uv_out of the same shapes               (sigma: luma, chroma, in 8-bit levels)
"""

import argparse
import hashlib
import json
import os

import numpy as np
import onnx
import torch
from onnx import TensorProto as T
from onnx import helper, numpy_helper

import nets

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(os.path.join(HERE, "..", "..", ".."))
LAYERS = 1
STEMS = {"upscale": "upscale-x2", "denoise": "denoise"}


def stem_of(task, size):
    return STEMS[task] + ("-large" if size == "large" else "")



class Graph:
    def __init__(self):
        self.nodes, self.init, self.count = [], [], 0

    def op(self, kind, inputs, outputs=1, names=None, **attributes):
        self.count += 1
        names = names or [None] * outputs
        out = [name or f"{kind.lower()}{self.count}_{i}" for i, name in enumerate(names)]
        self.nodes.append(helper.make_node(kind, inputs, out, **attributes))
        return out[0] if len(out) == 1 else out

    def const(self, value, name=None):
        self.count += 1
        name = name or f"const{self.count}"
        self.init.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def conv(self, x, layer, name=None, scale_in=1.0, scale_out=1.0, offset=0.0, relu=True):
        w = layer.kernel().detach().numpy() * scale_in * scale_out
        b = layer.bias.detach().numpy() * scale_out + offset
        y = self.op(
            "Conv", [x, self.const(w.astype(np.float32), name and name + ".w"), self.const(b.astype(np.float32), name and name + ".b")],
            pads=[layer.pad] * 4, strides=[layer.stride] * 2, kernel_shape=[layer.k] * 2,
        )
        return self.act(y) if relu else y

    def convs(self, x, layers, name):
        for number, layer in enumerate(layers):
            x = self.conv(x, layer, f"{name}.{number}")
        return x

    def act(self, x):
        return self.op("LeakyRelu", [x], alpha=nets.SLOPE)

    def twice(self, x):
        scales = self.const(np.array([1, 1, 2, 2], np.float32))
        return self.op(
            "Resize", [x, "", scales], mode="nearest",
            coordinate_transformation_mode="asymmetric", nearest_mode="floor",
        )

    def byte(self, x, name):
        # Casting cuts the fraction off; the half that rounds is in a bias before this.
        zero, top = self.const(np.float32(0)), self.const(np.float32(255))
        clipped = self.op("Clip", [x, zero, top])
        return self.op("Cast", [clipped], names=[name] if name else None, to=T.UINT8)


def upscale(net):
    g = Graph()
    x = g.op("Cast", ["x"], to=T.FLOAT)
    a = g.convs(g.conv(x, net.head, "head", scale_in=1 / 255), net.body, "body")
    a = g.conv(a, net.tail, "tail", scale_out=255.0, offset=0.5, relu=False)
    base = g.op(
        "Conv", [x, g.const(net.base.detach().numpy().astype(np.float32), "base.w")],
        pads=[2] * 4, strides=[net.fold] * 2, kernel_shape=[4 + net.fold] * 2,
    )
    # Bytes are shuffled, not floats: a quarter of the memory.
    out = g.byte(g.op("Add", [a, base]), None)
    g.op("DepthToSpace", [out], names=["y"], blocksize=2 * net.fold, mode="CRD")
    inputs = [helper.make_tensor_value_info("x", T.UINT8, [1, 1, "H", "W"])]
    outputs = [helper.make_tensor_value_info("y", T.UINT8, [1, 1, "2H", "2W"])]
    return g, inputs, outputs, {"operation": "upscale", "factor": "2", "multiple": "2", "layers": LAYERS}


def denoise(net):
    g = Graph()
    # Six planes at half size: four of luma, two of chroma. Bytes are shuffled, not floats.
    planes = g.op("Concat", [g.op("SpaceToDepth", ["y"], blocksize=2), "uv"], axis=1)
    planes = g.op("Cast", [planes], to=T.FLOAT)
    shape = g.op("Shape", ["uv"])
    sigma = g.op("Reshape", ["sigma", g.const(np.array([1, 2, 1, 1], np.int64))])
    level = g.op("Expand", [sigma, shape])
    # Both first convolutions as one: their sum in the graph would stand between a convolution and
    # its activation, and every later step would leave the blocked layout and come back.
    all_in = g.op("Concat", [planes, level], axis=1)
    w6 = net.head_y.kernel().detach().numpy()
    w = np.concatenate(
        [w6[:, :, by::2, bx::2] for by in range(2) for bx in range(2)] + [net.head_c.kernel().detach().numpy()], axis=1
    )
    bias = (net.head_y.bias + net.head_c.bias).detach().numpy()
    s1 = g.op(
        "Conv", [all_in, g.const((w / 255).astype(np.float32), "head.w"), g.const(bias.astype(np.float32), "head.b")],
        pads=[1] * 4, strides=[1, 1], kernel_shape=[3, 3],
    )
    s1 = g.convs(g.act(s1), net.d1, "d1")
    s2 = g.convs(g.conv(s1, net.to2, "to2"), net.d2, "d2")
    v = s2
    if len(net.config["widths"]) > 2:
        s3 = g.convs(g.conv(s2, net.to3, "to3"), net.d3, "d3")
        v = g.op("Add", [s2, g.twice(g.conv(s3, net.from3, "from3", relu=False))])
    v = g.convs(v, net.u2, "u2")
    v = g.op("Add", [s1, g.twice(g.conv(v, net.from2, "from2", relu=False))])
    v = g.convs(v, net.u1, "u1")
    r = g.conv(v, net.tail, "tail", scale_out=255.0, offset=0.5, relu=False)
    out = g.byte(g.op("Add", [r, planes]), None)
    y, _ = g.op("Split", [out, g.const(np.array([4, 2], np.int64))], names=[None, "uv_out"], axis=1)
    # Both shuffles number the four planes by row and column of the 2x2 block.
    g.op("DepthToSpace", [y], names=["y_out"], blocksize=2, mode="CRD")
    inputs = [
        helper.make_tensor_value_info("y", T.UINT8, [1, 1, "H", "W"]),
        helper.make_tensor_value_info("uv", T.UINT8, [1, 2, "H/2", "W/2"]),
        helper.make_tensor_value_info("sigma", T.FLOAT, [2]),
    ]
    outputs = [
        helper.make_tensor_value_info("y_out", T.UINT8, [1, 1, "H", "W"]),
        helper.make_tensor_value_info("uv_out", T.UINT8, [1, 2, "H/2", "W/2"]),
    ]
    return g, inputs, outputs, {"operation": "denoise", "multiple": "8", "layers": LAYERS}


def build(task, net, meta):
    g, inputs, outputs, own = {"upscale": upscale, "denoise": denoise}[task](net)
    graph = helper.make_graph(g.nodes, f"aienhance-{task}", inputs, outputs, g.init)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    model.producer_name = "gst-aivideo"
    for key, value in {**own, **meta}.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = f"aienhance.{key}", str(value)
    onnx.checker.check_model(model, full_check=True)
    return model


def describe(values):
    names = {T.UINT8: "u8", T.FLOAT: "f32"}
    return [
        {
            "name": v.name, "type": names[v.type.tensor_type.elem_type],
            "shape": [d.dim_value or d.dim_param for d in v.type.tensor_type.shape.dim],
        }
        for v in values
    ]


def manifest_entry(folder, entry):
    path = os.path.join(folder, "manifest.json")
    listing = {"files": []}
    if os.path.exists(path):
        with open(path) as f:
            listing = json.load(f)
    listing["files"] = sorted(
        [e for e in listing["files"] if e["path"] != entry["path"]] + [entry], key=lambda e: e["path"]
    )
    with open(path + ".tmp", "w") as f:
        json.dump(listing, f, indent=2)
        f.write("\n")
    os.replace(path + ".tmp", path)


def before(out, stem):
    """Steps, minutes and log of the net that is there."""
    with open(os.path.join(out, "manifest.json")) as f:
        training = next(entry["training"] for entry in json.load(f)["files"] if entry["path"] == stem + ".onnx")
    with open(os.path.join(out, stem + ".log.csv")) as f:
        return training["steps"], training["minutes"], f.read().splitlines()


def write(task, stem, net, steps, out):
    model = build(task, net, {"steps": steps})
    data = model.SerializeToString()
    path = os.path.join(out, stem + ".onnx")
    with open(path + ".tmp", "wb") as f:
        f.write(data)
    os.replace(path + ".tmp", path)
    return model, data


def again(task, stem, out):
    """Exports the compact checkpoint that is there; its log and its manifest entry but for the hash stay."""
    state = torch.load(os.path.join(out, stem + ".pt"), weights_only=True)
    net = nets.make(task, **state["config"])
    net.load_state_dict(state["net"])
    _, data = write(task, stem, net, state["step"], out)
    with open(os.path.join(out, "manifest.json")) as f:
        entry = next(e for e in json.load(f)["files"] if e["path"] == stem + ".onnx")
    manifest_entry(out, {**entry, "sha256": hashlib.sha256(data).hexdigest()})
    print(f"{stem}.onnx {len(data)} bytes")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("task", choices=["upscale", "denoise"])
    p.add_argument("--size", choices=["small", "large"], default="small", help="which of the two nets of the operation this is")
    p.add_argument("--work", default=os.path.join(ROOT, "target", "training", "enhance"))
    p.add_argument(
        "--name", help="folders of runs inside --work that began from one another, the last one is exported (default: the task)"
    )
    p.add_argument("--out", default=os.path.join(ROOT, "models", "enhance"))
    p.add_argument("--again", action="store_true", help="no new weights: the ones in --out as this exporter writes them")
    p.add_argument("--onto", action="store_true", help="the first run began from the net in --out (--init): its steps, minutes and log count, too")
    a = p.parse_args()
    if a.again:
        return again(a.task, stem_of(a.task, a.size), a.out)
    runs = [os.path.join(a.work, name) for name in (a.name or a.task).split(",")]
    states = [torch.load(os.path.join(run, "checkpoint.pt"), weights_only=False) for run in runs]
    stem = stem_of(a.task, a.size)
    steps, minutes, log = before(a.out, stem) if a.onto else (0, 0.0, [])
    state = states[-1]
    steps += sum(s["step"] for s in states)
    minutes += sum(s["spent"] for s in states) / 60
    net = nets.make(a.task, **state["config"])
    net.load_state_dict(state["ema"])
    os.makedirs(a.out, exist_ok=True)
    model, data = write(a.task, stem, net, steps, a.out)
    compact = {"net": state["ema"], "config": state["config"], "step": steps}
    torch.save(compact, os.path.join(a.out, stem + ".pt"))
    last = int(log[-1].split(",")[0]) if log else 0
    for number, run in enumerate(runs, last + 1):
        with open(os.path.join(run, "log.csv")) as f:
            lines = f.read().splitlines()
        log += ([] if log else [f"run,{lines[0]}"]) + [f"{number},{line}" for line in lines[1:]]
    with open(os.path.join(a.out, stem + ".log.csv"), "w") as out:
        out.writelines(line + "\n" for line in log)
    manifest_entry(
        a.out,
        {
            "path": stem + ".onnx",
            "sha256": hashlib.sha256(data).hexdigest(),
            "kind": a.task,
            "inputs": describe(model.graph.input),
            "outputs": describe(model.graph.output),
            "licence": "Apache-2.0",
            "training": {
                "steps": steps,
                "minutes": round(minutes, 1),
                "data": "train/ of the project's data set: 50 photos and frames of clips, at 1/2 to 1/4 size, and pictures composed of them",
                "log": stem + ".log.csv",
            },
        },
    )
    print(f"{stem}.onnx {len(data)} bytes, {steps} steps")


if __name__ == "__main__":
    main()
