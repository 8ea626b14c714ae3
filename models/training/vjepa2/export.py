# SPDX-License-Identifier: Apache-2.0
"""Turns a checkpoint of train.py into the shipped ONNX file, its sidecar and manifest.

    python export.py checkpoints/motion.pt --out ../../classify

The graph is written node by node: fixed clip and picture size, free batch, rotary
cosines and sines as constants, patch embedding as reshape + product, weights stored
as 16-bit floats and cast to 32 where they are used (runtimes fold that when loading).
The result is compared with the PyTorch model before it is kept.
"""

import argparse
import hashlib
import json
import pathlib

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from labels import CLASSES, LABELS
from model import Config, MotionClassifier, rotary_tables, turned_rows
from preprocess import MEAN, STD

NAME = "vjepa2-motion"
FRAME_STRIDE = 2


class Graph:
    def __init__(self):
        self.nodes, self.initialisers, self.count, self.known = [], [], 0, {}

    def constant(self, value, dtype=np.float32):
        value = np.asarray(value, dtype, order="C")
        key = (value.dtype.str, value.shape, value.tobytes())
        if key not in self.known:  # layers share their tables
            self.known[key] = f"c{len(self.known)}"
            self.initialisers.append(numpy_helper.from_array(value, self.known[key]))
        return self.known[key]

    def weight(self, tensor):
        return self.op("Cast", self.constant(tensor.numpy(), np.float16), to=TensorProto.FLOAT)

    def op(self, kind, *inputs, outputs=1, **attributes):
        self.count += 1
        names = [f"{kind.lower()}{self.count}" + (f"_{i}" if outputs > 1 else "") for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def reshape(self, x, *shape):
        return self.op("Reshape", x, self.constant(shape, np.int64))

    def linear(self, x, weight, bias):
        """`weight` as PyTorch keeps it, [out, in]."""
        return self.op("Add", self.op("MatMul", x, self.weight(weight.T)), self.constant(bias.numpy()))

    def norm(self, x, layer):
        w, b = self.constant(layer.weight.detach().numpy()), self.constant(layer.bias.detach().numpy())
        return self.op("LayerNormalization", x, w, b, axis=-1, epsilon=layer.eps)

    def gelu(self, x):
        erf = self.op("Erf", self.op("Mul", x, self.constant(0.5**0.5)))
        return self.op("Mul", self.op("Mul", x, self.op("Add", erf, self.constant(1.0))), self.constant(0.5))

    def mlp(self, x, mlp):
        x = self.gelu(self.linear(x, mlp.fc1.weight.data, mlp.fc1.bias.data))
        return self.linear(x, mlp.fc2.weight.data, mlp.fc2.bias.data)

    def attend(self, q, k, v, cfg):
        """q already scaled; [B,heads,n,head_dim] each -> [B,n,width]."""
        scores = self.op("Softmax", self.op("MatMul", q, self.op("Transpose", k, perm=[0, 1, 3, 2])), axis=-1)
        out = self.op("Transpose", self.op("MatMul", scores, v), perm=[0, 2, 1, 3])
        return self.reshape(out, 0, -1, cfg.width)

    def self_attention(self, x, layer, cfg):
        d, dim = cfg.width, cfg.head_dim
        bias, scale = layer.qkv.bias.data, dim**-0.5
        w = self.weight(layer.qkv.weight.data.T)
        groups = 3
        if layer.rotary:
            rows, sign = turned_rows(cfg)
            rows, sign = torch.cat([rows, rows + d]), sign.repeat(2)
            bias = torch.cat([bias, bias[rows] * sign])
            turned = self.op("Gather", w, self.constant(rows.numpy(), np.int64), axis=1)
            w = self.op("Concat", w, self.op("Mul", turned, self.constant(sign.numpy())), axis=1)
            groups = 5
        y = self.op("Add", self.op("MatMul", x, w), self.constant(bias.numpy()))
        y = self.op("Transpose", self.reshape(y, 0, -1, groups * cfg.heads, dim), perm=[0, 2, 1, 3])
        sizes = self.constant([cfg.heads] * groups, np.int64)
        q, k, v, *turned = self.op("Split", y, sizes, outputs=groups, axis=1)
        if layer.rotary:
            # The scale of the scores goes into the queries' cosines and sines.
            tables = [[self.constant(t.numpy() * s) for t in rotary_tables(cfg)] for s in (scale, 1.0)]
            q, k = (
                self.op("Add", self.op("Mul", a, cos), self.op("Mul", b, sin))
                for a, b, (cos, sin) in zip((q, k), turned, tables)
            )
        else:
            q = self.op("Mul", q, self.constant(scale))
        return self.linear(self.attend(q, k, v, cfg), layer.proj.weight.data, layer.proj.bias.data)

    def layer(self, x, layer, cfg):
        x = self.op("Add", x, self.self_attention(self.norm(x, layer.norm1), layer.attention, cfg))
        return self.op("Add", x, self.mlp(self.norm(x, layer.norm2), layer.mlp))


def build(model, metadata):
    cfg = model.cfg
    t, h, w = cfg.grid
    g = Graph()
    x = g.reshape("pixel_values_videos", -1, t, cfg.tubelet, 3, h, cfg.patch, w, cfg.patch)
    x = g.op("Transpose", x, perm=[0, 1, 4, 6, 3, 2, 5, 7])
    x = g.reshape(x, -1, cfg.tokens, model.embed.in_features)
    x = g.linear(x, model.embed.weight.data, model.embed.bias.data)
    for layer in model.layers:
        x = g.layer(x, layer, cfg)
    x = g.norm(x, model.norm)
    for layer in model.pool:
        x = g.layer(x, layer, cfg)
    # The pooler's query does not depend on the clip: only its product with the keys does.
    cross, query = model.cross, model.query.data[0]
    q = (cross.q(query).detach() * cfg.head_dim**-0.5).view(1, cfg.heads, 1, cfg.head_dim)
    kv = g.linear(g.norm(x, cross.norm1), cross.kv.weight.data, cross.kv.bias.data)
    kv = g.op("Transpose", g.reshape(kv, 0, -1, 2 * cfg.heads, cfg.head_dim), perm=[0, 2, 1, 3])
    k, v = g.op("Split", kv, g.constant([cfg.heads] * 2, np.int64), outputs=2, axis=1)
    pooled = g.op("Add", g.attend(g.constant(q.numpy()), k, v, cfg), g.constant(query.numpy()))
    pooled = g.op("Add", pooled, g.mlp(g.norm(pooled, cross.norm2), cross.mlp))
    pooled = g.reshape(pooled, -1, cfg.width)
    product = g.op("MatMul", pooled, g.weight(model.head.weight.data.T))
    g.nodes.append(helper.make_node("Add", [product, g.constant(model.head.bias.data.numpy())], ["logits"]))
    graph = helper.make_graph(
        g.nodes,
        NAME,
        [
            helper.make_tensor_value_info(
                "pixel_values_videos", TensorProto.FLOAT, ["batch", cfg.frames, 3, cfg.size, cfg.size]
            )
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", cfg.classes])],
        g.initialisers,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="gst-aivideo")
    helper.set_model_props(made, metadata)
    onnx.checker.check_model(made, full_check=True)
    return made


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoint")
    p.add_argument("--out", default="../../classify")
    p.add_argument("--keep-checkpoint", help="also write the weights here as 16-bit floats")
    a = p.parse_args()

    stored = torch.load(a.checkpoint, weights_only=True)
    if stored["labels"] != LABELS:
        raise SystemExit("the checkpoint was trained with other labels than labels.py has now")
    cfg = Config(**stored["config"])
    model = MotionClassifier(cfg).eval()
    # What ships is what is compared and measured: the weights as 16-bit floats.
    model.load_state_dict({k: v.half().float() if v.ndim >= 2 else v for k, v in stored["model"].items()})
    if a.keep_checkpoint:
        small = {k: v.half() if v.ndim >= 2 else v for k, v in stored["model"].items()}
        torch.save({**stored, "model": small}, a.keep_checkpoint)

    text = lambda numbers: ",".join(str(n) for n in numbers)
    metadata = {
        "name": NAME,
        "labels": "\n".join(LABELS),
        "frames-per-clip": str(cfg.frames),
        "size": str(cfg.size),
        "resize-short-side": str(cfg.size),
        "mean": text(MEAN),
        "std": text(STD),
        "frame-stride": str(FRAME_STRIDE),
        "training-steps": str(stored["step"]),
        "licence": "Apache-2.0",
    }
    made = build(model, metadata)

    video = torch.randn(2, cfg.frames, 3, cfg.size, cfg.size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        want = model(video)[0].numpy()
    got = ReferenceEvaluator(made).run(None, {"pixel_values_videos": video.numpy()})[0]
    difference = np.abs(got - want).max()
    print(f"largest difference from PyTorch: {difference:.2e}")
    if difference > 1e-4:
        raise SystemExit("the exported graph does not compute what the model computes")

    out = pathlib.Path(a.out)
    out.mkdir(parents=True, exist_ok=True)
    onnx.save(made, out / f"{NAME}.onnx")
    sidecar = {
        "name": NAME,
        "labels": LABELS,
        "frames-per-clip": cfg.frames,
        "size": cfg.size,
        "resize-short-side": cfg.size,
        "mean": MEAN,
        "std": STD,
        "frame-stride": FRAME_STRIDE,
    }
    (out / f"{NAME}.json").write_text(json.dumps(sidecar, indent=1) + "\n")
    (out / "labels.txt").write_text("\n".join(LABELS) + "\n")
    bytes_ = (out / f"{NAME}.onnx").read_bytes()
    manifest = {
        "files": [
            {
                "path": f"{NAME}.onnx",
                "sha256": hashlib.sha256(bytes_).hexdigest(),
                "kind": "video-classifier",
                "inputs": {"pixel_values_videos": f"float32[batch,{cfg.frames},3,{cfg.size},{cfg.size}]"},
                "outputs": {"logits": f"float32[batch,{cfg.classes}]"},
                "licence": "Apache-2.0",
                "training": {
                    "steps": stored["step"],
                    "data": "clips synthesised from the photos and video frames of the train set",
                    "log": "../training/vjepa2/checkpoints/log.csv",
                },
            }
        ]
    }
    (out / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    print(f"{len(bytes_) / 1e6:.2f} MB, {len(CLASSES)} classes")


if __name__ == "__main__":
    main()
