# SPDX-License-Identifier: Apache-2.0
"""Block motion: the search on source frames, and the warp of the decoded frame.

The warp uses the interpolation filters of the bitstream (HEVC's DCT-IF) and its overlap in
float; rounding gives the integer decoder's picture exactly, because
every product and sum is an integer below 2**24.
"""

import os
import struct
import subprocess

import numpy as np
import torch

BLOCK = 8  # a vector's luma samples, each way

LUMA_TAPS = np.array(
    [
        [0, 0, 0, 64, 0, 0, 0, 0],
        [-1, 4, -10, 58, 17, -5, 1, 0],
        [-1, 4, -11, 40, 40, -11, 4, -1],
        [0, 1, -5, 17, 58, -10, 4, -1],
    ],
    dtype=np.int32,
)
CHROMA_TAPS = np.array(
    [
        [0, 64, 0, 0],
        [-2, 58, 10, -2],
        [-4, 54, 16, -2],
        [-6, 46, 28, -4],
        [-4, 36, 36, -4],
        [-4, 28, 46, -6],
        [-2, 16, 54, -4],
        [-2, 10, 58, -2],
    ],
    dtype=np.int32,
)


# 64ths of the neighbouring part's prediction by the distance to its edge.
LUMA_LEAN = [16, 8, 4, 0]
CHROMA_LEAN = [12, 2]


def warp_reference(plane, mv, block, taps):
    """Integer reference in numpy: one plane, one vector a block.

    `mv` is [rows, cols, 2] (dx, dy) in units of 1/len(taps) sample.
    """
    h, w = plane.shape
    n, k = taps.shape
    lead = k // 2 - 1
    out = np.zeros((h, w), np.uint8)
    for by in range(h // block):
        for bx in range(w // block):
            dx, dy = int(mv[by, bx, 0]), int(mv[by, bx, 1])
            ys = np.clip(np.arange(block + k - 1) + by * block + dy // n - lead, 0, h - 1)
            xs = np.clip(np.arange(block + k - 1) + bx * block + dx // n - lead, 0, w - 1)
            patch = plane[np.ix_(ys, xs)].astype(np.int32)
            tx, ty = taps[dx % n], taps[dy % n]
            rows = sum(patch[:, i : i + block] * tx[i] for i in range(k))
            both = sum(rows[i : i + block] * ty[i] for i in range(k))
            out[by * block : (by + 1) * block, bx * block : (bx + 1) * block] = np.clip(
                (both + 2048) >> 12, 0, 255
            )
    return out


def lean_reference(plane, mv, block, taps, lean):
    """`warp_reference` with overlap: parts lean towards what their neighbours' vectors predict."""
    h, w = plane.shape
    own = warp_reference(plane, mv, block, taps).astype(np.int32)
    weight = np.array(lean + lean[::-1])  # by the place in a part
    total = 64 * own + 32
    for axis, size in ((0, h), (1, w)):
        before = np.roll(mv, 1, axis)
        after = np.roll(mv, -1, axis)
        by = [warp_reference(plane, m, block, taps).astype(np.int32) for m in (before, after)]
        at = np.arange(size)
        first = at % block < block // 2
        there = np.where(first, at >= block, at < size - block)
        share = weight[at % block] * there
        if axis == 0:
            first, share = first[:, None], share[:, None]
        total += share * (np.where(first, by[0], by[1]) - own)
    return (total >> 6).astype(np.uint8)


def _bands(taps, block):
    """[phases, block + k - 1, block] matrices: filtering as a matrix product."""
    n, k = taps.shape
    m = np.zeros((n, block + k - 1, block), np.float32)
    for p in range(n):
        for i in range(block):
            m[p, i : i + k, i] = taps[p] / 64.0
    return torch.from_numpy(m)


class Filter:
    """Prediction of planes of [B, C, H, W], one vector a part, from those before."""

    def __init__(self, taps, part, lean, device):
        self.phases, self.taps = taps.shape
        self.part = part
        self.bands = {size: _bands(taps, size).to(device) for size in (part, part // 2)}
        self.weight = torch.tensor(lean + lean[::-1], dtype=torch.float32, device=device)

    def alone(self, ref, mv, tall, wide):
        """Each block of `tall` x `wide` samples by its own vector, in whole levels."""
        b, c, h, w = ref.shape
        n, k, dev = self.phases, self.taps, ref.device
        rows, cols = h // tall, w // wide
        whole = torch.div(mv, n, rounding_mode="floor")
        phase = mv - whole * n

        def near(first, move, size, limit):
            off = torch.arange(size + k - 1, device=dev) - (k // 2 - 1)
            return (first + move + off).clamp(0, limit - 1)

        by = (torch.arange(rows, device=dev) * tall)[None, :, None, None]
        bx = (torch.arange(cols, device=dev) * wide)[None, None, :, None]
        ys = near(by, whole[..., 1:2], tall, h)  # B, rows, cols, tall + k - 1
        xs = near(bx, whole[..., 0:1], wide, w)
        index = (ys[..., :, None] * w + xs[..., None, :]).reshape(b, 1, -1).expand(b, c, -1)
        patch = ref.reshape(b, c, h * w).gather(2, index)
        patch = patch.view(b, c, rows * cols, tall + k - 1, wide + k - 1).float()
        fx = self.bands[wide][phase[..., 0].reshape(b, 1, -1)]  # B, 1, blocks, wide + k - 1, wide
        fy = self.bands[tall][phase[..., 1].reshape(b, 1, -1)].transpose(-1, -2)
        with torch.autocast(ref.device.type, enabled=False):  # exact products
            out = fy @ (patch @ fx)
        out = out.view(b, c, rows, cols, tall, wide).permute(0, 1, 2, 4, 3, 5)
        return round_through(out.reshape(b, c, h, w)).clamp(0, 255)

    def __call__(self, ref, mv):
        part, half = self.part, self.part // 2
        own = self.alone(ref, mv, part, part)
        # Halves of parts by the vectors of the nearer neighbours; at the picture's end by their own.
        rows = torch.stack([torch.cat([mv[:, :1], mv[:, :-1]], 1), torch.cat([mv[:, 1:], mv[:, -1:]], 1)], 2)
        beside = torch.stack([torch.cat([mv[:, :, :1], mv[:, :, :-1]], 2), torch.cat([mv[:, :, 1:], mv[:, :, -1:]], 2)], 3)
        down = self.alone(ref, rows.flatten(1, 2), half, part)
        across = self.alone(ref, beside.flatten(2, 3), part, half)
        h, w = ref.shape[2:]
        a, b = self.weight.repeat(h // part)[:, None], self.weight.repeat(w // part)
        return round_through(own + (a * (down - own) + b * (across - own)) / 64)


class Warp:
    """Differentiable motion compensation of [B, C, H, W] planes by the vectors of 8x8 parts."""

    def __init__(self, device="cpu"):
        self.luma = Filter(LUMA_TAPS, BLOCK, LUMA_LEAN, device)
        self.chroma = Filter(CHROMA_TAPS, BLOCK // 2, CHROMA_LEAN, device)

    def __call__(self, y, uv, mv):
        """y [B,1,H,W], uv [B,2,H/2,W/2] in 0..255, mv int64 [B,H/8,W/8,2] quarter-pel."""
        return self.luma(y.float(), mv), self.chroma(uv.float(), mv)


def round_through(x):
    """Rounds half up, as the integer code does; the gradient passes."""
    return x + (torch.floor(x + 0.5) - x).detach()


class Search:
    """The encoder's own search: vectors of 8x8 parts in quarter pels, chosen by error and bits.

    It runs the example `block_vectors` of the codec's crate, which `make build` does not make:
    cargo build --release -p aivideo-codec --example block_vectors
    """

    PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../target/release/examples/block_vectors")

    def __init__(self, program=None):
        program = program or os.environ.get("AIVIDEO_BLOCK_VECTORS", self.PROGRAM)
        if not os.path.exists(program):
            raise SystemExit(f"{program} is missing: cargo build --release -p aivideo-codec --example block_vectors")
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __del__(self):
        if hasattr(self, "process"):
            self.process.stdin.close()
            self.process.stdout.close()
            self.process.wait()

    def __call__(self, luma, quality=32):
        """Of [T, h, w] bytes, whole blocks: vectors [T, h / 8, w / 8, 2], those of the first picture zero."""
        t, h, w = luma.shape
        self.process.stdin.write(struct.pack("<4I", w, h, t, quality))
        self.process.stdin.write(np.ascontiguousarray(luma, np.uint8).tobytes())
        self.process.stdin.flush()
        rows, cols = h // BLOCK, w // BLOCK
        size = (t - 1) * rows * cols * 4
        raw = self.process.stdout.read(size)
        if len(raw) != size:
            raise RuntimeError(f"block_vectors ended with status {self.process.wait()}")
        vectors = np.frombuffer(raw, "<i2").reshape(t - 1, rows, cols, 2)
        return np.concatenate([np.zeros((1, rows, cols, 2), np.int16), vectors])
