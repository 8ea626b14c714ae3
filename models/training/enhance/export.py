# SPDX-License-Identifier: Apache-2.0
"""Writes a trained net as ONNX, with its compact checkpoint, log, and manifest entry.

    python export.py upscale
    python export.py denoise
    python export.py upscale --size ensemble   # of the large one's weights; written with that, too

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
    return STEMS[task] + ("" if size == "small" else "-" + size)


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


def ensemble(net):
    """The mean of what the net makes of the eight ways to turn and mirror a picture.

    Mirroring the picture before and its result after is the same as mirroring the kernels, so this is one net of eight groups of
    features. Kernels are mirrored in the graph, which runtimes do once as they load it, and the file has them once.
    """
    g = Graph()
    x = g.op("Cast", ["x"], to=T.FLOAT)
    ways = [(turn, mirrored) for turn in (False, True) for mirrored in ([], [2], [3], [2, 3])]

    def kernels(layer, name, scale, axis, outputs=None):
        w = g.const((layer.kernel().detach().numpy() * scale).astype(np.float32), name + ".w")
        all_ways = []
        for turn, mirrored in ways:
            one = g.op("Transpose", [w], perm=[0, 1, 3, 2]) if turn else w
            if mirrored:
                start, end, step = ([v] * len(mirrored) for v in (-1, -(2**31), -1))
                one = g.op("Slice", [one] + [g.const(np.array(v, np.int64)) for v in (start, end, mirrored, step)])
            all_ways.append(g.op("Gather", [one, g.const(outputs(turn, mirrored))], axis=0) if outputs else one)
        return g.op("Concat", all_ways, axis=axis)

    def conv(x, layer, name, scale=1.0, group=len(ways)):
        w = kernels(layer, name, scale, 0)
        b = g.const(layer.bias.detach().numpy().astype(np.float32), name + ".b")
        y = g.op(
            "Conv", [x, w, g.op("Concat", [b] * len(ways), axis=0)],
            pads=[layer.pad] * 4, strides=[1, 1], kernel_shape=[layer.k] * 2, group=group,
        )
        return g.act(y)

    def subpixels(turn, mirrored):
        """Which output of the net is the sample of each place."""
        places = np.arange(4).reshape(2, 2)
        places = places.T if turn else places
        return np.flip(places, [axis - 2 for axis in mirrored]).reshape(4).astype(np.int64)

    assert net.fold == 1, "kernels of an even side lie beside the samples that they make"
    a = conv(x, net.head, "head", 1 / 255, group=1)
    for number, layer in enumerate(net.body):
        a = conv(a, layer, f"body.{number}")
    mean = 255.0 / len(ways)
    bias = net.tail.bias.detach().numpy()
    bias = sum(bias[subpixels(*way)] for way in ways) * mean + 0.5
    a = g.op(
        "Conv", [a, kernels(net.tail, "tail", mean, 1, subpixels), g.const(bias.astype(np.float32), "tail.b")],
        pads=[net.tail.pad] * 4, strides=[1, 1], kernel_shape=[net.tail.k] * 2,
    )
    base = sum(
        np.flip(w.transpose(0, 1, 3, 2) if turn else w, mirrored)[subpixels(turn, mirrored)]
        for w in [net.base.detach().numpy()]
        for turn, mirrored in ways
    )
    base = g.const((base / len(ways)).astype(np.float32), "base.w")
    base = g.op("Conv", [x, base], pads=[2] * 4, strides=[1, 1], kernel_shape=[5] * 2)
    out = g.byte(g.op("Add", [a, base]), None)
    g.op("DepthToSpace", [out], names=["y"], blocksize=2, mode="CRD")
    _, inputs, outputs, meta = upscale(net)
    # The element's own kernels do not know it.
    del meta["layers"]
    return g, inputs, outputs, meta


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


def build(task, size, net, meta):
    make = ensemble if size == "ensemble" else {"upscale": upscale, "denoise": denoise}[task]
    g, inputs, outputs, own = make(net)
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


def write(task, size, net, steps, out):
    model = build(task, size, net, {"steps": steps})
    data = model.SerializeToString()
    path = os.path.join(out, stem_of(task, size) + ".onnx")
    with open(path + ".tmp", "wb") as f:
        f.write(data)
    os.replace(path + ".tmp", path)
    return model, data


def again(task, size, out):
    """Exports the compact checkpoint that is there; its log and its manifest entry but for the hash stay."""
    source = stem_of(task, "large" if size == "ensemble" else size)
    state = torch.load(os.path.join(out, source + ".pt"), weights_only=True)
    net = nets.make(task, **state["config"])
    net.load_state_dict(state["net"])
    _, data = write(task, size, net, state["step"], out)
    with open(os.path.join(out, "manifest.json")) as f:
        entry = next(e for e in json.load(f)["files"] if e["path"] == source + ".onnx")
    path = stem_of(task, size) + ".onnx"
    manifest_entry(out, {**entry, "path": path, "sha256": hashlib.sha256(data).hexdigest()})
    print(f"{path} {len(data)} bytes")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("task", choices=["upscale", "denoise"])
    p.add_argument("--size", choices=["small", "large", "ensemble"], default="small", help="which of the nets of the operation this is")
    p.add_argument("--work", default=os.path.join(ROOT, "target", "training", "enhance"))
    p.add_argument(
        "--name", help="folders of runs inside --work that began from one another, the last one is exported (default: the task)"
    )
    p.add_argument("--out", default=os.path.join(ROOT, "models", "enhance"))
    p.add_argument("--again", action="store_true", help="no new weights: the ones in --out as this exporter writes them")
    p.add_argument("--onto", action="store_true", help="the first run began from the net in --out (--init): its steps, minutes and log count, too")
    a = p.parse_args()
    if a.size == "ensemble" and a.task != "upscale":
        p.error("only upscale has an ensemble")
    if a.again or a.size == "ensemble":
        return again(a.task, a.size, a.out)
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
    model, data = write(a.task, a.size, net, steps, a.out)
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
    if (a.task, a.size) == ("upscale", "large"):
        again(a.task, "ensemble", a.out)


if __name__ == "__main__":
    main()
