# SPDX-License-Identifier: Apache-2.0
"""A small video classifier of the V-JEPA 2 family.

Same structure as `VJEPA2ForVideoClassification`: tubelet patch embedding, pre-norm
vision transformer whose queries and keys carry a three-axis rotary position
(frame, row, column), an attentive pooler (self attention, then one learned query
that attends to all tokens) and a linear head.  Only the width and depth differ.
"""

import dataclasses
import math

import torch
from torch import nn
from torch.nn import functional as F


@dataclasses.dataclass(frozen=True)
class Config:
    frames: int = 16
    size: int = 64
    tubelet: int = 2
    patch: int = 16
    width: int = 160
    depth: int = 5
    heads: int = 5
    mlp_ratio: int = 4
    pooler_depth: int = 1
    classes: int = 20
    flow_layer: int = 3  # the auxiliary flow head reads the tokens after this layer

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


def rotary_tables(cfg):
    """Cosines and sines [tokens, head_dim] of the family's rotary position.

    A third of the head (rounded down to even) turns with the frame index, a third
    with the row, a third with the column; what is left passes.  The published
    model tiles the angles (a0 a1 .. a0 a1 ..) although it rotates neighbouring
    pairs (x0 x1); weights trained with that are only right with that, so it is
    kept here too.
    """
    t, h, w = cfg.grid
    part = 2 * ((cfg.head_dim // 3) // 2)
    omega = 1.0 / 10000 ** (torch.arange(part // 2, dtype=torch.float64) / (part / 2))
    index = torch.arange(cfg.tokens)
    cos = torch.ones(cfg.tokens, cfg.head_dim, dtype=torch.float64)
    sin = torch.zeros(cfg.tokens, cfg.head_dim, dtype=torch.float64)
    positions = (index // (h * w), index // w % h, index % w)
    for axis, position in enumerate(positions):
        angle = (position[:, None] * omega).repeat(1, 2)
        cos[:, axis * part : (axis + 1) * part] = angle.cos()
        sin[:, axis * part : (axis + 1) * part] = angle.sin()
    return cos.float(), sin.float()


def turned_rows(cfg):
    """Row order and sign that turn a projection W into R W, R(x0, x1) = (-x1, x0)."""
    rows = torch.arange(cfg.width).view(-1, 2).flip(1).reshape(-1)
    sign = torch.tensor([-1.0, 1.0]).repeat(cfg.width // 2)
    return rows, sign


def attend(q, k, v):
    """Plain attention: at this many tokens it trains twice as fast on a CPU as with the
    fused kernel, whose backward pass is slow there."""
    weights = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    return weights.softmax(-1).to(v.dtype) @ v


class Mlp(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.fc1 = nn.Linear(cfg.width, cfg.width * cfg.mlp_ratio)
        self.fc2 = nn.Linear(cfg.width * cfg.mlp_ratio, cfg.width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class SelfAttention(nn.Module):
    def __init__(self, cfg, rotary):
        super().__init__()
        self.heads, self.rotary = cfg.heads, rotary
        self.qkv = nn.Linear(cfg.width, 3 * cfg.width)
        self.proj = nn.Linear(cfg.width, cfg.width)
        if rotary:
            cos, sin = rotary_tables(cfg)
            rows, sign = turned_rows(cfg)
            self.register_buffer("cos", cos, persistent=False)
            self.register_buffer("sin", sin, persistent=False)
            self.register_buffer("rows", torch.cat([rows, rows + cfg.width]), persistent=False)
            self.register_buffer("sign", sign.repeat(2), persistent=False)

    def forward(self, x, keep=None):
        b, n, d = x.shape
        weight, bias = self.qkv.weight, self.qkv.bias
        if self.rotary:
            # The quarter-turned queries and keys come out of the same product:
            # one wider matmul is far cheaper than shuffling pairs of activations.
            weight = torch.cat([weight, weight[self.rows] * self.sign[:, None]])
            bias = torch.cat([bias, bias[self.rows] * self.sign])
        y = F.linear(x, weight, bias).view(b, n, -1, self.heads, d // self.heads)
        q, k, v, *turned = y.permute(2, 0, 3, 1, 4).unbind(0)
        if self.rotary:
            cos, sin = self.cos.to(q.dtype), self.sin.to(q.dtype)
            if keep is not None:
                cos, sin = cos[keep], sin[keep]
            q = q * cos + turned[0] * sin
            k = k * cos + turned[1] * sin
        out = attend(q, k, v)
        return self.proj(out.transpose(1, 2).reshape(b, n, d))


class Layer(nn.Module):
    def __init__(self, cfg, rotary):
        super().__init__()
        self.norm1 = nn.LayerNorm(cfg.width, eps=1e-6)
        self.attention = SelfAttention(cfg, rotary)
        self.norm2 = nn.LayerNorm(cfg.width, eps=1e-6)
        self.mlp = Mlp(cfg)

    def forward(self, x, keep=None):
        x = x + self.attention(self.norm1(x), keep)
        return x + self.mlp(self.norm2(x))


class CrossLayer(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.heads = cfg.heads
        self.norm1 = nn.LayerNorm(cfg.width, eps=1e-6)
        self.q = nn.Linear(cfg.width, cfg.width)
        self.kv = nn.Linear(cfg.width, 2 * cfg.width)
        self.norm2 = nn.LayerNorm(cfg.width, eps=1e-6)
        self.mlp = Mlp(cfg)

    def forward(self, query, x):
        b, n, d = x.shape
        q = self.q(query).view(b, -1, self.heads, d // self.heads).transpose(1, 2)
        kv = self.kv(self.norm1(x)).view(b, n, 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        out = attend(q, *kv.unbind(0))
        query = query + out.transpose(1, 2).reshape(b, -1, d)
        return query + self.mlp(self.norm2(query))


class MotionClassifier(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.embed = nn.Linear(3 * cfg.tubelet * cfg.patch**2, cfg.width)
        self.layers = nn.ModuleList(Layer(cfg, True) for _ in range(cfg.depth))
        self.norm = nn.LayerNorm(cfg.width, eps=1e-6)
        self.query = nn.Parameter(torch.zeros(1, 1, cfg.width))
        self.pool = nn.ModuleList(Layer(cfg, False) for _ in range(cfg.pooler_depth))
        self.cross = CrossLayer(cfg)
        self.head = nn.Linear(cfg.width, cfg.classes)
        self.flow = nn.Sequential(nn.LayerNorm(cfg.width), nn.Linear(cfg.width, 2))
        self.apply(self._init)
        nn.init.trunc_normal_(self.query, std=0.02)
        for i, layer in enumerate([*self.layers, *self.pool]):
            for out in (layer.attention.proj, layer.mlp.fc2):
                out.weight.data.div_(math.sqrt(2.0 * (i + 1)))

    @staticmethod
    def _init(module):
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)

    def patches(self, video):
        """[B,T,3,S,S] -> [B,tokens,3*tubelet*patch*patch], the order of a Conv3d kernel."""
        c = self.cfg
        t, h, w = c.grid
        x = video.view(-1, t, c.tubelet, 3, h, c.patch, w, c.patch)
        return x.permute(0, 1, 4, 6, 3, 2, 5, 7).reshape(-1, c.tokens, self.embed.in_features)

    def forward(self, video, keep=None):
        """Logits [B,classes] and the auxiliary flow [B,tokens,2] (training only).

        `keep`: indices of the tokens to go on with; training sees most clips through a
        random half of them, which costs half and loses little."""
        x = self.patches(video)
        x = self.embed(x if keep is None else x[:, keep])
        flow = None
        for i, layer in enumerate(self.layers):
            x = layer(x, keep)
            if i + 1 == self.cfg.flow_layer:
                flow = self.flow(x)
        x = self.norm(x)
        for layer in self.pool:
            x = layer(x)
        query = self.cross(self.query.expand(x.shape[0], -1, -1).to(x.dtype), x)
        return self.head(query[:, 0]), flow
