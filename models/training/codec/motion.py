# SPDX-License-Identifier: Apache-2.0
"""Block motion: the search on source frames, and the warp of the decoded frame.

The warp uses the interpolation filters of the bitstream (HEVC's DCT-IF) in
float; rounding its result gives the integer decoder's picture exactly, because
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


def _bands(taps, block):
    """[phases, block + k - 1, block] matrices: filtering as a matrix product."""
    n, k = taps.shape
    m = np.zeros((n, block + k - 1, block), np.float32)
    for p in range(n):
        for i in range(block):
            m[p, i : i + k, i] = taps[p] / 64.0
    return torch.from_numpy(m)


class Warp:
    """Differentiable motion compensation of [B, C, H, W] planes by block vectors."""

    def __init__(self, device="cpu"):
        self.luma = _bands(LUMA_TAPS, BLOCK).to(device)
        self.chroma = _bands(CHROMA_TAPS, BLOCK // 2).to(device)

    def plane(self, ref, mv, bands, block):
        b, c, h, w = ref.shape
        n, span, _ = bands.shape
        k = span - block + 1
        rows, cols = h // block, w // block
        dev = ref.device
        whole = torch.div(mv, n, rounding_mode="floor")
        phase = mv - whole * n
        off = torch.arange(span, device=dev) - (k // 2 - 1)
        by = (torch.arange(rows, device=dev) * block)[None, :, None, None]
        bx = (torch.arange(cols, device=dev) * block)[None, None, :, None]
        ys = (by + whole[..., 1:2] + off).clamp(0, h - 1)  # B, rows, cols, span
        xs = (bx + whole[..., 0:1] + off).clamp(0, w - 1)
        index = (ys[..., :, None] * w + xs[..., None, :]).reshape(b, 1, -1).expand(b, c, -1)
        patch = ref.reshape(b, c, h * w).gather(2, index)
        patch = patch.view(b, c, rows * cols, span, span).float()
        fx = bands[phase[..., 0].reshape(b, 1, -1)]  # B, 1, blocks, span, block
        fy = bands[phase[..., 1].reshape(b, 1, -1)].transpose(-1, -2)
        with torch.autocast(ref.device.type, enabled=False):  # exact products
            out = fy @ (patch @ fx)
        out = out.view(b, c, rows, cols, block, block).permute(0, 1, 2, 4, 3, 5)
        return out.reshape(b, c, h, w)

    def __call__(self, y, uv, mv):
        """y [B,1,H,W], uv [B,2,H/2,W/2] in 0..255, mv int64 [B,H/8,W/8,2] quarter-pel."""
        py = self.plane(y.float(), mv, self.luma, BLOCK)
        puv = self.plane(uv.float(), mv, self.chroma, BLOCK // 2)
        return round_through(py).clamp(0, 255), round_through(puv).clamp(0, 255)


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
