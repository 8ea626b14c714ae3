# SPDX-License-Identifier: Apache-2.0
"""Writes the shipped files: two ONNX graphs, both again for samples of ten bits, and the entropy tables;
the same for the network of key frames.

    python export.py --run ../runs/codec-s --key-run ../runs/codec-k --out ../../codec

The graphs are written node by node: plain operators, nothing that depends on
an exporter's mood, and the same order of shared layers in both.
"""

import argparse
import hashlib
import json
import math
import os
import random
import struct
import time

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

import data
import loop_filter
import model as codec
import real_encoder
from motion import Warp

OPSET = 17
PROB_BITS = 14
Y_MAX = 20
SKIP = 0.03  # mean luma error of a copied block, in quantiser steps


class Graph:
    def __init__(self):
        self.nodes, self.inits, self.count, self.known = [], [], 0, {}
        self.params = set()

    def name(self, hint):
        self.count += 1
        return f"{hint}_{self.count}"

    def param(self, name, value, dtype=np.float32):
        """A constant under its own name: the fused kernels of the codec look their weights up by it."""
        if name not in self.params:
            self.params.add(name)
            self.inits.append(numpy_helper.from_array(np.ascontiguousarray(np.asarray(value, dtype)), name))
        return name

    def const(self, value, hint="c", dtype=np.float32):
        array = np.asarray(value, dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self.known:
            self.known[key] = self.name(hint)
            self.inits.append(numpy_helper.from_array(array, self.known[key]))
        return self.known[key]

    def weights(self, name, weight, bias, dense=True):
        """Stored as fp16, computed as fp32.

        Dense layers' are rounded to bfloat16, as in training: the fused kernels then need a product less.
        """
        weight = weight.detach().float()
        if dense:
            weight = weight.bfloat16().float()
        half = self.param(name + ".w", weight.numpy(), np.float16)
        bias = self.param(name + ".b", bias.detach().float().numpy())
        return [self.op("Cast", [half], to=TensorProto.FLOAT), bias]

    def op(self, kind, inputs, n=1, out=None, **attrs):
        outs = [out] if out else [self.name(kind.lower()) for _ in range(n)]
        self.nodes.append(helper.make_node(kind, inputs, outs, **attrs))
        return outs[0] if n == 1 else outs

    def f(self, kind, a, b):
        return self.op(kind, [a, self.const(b)])

    def linear(self, x, name, layer, weight=None, bias=None):
        w = layer.weight if weight is None else weight
        b = layer.bias if bias is None else bias
        return self.op("Conv", [x, *self.weights(name, w[:, :, None, None], b)], kernel_shape=[1, 1])

    def both(self, a, b, name, layer):
        """Linear over a concatenation that is never made: the second product adds to the first."""
        n = layer.weight.shape[1] // 2
        first = self.linear(a, name + ".0", layer, layer.weight[:, :n])
        return self.add(first, self.linear(b, name + ".1", layer, layer.weight[:, n:], torch.zeros_like(layer.bias)))

    def gather_linear(self, x, name, layer):
        """Linear over 2x2 groups (dy, dx, C) as a strided convolution."""
        o, k = layer.weight.shape
        w = layer.weight.reshape(o, 2, 2, k // 4).permute(0, 3, 1, 2)
        return self.op("Conv", [x, *self.weights(name, w, layer.bias)], kernel_shape=[2, 2], strides=[2, 2])

    def conv3(self, x, name, conv, stride=1):
        return self.op(
            "Conv",
            [x, *self.weights(name, conv.weight, conv.bias, dense=conv.groups == 1)],
            kernel_shape=[3, 3],
            pads=[1, 1, 1, 1],
            strides=[stride, stride],
            group=conv.groups,
        )

    def relu(self, x):
        return self.op("Relu", [x])

    def add(self, a, b):
        return self.op("Add", [a, b])

    def mul(self, a, b):
        return self.op("Mul", [a, b])

    def spread(self, x):
        return self.op("DepthToSpace", [x], blocksize=2, mode="DCR")

    def block(self, x, name, b):
        h = self.relu(self.linear(x, name + ".a", b.a))
        x = self.add(x, self.linear(self.conv3(h, name + ".d", b.d.conv), name + ".b", b.b))
        # Two halves as two products: cheaper than splitting a tensor.
        half = b.u.weight.shape[0] // 2
        p = self.linear(x, name + ".p", b.u, b.u.weight[:half], b.u.bias[:half])
        g = self.relu(self.linear(x, name + ".g", b.u, b.u.weight[half:], b.u.bias[half:]))
        return self.add(x, self.linear(self.mul(p, g), name + ".v", b.v))

    def blocks(self, x, name, blocks):
        for i, b in enumerate(blocks):
            x = self.block(x, f"{name}.{i}", b)
        return x

    def clip(self, x, low, high):
        return self.op("Clip", [x, self.const(low), self.const(high)])


def planes_order(w, dim):
    """Chroma channels (c, dy, dx) -> (dy, dx, c), the order of SpaceToDepth."""
    y, uv = w.split([64, 32], dim)
    shape = list(uv.shape)
    uv = uv.reshape(shape[:dim] + [2, 16] + shape[dim + 1 :]).transpose(dim, dim + 1).reshape(shape)
    return torch.cat([y, uv], dim)


def all_knots(table):
    q = torch.arange(codec.QUALITIES).float() * ((codec.KNOTS - 1) / (codec.QUALITIES - 1))
    low = q.floor().clamp(max=codec.KNOTS - 2).long()
    f = (q - low)[:, None]
    return table[low] * (1 - f) + table[low + 1] * f


class Builder(Graph):
    def __init__(self, net):
        super().__init__()
        self.net = net
        self.t = net.tier

    def pixels(self, y, uv):
        """Planes -> [1,96,H/8,W/8] in network units about mid grey. Bytes are moved, not floats."""
        y = self.op("SpaceToDepth", [y], blocksize=8)
        uv = self.op("SpaceToDepth", [uv], blocksize=4)
        x = self.op("Concat", [y, uv], axis=1)
        return self.op("DequantizeLinear", [x, self.const(codec.PIXEL_SCALE), self.const(128, dtype=np.uint8)])

    def by_quality(self, name, table, q, n):
        row = self.op("Gather", [self.param(name + ".t", table.detach().numpy()), q], axis=0)
        return self.op("Reshape", [row, self.const([1, n, 1, 1], dtype=np.int64)])

    def context(self, pred, q):
        net = self.net
        s = self.op("DequantizeLinear", ["state", self.const(1 / codec.STATE_SCALE), self.const(0, dtype=np.int8)])
        s = self.linear(s, "state_in", net.state_in)
        p = self.linear(pred, "pred_in", net.pred_in, planes_order(net.pred_in.weight, 1))
        h = self.add(self.add(p, s), self.by_quality("q_bias", all_knots(net.q_bias), q, self.t.c))
        return self.blocks(h, "context", net.context)

    def prior(self, ctx, q):
        net = self.net
        h = self.gather_linear(ctx, "prior_in", net.prior_in)
        h = self.relu(self.add(h, self.by_quality("q_prior", all_knots(net.q_prior), q, self.t.p)))
        return self.block(h, "prior", net.prior)

    def hyper(self, z, prior):
        net, y = self.net, self.t.y
        h = self.relu(self.spread(self.linear(self.f("Mul", z, 0.125), "hyper_d", net.hyper_d)))
        h = self.spread(self.linear(h, "hyper_e", net.hyper_e))
        f = self.linear(self.op("Concat", [prior, h], axis=1), "fuse_in", net.fuse_in)
        f = self.blocks(f, "fuse", net.fuse)
        mean = self.linear(f, "mean", net.fuse_out, net.fuse_out.weight[:y], net.fuse_out.bias[:y])
        step = self.linear(f, "step", net.fuse_out, net.fuse_out.weight[y:], net.fuse_out.bias[y:])
        step = self.op("Exp", [self.f("Mul", self.clip(step, -1.0, 1.0), math.log(2))])
        return mean, step, f

    def refine(self, anchors, f):
        net = self.net
        r = self.conv3(anchors, "check", net.check.conv)
        r = self.relu(self.add(r, self.linear(f, "check_in", net.check_in)))
        return self.linear(self.relu(self.linear(r, "check_mid", net.check_mid)), "check_out", net.check_out)

    def board(self, z):
        """1 on anchors, at 1/16; z gives the size."""
        pattern = (np.indices((4, 4)).sum(0) % 2 == 0).astype(np.float32)[None, None]
        shape = self.op("Shape", [z])
        hw = self.op("Slice", [shape] + [self.const([v], dtype=np.int64) for v in (2, 4)])
        times = self.op("Concat", [self.const([1, 1], dtype=np.int64), hw], axis=0)
        one = self.op("Tile", [self.const(pattern, "board"), times])
        return one, self.op("Sub", [self.const(1.0), one])

    def index(self, z):
        """The scale index of each group of symbols, at 1/64."""
        head = self.op("Slice", [z] + [self.const([v], dtype=np.int64) for v in (0, self.net.n_idx, 1)])
        return self.op("Abs", [head])

    def near(self, index):
        """A number for each group at 1/64 as one for each symbol at 1/16."""
        n = self.net.n_idx
        index = self.op("Gather", [index, self.const(np.arange(4 * n) // 4, dtype=np.int64)], axis=1)
        scales = self.const([1, 1, 4, 4])
        return self.op(
            "Resize", [index, "", scales], mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
        )

    def live(self, z):
        """0 where the index of a symbol's group is 0."""
        return self.near(self.clip(self.index(z), 0.0, 1.0))

    def dead(self, z):
        """What a symbol's group loses of it before it is rounded, either side of zero."""
        table = 0.5 - codec.dead_zone(torch.arange(codec.IDX_MAX + 1, dtype=torch.float64))
        index = self.op("Cast", [self.index(z)], to=TensorProto.INT64)
        return self.near(self.op("Gather", [self.param("dead.t", table.numpy()), index], axis=0))

    def synthesis(self, y, ctx, pred, q):
        net = self.net
        y = self.mul(y, self.by_quality("q_back", torch.exp2(all_knots(net.q_back)), q, self.t.y))
        h = self.both(self.spread(self.linear(y, "up", net.up)), ctx, "dec_in", net.dec_in)
        h = self.blocks(h, "dec", net.dec)
        s = self.f("Mul", self.linear(h, "state_out", net.state_out), codec.STATE_SCALE)
        s = self.op("Round", [self.clip(s, -127.0, 127.0)])
        self.op("Cast", [s], out="new_state", to=TensorProto.INT8)
        h = self.blocks(h, "recon", net.recon)
        order = lambda layer: (planes_order(layer.weight, 0), planes_order(layer.bias[:, None], 0)[:, 0])
        out = self.linear(h, "out", net.out, *order(net.out))
        gate = self.linear(h, "gate", net.gate, *order(net.gate))
        out = self.add(out, self.mul(self.op("Sigmoid", [gate]), pred))
        # Rounds, limits and leaves floats behind before anything is shuffled.
        out = self.op("QuantizeLinear", [out, self.const(codec.PIXEL_SCALE), self.const(128, dtype=np.uint8)])
        y, uv = self.op("Split", [out, self.const([64, 32], dtype=np.int64)], n=2, axis=1)
        self.op("DepthToSpace", [y], out="rec_y", blocksize=8, mode="DCR")
        self.op("DepthToSpace", [uv], out="rec_uv", blocksize=4, mode="DCR")

    def quantise(self, v, dead=None):
        """sign(v) * floor(|v| + d): what is beyond the dead zone, rounded. `dead` is 0.5 - d."""
        if dead is None:
            dead = 0.5 - codec.DEAD_ZONE
            inside = self.clip(v, -dead, dead)
        else:
            inside = self.op("Min", [self.op("Max", [v, self.op("Neg", [dead])]), dead])
        return self.op("Round", [self.op("Sub", [v, inside])])

    def common_inputs(self):
        t = self.t
        return [
            ("pred_y", TensorProto.UINT8, [1, 1, "H", "W"]),
            ("pred_uv", TensorProto.UINT8, [1, 2, "H2", "W2"]),
            ("state", TensorProto.INT8, [1, t.m, "H8", "W8"]),
            ("quality", TensorProto.INT64, [1]),
        ]

    def pictures(self):
        return [
            ("rec_y", TensorProto.UINT8, [1, 1, "H", "W"]),
            ("rec_uv", TensorProto.UINT8, [1, 2, "H2", "W2"]),
            ("new_state", TensorProto.INT8, [1, self.t.m, "H8", "W8"]),
        ]

    def model(self, inputs, outputs, props):
        info = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes, "aicodec", [info(*i) for i in inputs], [info(*o) for o in outputs], self.inits
        )
        m = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="gst-aivideo")
        m.ir_version = 8
        helper.set_model_props(m, props)
        onnx.checker.check_model(m, full_check=True)
        return m


def decode_graph(net, props):
    g = Builder(net)
    t = net.tier
    q = "quality"
    pred = g.pixels("pred_y", "pred_uv")
    z = g.op("Cast", ["z"], to=TensorProto.FLOAT)
    sym = g.op("Cast", ["sym"], to=TensorProto.FLOAT)
    ctx = g.context(pred, q)
    prior = g.prior(ctx, q)
    mean, step, f = g.hyper(z, prior)
    one, other = g.board(z)
    scaled = g.mul(sym, step)
    anchors = g.mul(g.add(scaled, mean), one)
    mean2 = g.add(mean, g.mul(g.refine(anchors, f), other))
    g.synthesis(g.add(scaled, mean2), ctx, pred, q)
    inputs = [("z", TensorProto.INT8, [1, t.z, "H64", "W64"]), ("sym", TensorProto.INT16, [1, t.y, "H16", "W16"])]
    return g.model(inputs + g.common_inputs(), g.pictures(), props)


def encode_graph(net, props):
    g = Builder(net)
    t = net.tier
    q = "quality"
    pred = g.pixels("pred_y", "pred_uv")
    x = g.pixels("y", "uv")
    ctx = g.context(pred, q)
    e = g.linear(g.op("Sub", [x, pred]), "embed", net.embed, planes_order(net.embed.weight, 1))
    h = g.blocks(g.both(e, ctx, "enc_in", net.enc_in), "enc", net.enc)
    y = g.conv3(h, "down", net.down.conv, 2)
    y = g.mul(y, g.by_quality("q_scale", torch.exp2(all_knots(net.q_scale)), q, t.y))
    prior = g.prior(ctx, q)
    # The hyper-encoder.
    r = g.op("Sub", [y, g.linear(prior, "prior_mean", net.prior_mean)])
    level = g.op("AveragePool", [g.op("Abs", [g.quantise(r)])], kernel_shape=[4, 4], strides=[4, 4])
    group = np.kron(np.eye(net.n_idx), np.full((1, 4), 16.0)).astype(np.float32)[:, :, None, None]
    level = g.op("Conv", [level, g.const(group, "group")], kernel_shape=[1, 1])
    idx = g.f("Mul", g.op("Log", [g.f("Add", level, 0.3)]), 1 / (codec.LADDER * math.log(2)))
    gain = (1 + net.level_gain).detach().numpy()[None, :, None, None]
    idx = g.op("Mul", [g.f("Add", idx, 1.0), g.param("level_gain", gain)])
    r = g.op("Abs", [r])
    k = g.f("Mul", g.clip(g.op("Concat", [y, r], axis=1), -24.0, 24.0), 0.25)
    k = g.relu(g.linear(k, "hyper_a", net.hyper_a))
    k = g.gather_linear(g.relu(g.gather_linear(k, "hyper_b", net.hyper_b)), "hyper_c", net.hyper_c)
    if t.z > net.n_idx:
        head, tail = g.op("Split", [k, g.const([net.n_idx, t.z - net.n_idx], dtype=np.int64)], n=2, axis=1)
        head = g.relu(g.add(g.f("Mul", head, 4.0), idx))
        z = g.op("Concat", [head, tail], axis=1)
    else:
        z = g.relu(g.add(g.f("Mul", k, 4.0), idx))
    keep = g.op("Sub", [g.const(1.0), g.op("Cast", ["skip"], to=TensorProto.FLOAT)])
    # Where all 16 blocks are skipped z is zero, and the bitstream need not send it.
    z = g.mul(z, g.op("MaxPool", [keep], kernel_shape=[4, 4], strides=[4, 4]))
    z = g.op("Round", [g.clip(z, -float(codec.Z_MAX), float(codec.Z_MAX))])
    g.op("Cast", [z], out="z", to=TensorProto.INT8)
    # Symbols, anchors first.
    mean, step, f = g.hyper(z, prior)
    live, dead = g.mul(g.live(z), keep), g.dead(z)
    one, other = g.board(z)
    s1 = g.mul(g.quantise(g.op("Div", [g.op("Sub", [y, mean]), step]), dead), g.mul(live, one))
    anchors = g.mul(g.add(g.mul(s1, step), mean), one)
    mean2 = g.add(mean, g.mul(g.refine(anchors, f), other))
    s2 = g.mul(g.quantise(g.op("Div", [g.op("Sub", [y, mean2]), step]), dead), g.mul(live, other))
    sym = g.clip(g.add(s1, s2), -32000.0, 32000.0)
    g.op("Cast", [sym], out="sym", to=TensorProto.INT16)
    g.synthesis(g.add(g.mul(sym, step), mean2), ctx, pred, q)
    inputs = [("y", TensorProto.UINT8, [1, 1, "H", "W"]), ("uv", TensorProto.UINT8, [1, 2, "H2", "W2"])]
    skip = [("skip", TensorProto.UINT8, [1, 1, "H16", "W16"])]
    outputs = [("z", TensorProto.INT8, [1, t.z, "H64", "W64"]), ("sym", TensorProto.INT16, [1, t.y, "H16", "W16"])]
    return g.model(inputs + g.common_inputs() + skip, outputs + g.pictures(), props)


# --- ten bits --------------------------------------------------------------------------------

PICTURES = {"y", "uv", "pred_y", "pred_uv", "rec_y", "rec_uv"}


def ten_bits(model):
    """The same network for samples of ten bits: quarters of the levels that it knows.

    Only where samples come in and go out does the graph change. Runtimes shuffle bytes and floats, but not
    16-bit integers, so that is done in floats here.
    """
    deep = onnx.ModelProto()
    deep.CopyFrom(model)
    samples = {i.name for i in deep.graph.initializer if i.data_type == TensorProto.UINT8}
    g = Graph()
    g.count = 10**6  # no name that is there already
    for node in deep.graph.node:
        if node.op_type == "SpaceToDepth" and node.input[0] in PICTURES:
            node.input[0] = g.op("Cast", [node.input[0]], to=TensorProto.FLOAT)
            g.nodes.append(node)
        elif node.op_type == "DepthToSpace" and node.output[0] in PICTURES:
            picture, node.output[0] = node.output[0], g.name("shuffled")
            g.nodes.append(node)
            g.op("Cast", [node.output[0]], out=picture, to=TensorProto.UINT16)
        elif node.op_type == "DequantizeLinear" and node.input[2] in samples:
            x = g.f("Sub", node.input[0], 512.0)
            g.op("Mul", [x, g.const(codec.PIXEL_SCALE / 4)], out=node.output[0])
        elif node.op_type == "QuantizeLinear" and node.input[2] in samples:
            x = g.op("Round", [g.f("Mul", node.input[0], 4 / codec.PIXEL_SCALE)])
            g.op("Clip", [g.f("Add", x, 512.0), g.const(0.0), g.const(1023.0)], out=node.output[0])
        else:
            g.nodes.append(node)
    used = {name for node in g.nodes for name in node.input}
    inits = [i for i in [*deep.graph.initializer, *g.inits] if i.name in used]
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in g.nodes]
    del deep.graph.node[:], deep.graph.initializer[:]
    deep.graph.node.extend(nodes)
    deep.graph.initializer.extend(inits)
    for port in [*deep.graph.input, *deep.graph.output]:
        if port.name in PICTURES:
            port.type.tensor_type.elem_type = TensorProto.UINT16
    helper.set_model_props(deep, {p.key: p.value for p in model.metadata_props} | {"aicodec.bit-depth": "10"})
    onnx.checker.check_model(deep, full_check=True)
    return deep


def stem(tier):
    """How the names of a tier's files begin; tier K belongs to S."""
    return "s-key" if tier == "K" else tier.lower()


def write_ten_bits(out, tier):
    """Beside the graphs of eight bits, those of ten; gives their hashes."""
    hashes = {}
    for side in ("encode", "decode"):
        raw = ten_bits(onnx.load(os.path.join(out, f"{stem(tier)}-{side}.onnx"))).SerializeToString()
        name = f"{stem(tier)}-{side}10.onnx"
        store(out, name, raw)
        hashes[name] = hashlib.sha256(raw).hexdigest()
    return hashes


def verify_ten_bits(out, tier):
    """Pictures of eight bits, coded as such and as ten: what eight bits round away is all that may differ."""
    import onnxruntime as ort

    open_ = lambda name: ort.InferenceSession(os.path.join(out, f"{stem(tier)}-{name}.onnx"), providers=["CPUExecutionProvider"])
    eight, ten, decoder = open_("encode"), open_("encode10"), open_("decode10")
    h, w = 192, 320
    rng = np.random.default_rng(5)
    y = np.kron(rng.integers(30, 220, (h // 16, w // 16)), np.ones((16, 16))) + rng.normal(0, 3, (h, w))
    uv = np.kron(rng.integers(90, 160, (2, h // 32, w // 32)), np.ones((16, 16)))
    flat = lambda *shape: np.full(shape, 128, np.uint8)
    m = next(i.shape[1] for i in eight.get_inputs() if i.name == "state")
    given = {
        "y": y.clip(0, 255).astype(np.uint8)[None, None],
        "uv": uv.astype(np.uint8)[None],
        "pred_y": flat(1, 1, h, w),
        "pred_uv": flat(1, 2, h // 2, w // 2),
        "state": np.zeros((1, m, h // 8, w // 8), np.int8),
        "skip": np.zeros((1, 1, h // 16, w // 16), np.uint8),
        "quality": np.array([40], np.int64),
    }
    names = ("z", "sym", "rec_y", "rec_uv", "new_state")
    a = dict(zip(names, eight.run(names, given)))
    deep = {k: v.astype(np.uint16) * 4 if k in PICTURES else v for k, v in given.items()}
    b = dict(zip(names, ten.run(names, deep)))
    fed = {k: deep[k] for k in ("pred_y", "pred_uv", "state", "quality")} | {"z": b["z"], "sym": b["sym"]}
    d = dict(zip(names[2:], decoder.run(names[2:], fed)))
    recs = ("rec_y", "rec_uv")
    return {
        "symbols_differ": float((a["sym"] != b["sym"]).mean()),
        "encoder_decoder_max": int(max(np.abs(d[k].astype(int) - b[k]).max() for k in recs)),
        "from_eight_bits_max": float(max(np.abs(b[k] / 4 - a[k]).max() for k in recs)),
    }


# --- entropy tables --------------------------------------------------------------------------


def normalise(counts):
    """Counts [n] -> u16 frequencies >= 1 that sum to 1 << PROB_BITS."""
    total = 1 << PROB_BITS
    n = len(counts)
    p = counts / counts.sum()
    freq = 1 + np.floor(p * (total - n)).astype(np.int64)
    rest = total - freq.sum()
    order = np.argsort(-(p * (total - n) - np.floor(p * (total - n))), kind="stable")
    freq[order[:rest]] += 1
    assert freq.sum() == total and freq.min() >= 1
    return freq.astype(np.uint16)


def laplace_row(scale, top, idx):
    k = np.arange(top + 1)
    d = float(codec.dead_zone(torch.tensor(float(idx))))
    mass = np.where(k == 0, 1 - np.exp((d - 1) / scale), np.exp(-(k - d) / scale) - np.exp(-(k + 1 - d) / scale))
    tail = np.exp(-(top + 1 - d) / scale)
    row = np.concatenate([mass[:0:-1] / 2, mass[:1], mass[1:] / 2, [tail]])
    return np.maximum(row, 1e-9)


# Largest number that a channel adds to its scale index, or takes from it.
LARGEST_OFFSET = 8
# Rows of 1/16 in a tile: all rows of the pictures that are counted, as in streams.
TILE_ROWS = 24


class Counts:
    """Symbol counts of real coded frames, in the contexts of the bitstream."""

    def __init__(self, tier):
        self.z = np.zeros((tier.z, codec.Z_CTX, 2 * codec.Z_MAX + 2))
        self.z_by_quality = np.zeros((codec.GROUPS, tier.z, 2 * codec.Z_MAX + 2))
        # By channel, so that each may have its own offset of the scale index.
        self.y = np.zeros((tier.y, codec.IDX_MAX, codec.LEVELS * codec.CTX, 2 * Y_MAX + 2))

    def add(self, net, z, sym, skip, last, q, tile_rows=TILE_ROWS):
        n = net.n_idx
        idx = z[..., :n].abs().repeat_interleave(4, 1).repeat_interleave(4, 2).repeat_interleave(4, 3).long()
        coded = idx > 0
        if skip is not None:
            coded = coded & (skip == 0).expand_as(coded)
        ctx = codec.activity_levels(sym) * codec.CTX + codec.contexts(sym, last, tile_rows)
        s = sym.long()
        s = torch.where(s.abs() > Y_MAX, Y_MAX + 1, s) + Y_MAX
        channel = torch.arange(sym.shape[-1]).expand_as(s)
        _, _, contexts, width = self.y.shape
        flat = (((channel * codec.IDX_MAX + idx - 1) * contexts + ctx) * width + s)[coded]
        np.add.at(self.y.reshape(-1), flat.numpy(), 1)
        # Where all blocks are skipped, z is not coded.
        live = torch.ones(z.shape[:-1], dtype=torch.bool)
        if skip is not None:
            b, h, w, _ = skip.shape
            live = (skip == 0).reshape(b, h // 4, 4, w // 4, 4).any(4).any(2)
        z = torch.where(live[..., None], z, torch.zeros_like(z)).long()
        width = self.z.shape[-1]
        channel = torch.arange(z.shape[-1]).expand_as(z)
        value = z + codec.Z_MAX
        flat = ((channel * codec.Z_CTX + codec.z_contexts(z, tile_rows)) * width + value)[live]
        np.add.at(self.z.reshape(-1), flat.reshape(-1).numpy(), 1)
        group = (q // codec.GROUPS).long()[:, None, None, None].expand_as(z)
        flat = (group * z.shape[-1] + channel) * width + value
        np.add.at(self.z_by_quality.reshape(-1), flat.reshape(-1).numpy(), 1)

    def moved(self, offsets):
        """Counts by scale index, context and symbol, every channel's index moved by its offset; no sign is more
        likely than the other."""
        sym = np.zeros(self.y.shape[1:])
        for channel, offset in enumerate(offsets):
            np.add.at(sym, self.index(offset), self.y[channel])
        sym[..., :-1] = (sym[..., :-1] + sym[..., -2::-1]) / 2
        return sym

    @staticmethod
    def index(offset):
        return np.clip(np.arange(codec.IDX_MAX) + offset, 0, codec.IDX_MAX - 1)

    def y_tables(self, offsets):
        """Smoothed: each context leans on its index, each index on a Laplace ladder."""
        sym = self.moved(offsets)
        y = np.zeros(sym.shape, np.uint16)
        scales = codec.laplace_scales().numpy()[1:]
        for i in range(codec.IDX_MAX):
            near = sym[max(0, i - 1) : i + 2].sum((0, 1))
            base = laplace_row(float(scales[i]), Y_MAX, i + 1)
            whole = sym[i].sum(0) + 0.1 * near + 60 * base / base.sum()
            for c in range(sym.shape[1]):
                # A rare level leans on the same neighbours at the levels beside it.
                beside = sym[i, [k for k in (c - codec.CTX, c + codec.CTX) if 0 <= k < sym.shape[1]]].sum(0)
                lean = 0.7 * beside / max(beside.sum(), 1) + 0.3 * whole / whole.sum()
                y[i, c] = normalise(sym[i, c] + 25 * lean)
        return y

    def offsets(self, rounds=3):
        """What each channel adds to its scale index: what makes its symbols cheapest, in turns with the tables."""
        offsets = np.zeros(len(self.y), np.int64)
        choices = np.arange(-LARGEST_OFFSET, LARGEST_OFFSET + 1)
        for _ in range(rounds):
            bits = PROB_BITS - np.log2(self.y_tables(offsets).astype(float))
            # A little against moving channels that are hardly ever coded.
            cost = np.stack([(self.y * bits[self.index(o)]).sum((1, 2, 3)) + abs(o) for o in choices], 1)
            offsets = choices[cost.argmin(1)]
        return offsets

    def z_tables(self):
        """Smoothed: each context leans on its channel, on the channels beside it and on all of them."""
        part = lambda counts: (counts + 0.01) / (counts + 0.01).sum(-1, keepdims=True)
        k = np.arange(-codec.Z_MAX, codec.Z_MAX + 2)
        z = np.zeros(self.z.shape, np.uint16)
        own, every = part(self.z.sum(1)), part(self.z.sum(0))
        for c, context in np.ndindex(self.z.shape[:2]):
            beside = part(self.z[[i for i in (c - 1, c + 1) if 0 <= i < len(self.z)], context].sum(0))
            lean = 0.4 * own[c] + 0.3 * every[context] + 0.3 * beside
            row = self.z[c, context] + 8 * lean + 0.3 * np.exp(-np.abs(k) / 6.0)
            row[-1] = 0.01
            z[c, context] = normalise(row)
        return z

    def tables(self):
        """z, y, and the channels' offsets."""
        offsets = self.offsets()
        return self.z_tables(), self.y_tables(offsets), offsets


def table_bytes(z, y, offsets, sets=None):
    head = struct.pack(
        "<4s8H", b"AICT", loop_filter.UNFILTERED if sets is None else loop_filter.FILTERED, PROB_BITS, z.shape[0], z.shape[1], codec.Z_MAX, y.shape[0], y.shape[1], Y_MAX
    )
    # For four times as many channels as z has.
    offsets = np.pad(offsets.astype(np.int8), (0, 4 * len(z) - len(offsets)))
    filters = b"" if sets is None else loop_filter.numbers(sets).tobytes()
    return head + z.astype("<u2").tobytes() + y.astype("<u2").tobytes() + offsets.tobytes() + filters


def read_tables(raw):
    magic, version, bits, zc, z_contexts, z_max, idx, ctx, y_max = struct.unpack_from("<4s8H", raw)
    assert magic == b"AICT" and version in (loop_filter.UNFILTERED, loop_filter.FILTERED) and bits == PROB_BITS
    n = z_contexts * zc * (2 * z_max + 2)
    m = n + idx * ctx * (2 * y_max + 2)
    body = np.frombuffer(raw, "<u2", m, offset=20)
    offsets = np.frombuffer(raw, np.int8, 4 * zc, offset=20 + 2 * m)
    return body[:n].reshape(zc, z_contexts, -1), body[n:m].reshape(idx, ctx, 2 * y_max + 2), offsets


def decide_skip(y, py, q):
    """The encoder's rule of thumb for copied blocks: little luma left, against the quantiser step."""
    sad = torch.nn.functional.avg_pool2d((y - py).abs(), 16)
    steps = torch.tensor([codec.start_step(float(v)) for v in q])
    return (sad < SKIP * steps[:, None, None, None]).float()


class Coder:
    """Codes frames in torch, as the Rust encoder drives the graphs. Planes float [B,...].

    `sets`: weights of the loop filter for key frames and for others, where there are any; `fit` gathers
    what they are fitted from, for the frames of one kind.
    """

    def __init__(self, net, key_net=None, sets=(None, None), fit=None, fit_keys=False):
        self.net, self.key_net, self.sets, self.fit, self.fit_keys = net, key_net, sets, fit, fit_keys
        self.warp = Warp()
        self.restart()

    def restart(self):
        self.rec = self.state = self.last = None

    def __call__(self, y, uv, mv, q):
        """Symbols y and z, and the skip flags (None for a key frame)."""
        key = self.rec is None
        net = self.key_net if key and self.key_net else self.net
        x = codec.to_net(y, uv)
        skip = None
        if key:
            pred = torch.zeros_like(x)
            self.state = torch.zeros(*x.shape[:3], net.tier.m)
            self.last = None
        else:
            py, puv = self.warp(*self.rec, mv)
            pred = codec.to_net(py, puv)
            skip = decide_skip(y, py, q).permute(0, 2, 3, 1)
        out, self.state, sym, _, _, z = net.frame(x, pred, self.state, q, skip=skip, last=self.last, hard=True)
        ry, ruv = codec.from_net(out)
        ry, ruv = torch.floor(ry + 0.5).clamp(0, 255), torch.floor(ruv + 0.5).clamp(0, 255)
        if skip is not None:
            big = skip.permute(0, 3, 1, 2)
            ky = big.repeat_interleave(16, 2).repeat_interleave(16, 3)
            kc = big.repeat_interleave(8, 2).repeat_interleave(8, 3)
            ry, ruv = ry * (1 - ky) + py * ky, ruv * (1 - kc) + puv * kc
        sets = self.sets[0 if key else 1]
        for i in range(len(ry)):
            luma, chroma = ry[i, 0].numpy().astype(np.int32), ruv[i].numpy().astype(np.int32)
            still = np.zeros((luma.shape[0] // 16, luma.shape[1] // 16), bool) if skip is None else skip[i, ..., 0].numpy() > 0
            still = np.stack([still, still])
            source = y[i, 0].numpy().astype(np.int32)
            if self.fit is not None and key == self.fit_keys:
                self.fit.add(luma, chroma, source, uv[i].numpy().astype(np.int32), still)
            if sets is not None:
                luma, chroma, _ = loop_filter.choose(luma, chroma, source, sets, still)
                ry[i, 0], ruv[i] = (torch.from_numpy(plane.astype(np.float32)) for plane in (luma, chroma))
        self.rec = ry, ruv
        # Symbols of a network of their own are no context.
        self.last = None if key and self.key_net else sym
        return sym, z, skip


def coded(coder, segments, batches, frames, seed):
    """Codes training runs, qualities spread; gives symbols, z, skip flags, contexts and qualities."""
    rng = random.Random(seed)
    for _ in range(batches):
        ys, uvs, mvs = (torch.from_numpy(v) for v in segments.batch(rng, 4, frames, 256, 192))
        q = torch.tensor([(16 * b + rng.randrange(16)) for b in range(4)])
        coder.restart()
        for t in range(frames):
            qt = (q + (codec.KEY_BOOST if t == 0 else codec.CYCLE[t % 4])).clamp(0, codec.QUALITIES - 1)
            if coder.net.tier.name == "K":
                qt = q
            last = coder.last
            sym, z, skip = coder(ys[:, t : t + 1].float(), uvs[:, t].float(), mvs[:, t], qt)
            yield t, sym, z, skip, last, qt


def fit_filters(net, segments, batches, key_net=None, key_sets=None, frames=6, seed=21):
    """The loop filter's sets: first for frames predicted from unfiltered ones, then for what those sets lead to."""
    alone = net.tier.name == "K"
    sets = None
    for _ in range(1 if alone else 2):
        fit = loop_filter.Fit()
        coder = Coder(net, key_net, (key_sets, sets), fit, fit_keys=alone)
        for _ in coded(coder, segments, batches * (frames if alone else 1), 1 if alone else frames, seed):
            pass
        sets = fit.sets()
    return sets


def fit_tables(net, segments, batches, frames=12, seed=11, key_net=None, sets=(None, None)):
    """Counts over training segments (for tier K: stills). Where key frames have a network of their own,
    they are not counted."""
    if net.tier.name == "K":
        batches, frames = batches * frames, 1
    counts = Counts(net.tier)
    for t, sym, z, skip, last, q in coded(Coder(net, key_net, sets), segments, batches, frames, seed):
        if t or key_net is None:
            counts.add(net, z, sym, skip, last, q)
    return counts


@torch.no_grad()
def calibrate(net, segments, batches=4):
    """Sets the rate models of training from real symbols: quicker than waiting for gradients."""
    counts = fit_tables(net, segments, batches, frames=8, seed=17)
    # Smooth: a jagged table has slopes that mean nothing.
    z = counts.z_by_quality[..., :-1] + 0.2 * counts.z_by_quality[..., :-1].sum(0)
    z = z / np.maximum(z.sum(-1, keepdims=True), 1)
    for _ in range(2):
        wide = np.pad(z, ((0, 0), (0, 0), (1, 1)), mode="edge")
        z = 0.25 * wide[..., :-2] + 0.5 * wide[..., 1:-1] + 0.25 * wide[..., 2:]
    net.z_logits.copy_(torch.log(torch.from_numpy(z) + 2e-3).float())
    k = np.abs(np.arange(-Y_MAX, Y_MAX + 2))
    y = counts.y.sum(0).reshape(codec.IDX_MAX, codec.LEVELS, codec.CTX, -1).sum(1)
    total = y.sum(-1)
    seen = torch.from_numpy(total > 300)
    mean = torch.from_numpy((y * k).sum(-1) / np.maximum(total, 1)).clamp(min=0.002)
    fitted = torch.log2(codec.laplace_scales(mean, torch.arange(1, codec.IDX_MAX + 1)[:, None]))
    net.log_scale[1:].copy_(torch.where(seen, fitted, net.log_scale[1:]))


def half_weights(net):
    """What the graphs hold: matrices rounded to bfloat16 within fp16's range, depthwise ones to fp16."""
    with torch.no_grad():
        for m in net.modules():
            if isinstance(m, (torch.nn.Linear, torch.nn.Conv2d)):
                dense = getattr(m, "groups", 1) == 1
                weight = m.weight.bfloat16() if dense else m.weight
                m.weight.copy_(weight.half().float())


def load_net(path, ema=True):
    saved = torch.load(path, map_location="cpu", weights_only=False)
    net = codec.Codec(saved["tier"])
    net.load_state_dict({k: v.float() for k, v in saved["ema" if ema else "net"].items()})
    half_weights(net)
    return net.eval(), saved


def verify(out, tier, w=1280, h=768):
    """Symbols cross without loss and pictures agree between sessions, options, threads and torch."""
    import onnxruntime as ort

    net, _ = verify.net
    rng = np.random.default_rng(3)
    sessions = {}
    for level in ("off", "on"):
        for threads in (1, 2):
            o = ort.SessionOptions()
            o.intra_op_num_threads = threads
            o.graph_optimization_level = (
                ort.GraphOptimizationLevel.ORT_DISABLE_ALL if level == "off" else ort.GraphOptimizationLevel.ORT_ENABLE_ALL
            )
            o.add_session_config_entry("session.set_denormal_as_zero", "1")
            for side in ("encode", "decode"):
                path = os.path.join(out, f"{stem(tier)}-{side}.onnx")
                sessions[side, level, threads] = ort.InferenceSession(path, o, providers=["CPUExecutionProvider"])
    y = np.kron(rng.integers(30, 220, (h // 32, w // 32)), np.ones((32, 32))) + rng.normal(0, 4, (h, w))
    y = torch.nn.functional.avg_pool2d(torch.from_numpy(y)[None, None], 5, 1, 2).numpy().clip(0, 255)
    uv = y.reshape(h // 2, 2, w // 2, 2).mean((1, 3))
    uv = np.stack([uv * 0.3 + 90, 160 - uv * 0.3])
    frame = {"y": y[0, 0][None, None], "uv": uv[None]}
    frame = {k: v.astype(np.uint8) for k, v in frame.items()}
    pred = {"pred_y": np.full((1, 1, h, w), 128, np.uint8), "pred_uv": np.full((1, 2, h // 2, w // 2), 128, np.uint8)}
    state = np.zeros((1, net.tier.m, h // 8, w // 8), np.int8)
    skip = np.zeros((1, 1, h // 16, w // 16), np.uint8)
    result = {}
    for i in range(3):
        quality = np.array([30], np.int64)
        enc_in = {**frame, **pred, "state": state, "quality": quality, "skip": skip}
        names = ("z", "sym", "rec_y", "rec_uv", "new_state")
        e = dict(zip(names, sessions["encode", "on", 2].run(names, enc_in)))
        worst, state_worst = 0, 0
        dec_in = {**pred, "state": state, "quality": quality, "z": e["z"], "sym": e["sym"]}
        for level in ("off", "on"):
            for threads in (1, 2):
                dy, duv, ds = sessions["decode", level, threads].run(("rec_y", "rec_uv", "new_state"), dec_in)
                worst = max(worst, np.abs(dy.astype(int) - e["rec_y"]).max(), np.abs(duv.astype(int) - e["rec_uv"]).max())
                state_worst = max(state_worst, np.abs(ds.astype(int) - e["new_state"]).max())
        with torch.no_grad():
            t = lambda a: torch.from_numpy(a)
            x = codec.to_net(t(frame["y"]).float(), t(frame["uv"]).float())
            p = codec.to_net(t(pred["pred_y"]).float(), t(pred["pred_uv"]).float())
            s = t(state).float().permute(0, 2, 3, 1) / codec.STATE_SCALE
            o, _, sym, _, _, z = net.frame(x, p, s, t(quality), skip=t(skip).float().permute(0, 2, 3, 1), hard=True)
            ry, _ = codec.from_net(o)
            ry = torch.floor(ry + 0.5).clamp(0, 255).numpy()
        differ = (sym.permute(0, 3, 1, 2).numpy() != e["sym"]).mean()
        far = np.abs(ry - e["rec_y"])
        result[f"frame{i}"] = {
            "encoder_decoder_max": int(worst),
            "state_max": int(state_worst),
            "torch_symbols_differ": float(differ),
            "torch_picture_mean_abs": float(far.mean()),
        }
        pred = {"pred_y": e["rec_y"], "pred_uv": e["rec_uv"]}
        state = e["new_state"]
        frame = {k: np.roll(v, 3, -1) for k, v in frame.items()}
    result["ten_bits"] = verify_ten_bits(out, tier)
    for side, feed in (("encode", enc_in), ("decode", dec_in)):
        s = sessions[side, "on", 2]
        s.run(None, feed)
        cpu, wall = time.process_time(), time.time()
        for _ in range(5):
            s.run(None, feed)
        result[side + "_ms"] = round((time.time() - wall) * 200, 1)
        result[side + "_cpu_ms"] = round((time.process_time() - cpu) * 200, 1)
    return result


def store(out, name, raw):
    temp = os.path.join(out, name + ".part")
    with open(temp, "wb") as f:
        f.write(raw)
    os.replace(temp, os.path.join(out, name))


def weights_hash(net):
    weights = hashlib.sha256()
    for k, v in sorted(net.state_dict().items()):
        weights.update(k.encode() + v.numpy().tobytes())
    return weights.hexdigest()


def segments_of(cache, tier):
    return data.Segments(cache, "still" if tier == "K" else "seg")


def write(net, saved, out, cache, batches, key=None, clips=None):
    """Writes all files. Without a cache of clips the loop filter stays as it is. `key`: network and filters of
    key frames, where they have their own. `clips`: a folder of training clips; the tables are then counted from what the real encoder
    makes of them. Without either the tables stay. Gives hashes, properties, and the filters."""
    os.makedirs(out, exist_ok=True)
    file = os.path.join(out, f"{stem(saved['tier'])}-tables.bin")
    key_net, key_sets = key or (None, None)
    if cache is None:
        with open(file, "rb") as f:
            tables = f.read()
        sets = loop_filter.read(file)
    else:
        segments = segments_of(cache, saved["tier"])
        with torch.no_grad():
            sets = fit_filters(net, segments, batches, key_net, key_sets)
            if key:
                print(f"{file}: its filters are fitted behind the network, streams have them behind the residual: filters.py is next", flush=True)
            both = (key_sets, sets) if key else (sets, sets)
            counts = fit_tables(net, segments, batches, key_net=key_net, sets=both)
        tables = table_bytes(*counts.tables(), sets)
    hashes, props = write_graphs(net, saved, out, tables)
    if clips:
        # The encoder needs tables, its choices hardly depend on them: what it makes with these gives the ones to keep.
        key_tier = key_net.tier if key else net.tier
        counts = real_encoder.count(Counts(net.tier), net, real_encoder.Encoder(out, net.tier, key_tier), clips)
        hashes, props = write_graphs(net, saved, out, table_bytes(*counts.tables(), sets))
    return hashes | write_ten_bits(out, saved["tier"]), props, sets


def write_graphs(net, saved, out, tables):
    """The graphs of eight bits, tied to these tables; hashes and properties."""
    name = stem(saved["tier"])
    props = {
        "aicodec.version": "1",
        "aicodec.tier": saved["tier"],
        "aicodec.tables-sha256": hashlib.sha256(tables).hexdigest(),
        "aicodec.steps": str(saved["step"]),
        "aicodec.weights-sha256": weights_hash(net),
    }
    files = {
        f"{name}-encode.onnx": encode_graph(net, props).SerializeToString(),
        f"{name}-decode.onnx": decode_graph(net, props).SerializeToString(),
        f"{name}-tables.bin": tables,
    }
    for file, raw in files.items():
        store(out, file, raw)
    return {n: hashlib.sha256(r).hexdigest() for n, r in files.items()}, props


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", default=os.path.join(here, "..", "runs", "codec-s"))
    parser.add_argument("--key-run", help="of the network of key frames (tier K), if they have their own")
    parser.add_argument("--cache", default=os.path.join(here, "..", ".cache", "codec"))
    parser.add_argument("--out", required=True)
    parser.add_argument("--batches", type=int, default=24, help="batches of 4 segments for the tables")
    parser.add_argument("--clips", help="training clips to count the tables of predicted frames on, as release.py does; else the segments are")
    parser.add_argument("--raw", action="store_true", help="the current weights instead of their average")
    args = parser.parse_args()
    torch.set_num_threads(1)
    key = None
    for run in filter(None, (args.key_run, args.run)):
        net, saved = load_net(os.path.join(run, "last.pt"), not args.raw)
        hashes, props, sets = write(net, saved, args.out, args.cache, args.batches, key, None if saved["tier"] == "K" else args.clips)
        verify.net = (net, saved)
        print(json.dumps({"files": hashes, "props": props, "verify": verify(args.out, saved["tier"])}, indent=1))
        key = net, sets
