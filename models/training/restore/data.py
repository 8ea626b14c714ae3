# SPDX-License-Identifier: Apache-2.0
"""Crops of pairs that `pairs.py` made."""

import json
import math
import os

import numpy as np
import torch

from net import BASES


def split(rows, size):
    """Rows of I420 as luma [T,h,w] and chroma [T,2,h/2,w/2], views of the file."""
    w, h = size
    return rows[:, : w * h].reshape(-1, h, w), rows[:, w * h :].reshape(-1, 2, h // 2, w // 2)


class Clip:
    def __init__(self, folder, name):
        with open(os.path.join(folder, name + ".json")) as f:
            about = json.load(f)
        self.name, self.size, self.frames, self.codings = name, about["size"], about["frames"], about["codings"]
        load = lambda end: split(np.load(os.path.join(folder, name + end), mmap_mode="r"), self.size)
        self.clean = load(".clean.npy")
        self.coded = [load(f".{i}.npy") for i in range(len(self.codings))]


def load(work, part):
    folder = os.path.join(work, part)
    names = sorted(f[: -len(".json")] for f in os.listdir(folder) if f.endswith(".json"))
    return [Clip(folder, name) for name in names]


def condition(coding, known=True):
    if not known:
        return [0.0, 0.0, 0.0, 0.0]
    return [coding["quality"], 1.0, -math.log2(coding["scale"]), BASES[coding["base"]]]


class Crops:
    """Runs of frames of one place, `side` pixels square."""

    def __init__(self, clips, side, run, seed):
        self.clips, self.side, self.run = clips, side, run
        self.rng = np.random.default_rng(seed)
        area = np.array([min(c.size[0] * c.size[1] * c.frames, 640 * 360 * 33) for c in clips], float)
        self.weights = np.sqrt(area) / np.sqrt(area).sum()

    def one(self):
        rng, side, run = self.rng, self.side, self.run
        clip = self.clips[rng.choice(len(self.clips), p=self.weights)]
        w, h = clip.size
        index = int(rng.integers(len(clip.codings)))
        s = min(side, w // 2 * 2, h // 2 * 2)
        x, y = (int(rng.integers((v - s) // 2 + 1)) * 2 for v in (w, h))
        t = int(rng.integers(max(clip.frames - run, 0) + 1))
        times = [min(t + i, clip.frames - 1) for i in range(run)]
        out = []
        turn, flip, mirror = rng.random(3) < 0.5
        for luma, chroma in (clip.clean, clip.coded[index]):
            ly = np.stack([luma[i, y : y + s, x : x + s] for i in times])[:, None]
            lc = np.stack([chroma[i, :, y // 2 : (y + s) // 2, x // 2 : (x + s) // 2] for i in times])
            for v in (ly, lc):
                if s < side:
                    pad = (side - s) * v.shape[-1] // s
                    v = np.pad(v, ((0, 0), (0, 0), (0, pad), (0, pad)), mode="edge")
                v = v.swapaxes(2, 3) if turn else v
                v = v[:, :, ::-1] if flip else v
                out.append(v[:, :, :, ::-1] if mirror else v)
        # Half of the time nothing is known of the coding, as in streams of others.
        return out, condition(clip.codings[index], rng.random() < 0.5)

    def batch(self, n):
        samples = [self.one() for _ in range(n)]
        stack = lambda k: torch.from_numpy(np.stack([s[0][k] for s in samples]).astype(np.float32) / 255)
        return [stack(k) for k in range(4)], torch.tensor([s[1] for s in samples])
