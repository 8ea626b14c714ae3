# SPDX-License-Identifier: Apache-2.0
"""A classifier of the V-JEPA 2 family as an ONNX graph, written node by node.

Weights go by transformers' names, so that the published models and ours are built by
the same code. Fixed clip and picture size, free batch; rotary cosines and sines are
constants (TensorRT rejects the condition that an automatic export leaves there); the
patch embedding is a reshape and a product instead of a 3-D convolution; the class
predictor's masked half, which classification does not use, is not there.
"""

import dataclasses
import json
import pathlib

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from model import rotary_tables

# Smaller tensors stay in the ONNX file itself.
EXTERNAL_FROM = 1024


@dataclasses.dataclass(frozen=True)
class Family:
    frames: int
    size: int
    tubelet: int
    patch: int
    width: int
    depth: int
    heads: int
    pooler_depth: int
    classes: int
    eps: float

    @staticmethod
    def of(config):
        """From transformers' VJEPA2Config."""
        if config.hidden_act != "gelu" or config.in_chans != 3 or not isinstance(config.patch_size, int):
            raise SystemExit("only RGB models with GELU and square patches can be exported")
        return Family(
            frames=config.frames_per_clip, size=config.crop_size, tubelet=config.tubelet_size, patch=config.patch_size,
            width=config.hidden_size, depth=config.num_hidden_layers, heads=config.num_attention_heads,
            pooler_depth=config.num_pooler_layers, classes=config.num_labels, eps=config.layer_norm_eps,
        )

    @property
    def grid(self):
        side = self.size // self.patch
        return self.frames // self.tubelet, side, side

    @property
    def tokens(self):
        t, h, w = self.grid
        return t * h * w

    @property
    def head_dim(self):
        return self.width // self.heads


class Graph:
    """`store`: how weights of products are kept: float32, float16 (cast to `compute` where they
    are used, which runtimes fold when they load the model) or int8 (a scale for each output,
    inputs quantised as they come)."""

    def __init__(self, compute=np.float32, store=np.float32, data=None):
        self.compute, self.store, self.data, self.offset = np.dtype(compute), np.dtype(store), data, 0
        self.nodes, self.initialisers, self.count, self.known = [], [], 0, {}

    def constant(self, value, dtype=None):
        value = np.asarray(value, dtype or self.compute, order="C")
        key = (value.dtype.str, value.shape, hash(value.tobytes()))
        if key not in self.known:  # layers share their tables
            name = f"c{len(self.known)}"
            self.known[key] = name
            self.initialisers.append(self.external(name, value) if self.data and value.nbytes >= EXTERNAL_FROM else numpy_helper.from_array(value, name))
        return self.known[key]

    def external(self, name, value):
        tensor = TensorProto(name=name, data_type=helper.np_dtype_to_tensor_dtype(value.dtype), dims=value.shape)
        tensor.data_location = TensorProto.EXTERNAL
        self.data.write(bytes(-self.offset % 64))
        self.offset += -self.offset % 64
        entries = {"location": pathlib.Path(self.data.name).name, "offset": self.offset, "length": value.nbytes}
        for key, text in entries.items():
            tensor.external_data.add(key=key, value=str(text))
        self.data.write(value.tobytes())
        self.offset += value.nbytes
        return tensor

    def op(self, kind, *inputs, outputs=1, **attributes):
        self.count += 1
        names = [f"{kind.lower()}{self.count}" + (f"_{i}" if outputs > 1 else "") for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=names[0], **attributes))
        return names[0] if outputs == 1 else names

    def cast(self, x, dtype):
        return self.op("Cast", x, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def reshape(self, x, *shape):
        return self.op("Reshape", x, self.constant(shape, np.int64))

    def product(self, x, weight, exact=False):
        """x times `weight` [out, in] transposed."""
        weight = np.ascontiguousarray(weight.detach().float().numpy().T)
        if self.store != np.int8 or exact:
            store = self.compute if self.store == np.int8 else self.store
            w = self.constant(weight, store)
            return self.op("MatMul", x, w if store == self.compute else self.cast(w, self.compute))
        scale = np.maximum(np.abs(weight).max(axis=0), 1e-12) / 127
        integer = self.constant(np.rint(weight / scale).clip(-127, 127), np.int8)
        q, step, zero = self.op("DynamicQuantizeLinear", x, outputs=3)
        y = self.cast(self.op("MatMulInteger", q, integer, zero, self.constant(0, np.int8)), np.float32)
        return self.op("Mul", y, self.op("Mul", step, self.constant(scale.astype(np.float32))))

    def linear(self, x, weight, bias, exact=False):
        y = self.product(x, weight, exact)
        return y if bias is None else self.op("Add", y, self.constant(bias.detach().float().numpy()))


class Builder:
    def __init__(self, graph, family, weights, fused_attention):
        self.g, self.f, self.w, self.fused = graph, family, weights, fused_attention

    def params(self, name):
        return self.w[f"{name}.weight"], self.w.get(f"{name}.bias")

    def linear(self, x, name, exact=False):
        return self.g.linear(x, *self.params(name), exact)

    def norm(self, x, name):
        w, b = (self.g.constant(p.detach().float().numpy()) for p in self.params(name))
        return self.g.op("LayerNormalization", x, w, b, axis=-1, epsilon=self.f.eps)

    def gelu(self, x):
        g = self.g
        erf = g.op("Erf", g.op("Div", x, g.constant(2**0.5)))  # the form that ONNX Runtime knows
        return g.op("Mul", g.op("Mul", x, g.op("Add", erf, g.constant(1.0))), g.constant(0.5))

    def mlp(self, x, name):
        return self.linear(self.gelu(self.linear(x, f"{name}.fc1")), f"{name}.fc2")

    def heads(self, x, count):
        """[B*n,count*width] -> [B,count*heads,n,head_dim]."""
        x = self.g.reshape(x, -1, self.f.tokens, count * self.f.heads, self.f.head_dim)
        return self.g.op("Transpose", x, perm=[0, 2, 1, 3])

    def attend(self, q, k, v):
        """q already scaled; [B,heads,n,head_dim] each -> [B*n,width]."""
        g = self.g
        scores = g.op("MatMul", q, g.op("Transpose", k, perm=[0, 1, 3, 2]))
        out = g.op("MatMul", g.op("Softmax", scores, axis=-1), v)
        return g.reshape(g.op("Transpose", out, perm=[0, 2, 1, 3]), -1, self.f.width)

    def attend_fused(self, q, k, v):
        """One operator of ONNX Runtime, which never holds all scores of a head."""
        g, f = self.g, self.f
        q, k, v = (g.reshape(g.op("Transpose", x, perm=[0, 2, 1, 3]), 0, -1, f.width) for x in (q, k, v))
        y = g.op("MultiHeadAttention", q, k, v, domain="com.microsoft", num_heads=f.heads, scale=1.0)
        return g.reshape(y, -1, f.width)

    def self_attention(self, x, names, out, rotary):
        """One product makes queries, keys and values."""
        g, f = self.g, self.f
        (wq, bq), (wk, bk), (wv, bv) = (self.params(name) for name in names)
        if rotary:
            # Within each head: first all even numbers, then all odd ones, so that turning a pair
            # exchanges two halves. Scores do not change when both sides change their order.
            order = torch.arange(f.width).view(f.heads, -1, 2).transpose(1, 2).reshape(-1)
            wq, wk = wq[order], wk[order]
            bq, bk = (b if b is None else b[order] for b in (bq, bk))
        bias = None if bq is None else torch.cat([bq, bk, bv])
        y = g.linear(x, torch.cat([wq, wk, wv]), bias)
        y = self.heads(y, 3)
        both, v = g.op("Split", y, g.constant([2 * f.heads, f.heads], np.int64), outputs=2, axis=1)
        if rotary:
            cos, sin = rotary_tables(f)
            half = f.head_dim // 2
            order = order[: f.head_dim]
            # The scale of the scores is in the tables, half of it on either side.
            cos, sin = (table[:, order] * f.head_dim**-0.25 for table in (cos, sin))
            sin = torch.cat([-sin[:, :half], sin[:, half:]], 1)
            a, b = g.op("Split", both, g.constant([half, half], np.int64), outputs=2, axis=3)
            turned = g.op("Mul", g.op("Concat", b, a, axis=3), g.constant(sin.numpy()))
            both = g.op("Add", g.op("Mul", both, g.constant(cos.numpy())), turned)
        q, k = g.op("Split", both, g.constant([f.heads, f.heads], np.int64), outputs=2, axis=1)
        if not rotary:
            q = g.op("Mul", q, g.constant(f.head_dim**-0.5))
        attended = (self.attend_fused if self.fused else self.attend)(q, k, v)
        return self.linear(attended, out)

    def layer(self, x, names, out, norms, mlp, rotary):
        x = self.g.op("Add", x, self.self_attention(self.norm(x, norms[0]), names, out, rotary))
        return self.g.op("Add", x, self.mlp(self.norm(x, norms[1]), mlp))

    def classifier(self, video):
        g, f = self.g, self.f
        t, h, w = f.grid
        x = g.reshape(video, -1, t, f.tubelet, 3, h, f.patch, w, f.patch)
        x = g.op("Transpose", x, perm=[0, 1, 4, 6, 3, 2, 5, 7])
        # Tokens of all clips in one dimension: runtimes join a bias to a product of two matrices.
        x = g.reshape(x, -1, 3 * f.tubelet * f.patch**2)
        embed, bias = self.params("vjepa2.encoder.embeddings.patch_embeddings.proj")
        x = g.linear(x, embed.reshape(f.width, -1), bias, exact=True)
        for i in range(f.depth):
            at = f"vjepa2.encoder.layer.{i}"
            names = [f"{at}.attention.{p}" for p in ("query", "key", "value")]
            x = self.layer(x, names, f"{at}.attention.proj", (f"{at}.norm1", f"{at}.norm2"), f"{at}.mlp", True)
        x = self.norm(x, "vjepa2.encoder.layernorm")
        for i in range(f.pooler_depth):
            at = f"pooler.self_attention_layers.{i}"
            names = [f"{at}.self_attn.{p}_proj" for p in "qkv"]
            x = self.layer(x, names, f"{at}.self_attn.out_proj", (f"{at}.layer_norm1", f"{at}.layer_norm2"), f"{at}.mlp", False)
        # The pooler's query does not depend on the clip: only its product with the keys does.
        at = "pooler.cross_attention_layer"
        query = self.w["pooler.query_tokens"].detach().float()[0]
        wq, bq = self.params(f"{at}.cross_attn.q_proj")
        q = (torch.nn.functional.linear(query, wq.float(), bq.float()) * f.head_dim**-0.5).view(1, f.heads, 1, f.head_dim)
        (wk, bk), (wv, bv) = (self.params(f"{at}.cross_attn.{p}_proj") for p in "kv")
        kv = g.linear(self.norm(x, f"{at}.layer_norm1"), torch.cat([wk, wv]), torch.cat([bk, bv]))
        k, v = g.op("Split", self.heads(kv, 2), g.constant([f.heads] * 2, np.int64), outputs=2, axis=1)
        pooled = g.op("Add", self.attend(g.constant(q.numpy()), k, v), g.constant(query.numpy()))
        pooled = g.op("Add", pooled, self.mlp(self.norm(pooled, f"{at}.layer_norm2"), f"{at}.mlp"))
        return self.linear(pooled, "classifier", exact=True)


def build(family, weights, metadata, path, compute="float32", store="float32", fused_attention=False, external=False):
    """Writes the model to `path` (weights beside it with `external`)."""
    path = pathlib.Path(path)
    data = open(path.with_name(path.name + ".data"), "wb") if external else None
    g = Graph(compute, store, data)
    builder = Builder(g, family, weights, fused_attention)
    video = "pixel_values_videos"
    with torch.no_grad():
        logits = builder.classifier(video if g.compute == np.float32 else g.cast(video, g.compute))
    g.nodes.append(helper.make_node("Cast", [logits], ["logits"], to=TensorProto.FLOAT))
    if g.compute == np.float32:  # nothing to cast
        g.nodes.pop()
        g.nodes[-1].output[0] = "logits"
    opsets = [helper.make_opsetid("", 17)]
    if fused_attention:
        opsets.append(helper.make_opsetid("com.microsoft", 1))
    f = family
    graph = helper.make_graph(
        g.nodes,
        metadata["name"],
        [helper.make_tensor_value_info(video, TensorProto.FLOAT, ["batch", f.frames, 3, f.size, f.size])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", f.classes])],
        g.initialisers,
    )
    made = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="gst-aivideo")
    helper.set_model_props(made, metadata)
    if data:
        data.close()
    path.write_bytes(made.SerializeToString())
    onnx.checker.check_model(str(path), full_check=not fused_attention)
    return made


def text(numbers):
    return ",".join(str(n) for n in numbers)


def metadata(about):
    """The sidecar's entries as metadata of an ONNX file, which are texts."""
    def entry(key, value):
        return "\n".join(value) if key == "labels" else text(value) if isinstance(value, (list, tuple)) else str(value)

    return {key: entry(key, value) for key, value in about.items()}


def write_sidecar(path, about):
    pathlib.Path(path).with_suffix(".json").write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n")
