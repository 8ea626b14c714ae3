# SPDX-License-Identifier: Apache-2.0
"""The codec network: tiers, layers, a start that is already a transform codec.

Activations are [B, H, W, C] (a 1x1 convolution is then one matrix product).
Layers that the bitstream's encoder and decoder share are called by both in the
same order; the entropy tables depend on coded integers alone.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F


@dataclass(frozen=True)
class Tier:
    name: str
    c: int  # features at 1/8
    m: int  # state at 1/8
    y: int  # latents at 1/16
    z: int  # hyper-latents at 1/64
    p: int  # entropy parameters at 1/16


TIERS = {
    "S": Tier("S", 64, 32, 128, 32, 96),
    # The size of K and the state of S, whose network of key frames it shares.
    "M": Tier("M", 96, 32, 192, 48, 128),
    "L": Tier("L", 128, 64, 192, 64, 160),
    # Of key frames alone, beside a tier of the same state.
    "K": Tier("K", 96, 32, 192, 48, 128),
}

SAMPLES = 96  # 64 luma + 32 chroma samples of one position at 1/8
QUALITIES = 64
# The encoder's own: what frames get beside their run's quality, key frames and the four of a cycle of others. (Key frames got 28
# when the networks that are shipped were trained.)
KEY_BOOST, CYCLE = 24, (-6, -3, -6, 9)
KNOTS = 8
GROUPS = 8
IDX_MAX = 31
CTX = 6
GROUP = 4  # channels that share a scale index
RECENT = 4  # groups whose magnitudes make a block's activity
LEVELS = 5
Z_MAX = 31
Z_CTX = 16
STATE_SCALE = 16.0
PIXEL_SCALE = 1 / 32.0
# |v| is rounded down below k + 1 - d. d of the encoder's guess at a group's level:
DEAD_ZONE = 0.27
# and of symbols, by their scale index: from the least at index 1 to the most. What is rarely not zero
# costs many bits when it is.
DEAD_LEAST, DEAD_MOST, DEAD_SPAN = 0.12, 0.42, 8
RATE_MIX = 0.5
LADDER = 0.6  # octaves between scale indices
LAMBDA_LOW, LAMBDA_HIGH = 0.0012, 0.12


def quality_lambda(q):
    return LAMBDA_LOW * (LAMBDA_HIGH / LAMBDA_LOW) ** (q / (QUALITIES - 1))


def start_step(q):
    """Quantiser step in grey levels at which the transform start is near its best slope."""
    return 3.0 / math.sqrt(quality_lambda(q))


def dead_zone(idx):
    """d of symbols whose scale index is idx."""
    return DEAD_LEAST + (DEAD_MOST - DEAD_LEAST) / DEAD_SPAN * (idx - 1).clamp(0, DEAD_SPAN)


def ladder():
    """Mean absolute symbol that idx 0..31 stands for; idx 1 is one +-1 in a group of 64."""
    i = torch.arange(IDX_MAX + 1, dtype=torch.float64)
    return 2.0 ** (LADDER * (i - 1)) / 64


def laplace_scales(want=None, idx=None):
    """Laplace scale b whose dead-zone symbols have mean m: e^(-t/b) / (1 - e^(-1/b)) = m, t = 1 - d(idx)."""
    want = ladder() if want is None else want.double()
    idx = torch.arange(IDX_MAX + 1) if idx is None else idx
    threshold = 1 - dead_zone(idx.double())
    low, high = torch.full_like(want, 0.02), torch.full_like(want, 1e4)
    for _ in range(80):
        b = (low * high).sqrt()
        over = torch.exp(-threshold / b) / -torch.expm1(-1 / b) > want
        low, high = torch.where(over, low, b), torch.where(over, b, high)
    return b.float()


def round_st(x):
    return x + (torch.round(x) - x).detach()


def quantise_st(v, dead=DEAD_ZONE):
    """Rounds with a dead zone; the gradient passes."""
    q = torch.sign(v) * torch.floor(v.abs() + dead)
    return v + (q - v).detach()


def unshuffle(x, r):
    b, c, h, w = x.shape
    x = x.reshape(b, c, h // r, r, w // r, r)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(b, h // r, w // r, c * r * r)


def shuffle(x, c, r):
    """[B,H,W,c*r*r] -> [B,c,H*r,W*r]; channel order c, dy, dx."""
    b, h, w, _ = x.shape
    return x.reshape(b, h, w, c, r, r).permute(0, 3, 1, 4, 2, 5).reshape(b, c, h * r, w * r)


def spread(x, r=2):
    """[B,H,W,r*r*C] -> [B,H*r,W*r,C]; channel order dy, dx, C (ONNX DepthToSpace, DCR)."""
    b, h, w, k = x.shape
    c = k // (r * r)
    return x.reshape(b, h, w, r, r, c).permute(0, 1, 3, 2, 4, 5).reshape(b, h * r, w * r, c)


def gather2(x):
    """[B,2H,2W,C] -> [B,H,W,4C], the inverse of spread."""
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(b, h // 2, w // 2, 4 * c)


def both(layer, a, b):
    """A linear layer over the concatenation of a and b, without the copy."""
    n = a.shape[-1]
    return F.linear(a, layer.weight[:, :n], layer.bias) + F.linear(b, layer.weight[:, n:])


class Depthwise(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, padding=1, groups=c)

    def forward(self, x):
        return self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Conv3(nn.Module):
    def __init__(self, cin, cout, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, 3, padding=1, stride=stride)

    def forward(self, x):
        return self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.a = nn.Linear(c, c)
        self.d = Depthwise(c)
        self.b = nn.Linear(c, c)
        self.u = nn.Linear(c, c)
        self.v = nn.Linear(c // 2, c)
        # A block starts as the identity, so the transform start survives.
        with torch.no_grad():
            self.b.weight.mul_(0.02)
            self.b.bias.zero_()
            self.v.weight.mul_(0.02)
            self.v.bias.zero_()
            self.d.conv.weight.mul_(0.5)
            self.d.conv.weight[:, 0, 1, 1] += 0.5

    def forward(self, x):
        x = x + self.b(self.d(F.relu(self.a(x))))
        n = self.u.weight.shape[0] // 2
        p = F.linear(x, self.u.weight[:n], self.u.bias[:n])
        g = F.linear(x, self.u.weight[n:], self.u.bias[n:])
        return x + self.v(p * F.relu(g))


def _dct(n):
    k = torch.arange(n, dtype=torch.float64)
    m = torch.cos(math.pi / n * (k[None, :] + 0.5) * k[:, None]) * math.sqrt(2 / n)
    m[0] /= math.sqrt(2)
    return m


def transform_start(c, y):
    """Bases over the 96 samples at 1/8 (c of them) and over 4x96 at 1/16 (y of them).

    Returns embed [c, 96] (orthonormal rows), down [y, 2, 2, c] and the spatial
    frequency of each feature (for scaling).
    """
    d8, d4, d16 = _dct(8), _dct(4), _dct(16)

    def order(n, weight):
        f = [((u * u + v * v) ** 0.5 * 8 / n * weight, u, v) for u in range(n) for v in range(n)]
        return sorted(f)

    chroma = 2.2  # a chroma frequency counts as this much luma frequency
    pool = [(f, 0, u, v) for f, u, v in order(8, 1.0)] + [
        (f * chroma + 1.5, p, u, v) for p in (1, 2) for f, u, v in order(4, 0.5)
    ]
    pool = sorted(pool)[:c]
    embed = torch.zeros(c, SAMPLES, dtype=torch.float64)
    for i, (_, p, u, v) in enumerate(pool):
        if p == 0:
            embed[i, :64] = torch.outer(d8[u], d8[v]).reshape(-1)
        else:
            embed[i, 64 + 16 * (p - 1) : 80 + 16 * (p - 1)] = torch.outer(d4[u], d4[v]).reshape(-1)
    freq = torch.tensor([f for f, *_ in pool], dtype=torch.float64)
    pool = [(f, 0, u, v) for f, u, v in order(16, 1.0)] + [
        (f * chroma + 1.5, p, u, v) for p in (1, 2) for f, u, v in order(8, 0.5)
    ]
    pool = sorted(pool)[:y]
    down = torch.zeros(y, 2, 2, c, dtype=torch.float64)
    for i, (_, p, u, v) in enumerate(pool):
        full = torch.zeros(2, 2, SAMPLES, dtype=torch.float64)
        if p == 0:
            basis = torch.outer(d16[u], d16[v])
            for dy in (0, 1):
                for dx in (0, 1):
                    full[dy, dx, :64] = basis[dy * 8 : dy * 8 + 8, dx * 8 : dx * 8 + 8].reshape(-1)
        else:
            basis = torch.outer(d8[u], d8[v])
            for dy in (0, 1):
                for dx in (0, 1):
                    full[dy, dx, 64 + 16 * (p - 1) : 80 + 16 * (p - 1)] = basis[
                        dy * 4 : dy * 4 + 4, dx * 4 : dx * 4 + 4
                    ].reshape(-1)
        down[i] = full @ embed.T
    # More features than samples: the rest starts empty, and is for the network to fill.
    spare = c - len(freq)
    freq = F.pad(freq, (0, spare), value=float(freq[-1]))
    return embed.float(), down.float(), freq.float()


def contexts(sym, last, tile_rows):
    """Neighbour context of every symbol: 0..5. Causal, inside one tile, exact."""
    a = sym.abs()
    h = a.shape[1]
    pad = F.pad(a, (0, 0, 2, 1, 2, 0))
    in_tile = torch.arange(h, device=a.device)[None, :, None, None] % tile_rows
    north, nw, ne = pad[:, 1:-1, 2:-1], pad[:, 1:-1, 1:-2], pad[:, 1:-1, 3:]
    up = (2 * north + nw + ne) * (in_tile > 0) + pad[:, :-2, 2:-1] * (in_tile > 1)
    m = 2 * pad[:, 2:, 1:-2] + pad[:, 2:, :-3] + up
    if last is not None:
        m = m + 2 * last.abs()
    bounds = torch.tensor([0.5, 2.5, 4.5, 8.5, 16.5], device=a.device)
    return torch.bucketize(m, bounds)


def z_contexts(z, tile_rows):
    """Context of every hyper-latent: 0..15. Of tiles of `tile_rows` rows of 1/16.

    The shipped tables have it; the trainer's rate model goes by the quality.
    """
    a = z.abs().long()
    b, h, w, c = a.shape
    pad = F.pad(a, (2, 0, 1, 0, 1, 0))
    west, north = pad[:, 1:, :-1, 2:], pad[:, :-1, 1:, 2:]
    before = pad[:, 1:, 1:, 1:-1] + pad[:, 1:, 1:, :-2]
    left = (torch.arange(w, device=a.device) > 0)[None, None, :, None].expand_as(a)
    above = (torch.arange(h, device=a.device) % (tile_rows // 4) > 0)[None, :, None, None].expand_as(a)
    around = (left * west + above * north) * (2 - (left & above).long())
    m = torch.where(left | above, (around + 2 * before + 1) // 3, before)
    return m.clamp(max=Z_CTX - 1)


def activity_levels(sym):
    """Level of what was coded of the block before each group of four channels: 0..4.

    The shipped tables have it beside `contexts`; the trainer's rate model does without.
    """
    b, h, w, c = sym.shape
    sums = sym.abs().reshape(b, h, w, c // GROUP, GROUP).sum(-1)
    total = torch.zeros_like(sums)
    for back in range(1, RECENT + 1):
        total[..., back:] += sums[..., :-back]
    bounds = torch.tensor([0.5, 2.5, 6.5, 15.5], device=sym.device)
    return torch.bucketize(total, bounds).repeat_interleave(GROUP, -1)


class CameApart(Exception):
    """The network makes numbers without bounds of a frame, as it can where a prediction is bad everywhere."""


class Codec(nn.Module):
    def __init__(self, tier="S"):
        super().__init__()
        t = self.tier = TIERS[tier]
        c, m, y, z, p = t.c, t.m, t.y, t.z, t.p
        self.n_idx = y // 4
        embed, down, freq = transform_start(c, y)
        # Tame the large low frequencies inside the network.
        gain = (1 + freq) ** 0.5 / 2.0
        self.embed = nn.Linear(SAMPLES, c)  # residual against the prediction
        self.pred_in = nn.Linear(SAMPLES, c)
        self.state_in = nn.Linear(m, c)
        self.context = nn.ModuleList([Block(c), Block(c)])
        self.enc_in = nn.Linear(2 * c, c)
        self.enc = nn.ModuleList([Block(c) for _ in range(3)])
        self.down = Conv3(c, y, 2)
        self.prior_in = nn.Linear(4 * c, p)
        self.prior = Block(p)
        self.prior_mean = nn.Linear(p, y)  # what the hyper-encoder may expect without z
        self.hyper_a = nn.Linear(2 * y, z)
        self.hyper_b = nn.Linear(4 * z, z)
        self.hyper_c = nn.Linear(4 * z, z)
        self.level_gain = nn.Parameter(torch.zeros(self.n_idx))
        self.hyper_d = nn.Linear(z, 4 * z)
        self.hyper_e = nn.Linear(z, 4 * z)
        self.fuse_in = nn.Linear(p + z, p)
        self.fuse = nn.ModuleList([Block(p), Block(p)])
        self.fuse_out = nn.Linear(p, 2 * y)
        self.check = Conv3(y, 64)
        self.check_in = nn.Linear(p, 64)
        self.check_mid = nn.Linear(64, 64)
        self.check_out = nn.Linear(64, y)
        self.up = nn.Linear(y, 4 * c)
        self.dec_in = nn.Linear(2 * c, c)
        self.dec = nn.ModuleList([Block(c) for _ in range(3)])
        self.state_out = nn.Linear(c, m)
        self.recon = nn.ModuleList([Block(c), Block(c)])
        self.out = nn.Linear(c, SAMPLES)
        self.gate = nn.Linear(c, SAMPLES)
        # Per quality, interpolated from knots: log2 of scales, and a bias for the context.
        steps = torch.tensor([start_step(i * 9) for i in range(KNOTS)]) * PIXEL_SCALE
        self.q_scale = nn.Parameter((-torch.log2(steps))[:, None].repeat(1, y))
        self.q_back = nn.Parameter((torch.log2(steps))[:, None].repeat(1, y))
        self.q_bias = nn.Parameter(torch.zeros(KNOTS, c))
        self.q_prior = nn.Parameter(torch.zeros(KNOTS, p))
        # Rate models of training; the shipped tables are counts.
        self.log_scale = nn.Parameter(torch.log2(laplace_scales())[:, None] + torch.linspace(-0.7, 0.7, CTX)[None, :])
        prior = torch.zeros(GROUPS, z, 2 * Z_MAX + 1)
        k = torch.arange(-Z_MAX, Z_MAX + 1, dtype=torch.float32)
        prior[:, : self.n_idx] = torch.where(k < 0, torch.full_like(k, -8.0), -0.3 * k)
        prior[:, self.n_idx :] = -0.9 * k.abs()
        self.z_logits = nn.Parameter(prior)
        with torch.no_grad():
            for layer in (self.embed, self.enc_in, self.dec_in, self.out, self.up):
                layer.bias.zero_()
            self.embed.weight.copy_(gain[:, None] * embed)
            eye = torch.eye(c)
            self.enc_in.weight.mul_(0.05)
            self.enc_in.weight[:, :c] += eye
            self.down.conv.weight.mul_(0.02)
            self.down.conv.bias.zero_()
            # 3x3 with padding 1 and stride 2: taps 1 and 2 cover the 2x2 group.
            inner = (down / gain).permute(0, 3, 1, 2)
            self.down.conv.weight[:, :, 1:, 1:] += inner
            self.up.weight.copy_((down * gain).permute(1, 2, 3, 0).reshape(4 * c, y))
            self.dec_in.weight.mul_(0.05)
            self.dec_in.weight[:, :c] += eye
            self.out.weight.copy_((embed / gain[:, None]).T)
            self.gate.weight.mul_(0.05)
            self.gate.bias.fill_(6.0)
            for layer in (self.hyper_c, self.fuse_out, self.check_out, self.prior_mean):
                layer.weight.mul_(0.1)
                layer.bias.zero_()

    # --- pieces that encoder and decoder share -------------------------------------

    def knots(self, table, q):
        """Rows of a [KNOTS, n] table at quality q [B], as [B,1,1,n]."""
        at = q.float() * ((KNOTS - 1) / (QUALITIES - 1))
        low = at.floor().clamp(max=KNOTS - 2).long()
        f = (at - low)[:, None]
        return (table[low] * (1 - f) + table[low + 1] * f)[:, None, None, :]

    def make_context(self, pred, state, q):
        h = self.pred_in(pred) + self.state_in(state)
        h = h + self.knots(self.q_bias, q).to(h.dtype)  # the residual stream stays bf16
        for b in self.context:
            h = b(h)
        return h

    def make_prior(self, ctx, q):
        t = self.prior_in(gather2(ctx))
        t = F.relu(t + self.knots(self.q_prior, q).to(t.dtype))
        return self.prior(t)

    def hyper_out(self, z, prior):
        """z (integers) and the temporal prior -> mean, step, features at 1/16."""
        h = F.relu(spread(self.hyper_d(z * 0.125)))
        h = spread(self.hyper_e(h))
        f = self.fuse_in(torch.cat([prior, h], -1))
        for b in self.fuse:
            f = b(f)
        mean, step = self.fuse_out(f).chunk(2, -1)
        return mean, torch.exp2(step.clamp(-1, 1)), f

    def refine(self, anchors, f):
        r = F.relu(self.check(anchors) + self.check_in(f))
        return self.check_out(F.relu(self.check_mid(r)))

    def synthesis(self, y, ctx, pred, q):
        u = spread(self.up(y * torch.exp2(self.knots(self.q_back, q))))
        h = both(self.dec_in, u, ctx)
        for b in self.dec:
            h = b(h)
        state = round_st((self.state_out(h).float() * STATE_SCALE).clamp(-127, 127)) / STATE_SCALE
        for b in self.recon:
            h = b(h)
        # sigmoid(gate) * pred, written so that bf16 keeps the prediction's last bit.
        return self.out(h) + (pred - torch.sigmoid(-self.gate(h)) * pred), state

    # --- encoder side ----------------------------------------------------------------

    def analysis(self, x, pred, ctx, q):
        h = both(self.enc_in, self.embed(x - pred), ctx)
        for b in self.enc:
            h = b(h)
        return self.down(h).float() * torch.exp2(self.knots(self.q_scale, q))

    def hyper_in(self, y, prior):
        """Continuous z. The scale indices start from the measured level of each group."""
        r = y - self.prior_mean(prior).float()
        b, h, w, c = r.shape
        level = quantise_st(r).abs().reshape(b, h // 4, 4, w // 4, 4, c // 4, 4).sum((2, 4, 6))
        idx = 1 + torch.log2(level + 0.3) / LADDER
        k = self.hyper_a(torch.cat([y, r.abs()], -1).clamp(-24, 24) * 0.25)
        k = F.relu(self.hyper_b(gather2(F.relu(k))))
        k = self.hyper_c(gather2(k)).float()
        head = k[..., : self.n_idx] * 4 + idx * (1 + self.level_gain)
        return torch.cat([head, k[..., self.n_idx :]], -1)

    # --- a training frame ---------------------------------------------------------------

    def frame(self, x, pred, state, q, skip=None, last=None, tile_rows=8, hard=False, alike=False):
        """One frame. x, pred [B,h,w,96] in network units; state [B,h,w,M]. `alike`: pred, state and q are
        the same for all of the batch.

        Returns the output samples, new state, symbols, bits of y and z (each [B]); raises `CameApart`.
        """
        if alike:
            # What nothing predicts has the same context in all pictures.
            ctx = self.make_context(pred[:1], state[:1], q[:1])
            prior = self.make_prior(ctx, q[:1]).expand(len(x), -1, -1, -1)
            ctx = ctx.expand(len(x), -1, -1, -1)
        else:
            ctx = self.make_context(pred, state, q)
            prior = self.make_prior(ctx, q)
        y = self.analysis(x, pred, ctx, q)
        raw = self.hyper_in(y, prior)
        if not torch.isfinite(raw).all():
            raise CameApart
        # An index is not negative. Below zero only the picture may pull (so that a dead
        # group can wake); if the rate could push there, every index would drift to zero.
        zc = torch.cat([F.relu(raw[..., : self.n_idx]), raw[..., self.n_idx :]], -1).clamp(-Z_MAX, Z_MAX)
        z = raw + (torch.round(zc) - raw).detach()
        mean, step, f = self.hyper_out(z, prior)
        mean, step = mean.float(), step.float()
        head = z[..., : self.n_idx]
        near = lambda v: v.repeat_interleave(4, 1).repeat_interleave(4, 2).repeat_interleave(4, 3)
        live = near(head.clamp(max=1))  # 0 where idx is 0
        paid = zc[..., : self.n_idx]
        paid = near((paid + (torch.round(paid) - paid).detach()).clamp(max=1))  # the same, for the rate
        if skip is not None:
            live, paid = live * (1 - skip), paid * (1 - skip)
        b, h, w, c = y.shape
        board = (torch.arange(h, device=y.device)[:, None] + torch.arange(w, device=y.device)[None]) % 2
        board = (board == 0).float()[None, :, :, None]
        dead = near(dead_zone(head.detach()))
        v1 = (y - mean) / step
        s1 = quantise_st(v1, dead) * live * board
        anchors = (s1 * step + mean) * board
        mean2 = mean + self.refine(anchors, f).float() * (1 - board)
        v = (y - mean2) / step
        sym = torch.where(board.bool(), s1, quantise_st(v, dead) * live)
        y_hat = sym * step + mean2
        out, new_state = self.synthesis(y_hat, ctx, pred, q)
        if not torch.isfinite(out).all():
            raise CameApart
        if hard:
            v, zn = sym, z
        else:
            # Rate near the coded symbol, slope of the value itself. Uniform noise
            # would charge the dead zone's values for symbols that are never sent.
            mix = (sym + RATE_MIX * (v - sym)).detach()
            v, zn = mix + v - v.detach(), zc
        bits_y = self.bits_y(v, sym.detach(), near((z if hard else zc)[..., : self.n_idx].abs()), paid, last, tile_rows)
        bits_z = self.bits_z(zn.clamp(-Z_MAX, Z_MAX), q)
        return out.float(), new_state, sym, bits_y, bits_z, z

    def bits_y(self, v, sym, idx, live, last, tile_rows):
        with torch.no_grad():
            ctx = contexts(sym, last, tile_rows)
        low = idx.detach().floor().clamp(0, IDX_MAX - 1)
        frac = idx.clamp(0, IDX_MAX) - low
        low = low.long() * CTX + ctx
        flat = self.log_scale.reshape(-1)
        ls = flat[low] * (1 - frac) + flat[low + CTX] * frac
        scale = torch.exp2(ls).clamp(min=0.02)
        # Laplace mass of the dead-zone quantiser's bins, and a smooth way from 0 to 1.
        a = v.abs()
        dead = dead_zone(idx.detach())
        zero = -torch.log1p(-torch.exp((dead - 1) / scale)) / math.log(2)
        more = 1 - torch.log2(-torch.expm1(-1 / scale)) + (a.clamp(min=1) - dead) / (scale * math.log(2))
        bits = zero + (more - zero) * a.clamp(max=1).square()
        return (bits * live).sum((1, 2, 3))

    def bits_z(self, z, q):
        logp = -F.log_softmax(self.z_logits, -1) / math.log(2)
        table = logp[(q // GROUPS).long()]  # B, Z, n
        low = z.detach().floor().clamp(max=Z_MAX - 1)
        f = z - low
        b = z.shape[0]
        k = (low.long() + Z_MAX).reshape(b, -1, z.shape[-1]).transpose(1, 2)
        f = f.reshape(b, -1, z.shape[-1]).transpose(1, 2)
        r = table.gather(2, k) * (1 - f) + table.gather(2, k + 1) * f
        return r.sum((1, 2))


def to_net(y, uv):
    """Planes in 0..255 -> [B,h/8,w/8,96]."""
    return (torch.cat([unshuffle(y, 8), unshuffle(uv, 4)], -1) - 128) * PIXEL_SCALE


def from_net(x):
    x = x / PIXEL_SCALE + 128
    return shuffle(x[..., :64], 1, 8), shuffle(x[..., 64:], 2, 4)
