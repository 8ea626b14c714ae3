# SPDX-License-Identifier: Apache-2.0
"""Training pictures: photos and frames of clips, kept as 8-bit planes in memory.

Only `train/` is read for training and only `val/` for choosing between nets.
Everything is shrunk by two or more before it is cropped, which removes most of
the compression the sources carry.
"""

import glob
import hashlib
import os

import cv2
import numpy as np
import torch
import torch.nn.functional as F

import leaves
from nets import cubic

# Number of the choice of sizes that [build] makes: a cache of another is not used.
CHOICE = 3
# Composed pictures of sharp edges beside the photographs and frames, and their size.
COMPOSED, SIDE = 250, 256


def half(x):
    """Antialiased bicubic x1/2 of [N,C,H,W], the usual degradation (a = -1/2)."""
    taps = torch.tensor([cubic((i - 3.5) / 2) / 2 for i in range(8)])
    taps = (taps / taps.sum()).to(x)
    c = x.shape[1]
    x = F.pad(x, (3, 3, 3, 3), mode="reflect")
    x = F.conv2d(x, taps.view(1, 1, 1, 8).expand(c, 1, 1, 8), stride=(1, 2), groups=c)
    return F.conv2d(x, taps.view(1, 1, 8, 1).expand(c, 1, 8, 1), stride=(2, 1), groups=c)


def half_u8(bgr):
    h, w = bgr.shape[0] // 2 * 2, bgr.shape[1] // 2 * 2
    x = torch.from_numpy(bgr[:h, :w].astype(np.float32)).permute(2, 0, 1)[None]
    return half(x)[0].permute(1, 2, 0).add(0.5).clamp(0, 255).byte().numpy()


def ycbcr(bgr):
    """BT.601 studio range, rounded: [3,H,W] uint8 (the usual luma of benchmarks)."""
    b, g, r = (bgr[..., i].astype(np.float32) / 255 for i in range(3))
    y = 16 + 65.481 * r + 128.553 * g + 24.966 * b
    u = 128 - 37.797 * r - 74.203 * g + 112.0 * b
    v = 128 + 112.0 * r - 93.786 * g - 18.214 * b
    return np.stack([y, u, v]).round().clip(0, 255).astype(np.uint8)


def sources(root, frames):
    """Yields (picture BGR, is_photo), already at its source resolution."""
    for path in sorted(glob.glob(os.path.join(root, "images", "*"))):
        picture = cv2.imread(path)
        if picture is not None:
            yield picture, True
    for path in sorted(glob.glob(os.path.join(root, "video", "*"))):
        # Rendered user interfaces teach flat areas and little else.
        if os.path.basename(path).startswith("flutter__") and "videos" not in path:
            continue
        clip = cv2.VideoCapture(path)
        total = int(clip.get(cv2.CAP_PROP_FRAME_COUNT))
        wanted = set(np.linspace(0, max(total - 1, 0), frames + 2)[1:-1].astype(int)) if total > 1 else {0}
        index = 0
        while True:
            ok = clip.grab()
            if not ok or index > max(wanted):
                break
            if index in wanted:
                ok, picture = clip.retrieve()
                if ok and min(picture.shape[:2]) >= 240:
                    yield picture, False
            index += 1


def third_u8(bgr):
    """Antialiased bicubic x1/3."""
    x = torch.from_numpy(bgr.astype(np.float32)).permute(2, 0, 1)[None]
    x = F.interpolate(x, size=(bgr.shape[0] // 3, bgr.shape[1] // 3), mode="bicubic", antialias=True)
    return x[0].permute(1, 2, 0).add(0.5).clamp(0, 255).byte().numpy()


def build(root, out, frames=4):
    """Writes one .npz of YCbCr planes: at 1/2 of the source, large ones also at 1/3, photos at 1/4."""
    planes = []
    for source, photo in sources(root, frames):
        picture = half_u8(source)
        planes.append(ycbcr(picture))
        if min(source.shape[:2]) >= 720:
            planes.append(ycbcr(third_u8(source)))
        if photo:
            planes.append(ycbcr(half_u8(picture)))
    write(planes, out)


def write(planes, out):
    tmp = out + ".tmp.npz"
    np.savez(tmp, *planes)
    os.replace(tmp, out)


def read(path):
    with np.load(path) as z:
        return [z[k] for k in z.files]


def load(data, cache, split):
    os.makedirs(cache, exist_ok=True)
    path = os.path.join(cache, f"{split}-{CHOICE}.npz")
    if not os.path.exists(path):
        root = os.path.join(data, split)
        if not os.path.isdir(root):
            raise SystemExit(f"no {root}: give the folder that has train/ and val/ with --data")
        print(f"reading {root} (once)", flush=True)
        build(root, path)
    return read(path)


def composed(planes, cache):
    """Pictures of sharp edges made of the given ones, which are those of train/."""
    path = os.path.join(cache, f"composed-{CHOICE}.npz")
    if not os.path.exists(path):
        print("composing pictures of sharp edges (once)", flush=True)
        write(leaves.pictures(planes, COMPOSED, SIDE), path)
    return read(path)


def gradient(luma):
    luma = luma[::2, ::2].astype(np.int16)
    return np.abs(np.diff(luma)).mean() + np.abs(np.diff(luma, axis=0)).mean()


class Crops:
    """Random crops with the eight flips; the generator's state is part of a checkpoint."""

    def __init__(self, planes, composed, share, size, seed):
        """`share` of the crops are of the composed pictures."""
        self.size = size
        real = [p for p in planes if min(p.shape[1:]) >= size + 16]
        self.planes = real + composed
        # Detail is what teaches: most frames and photos are smoother than what the nets are for.
        worth = np.array([p[0].size ** 0.5 * min(gradient(p[0]), 20.0) ** 2 for p in self.planes])
        for part, wanted in ((slice(len(real)), 1 - share), (slice(len(real), None), share)):
            worth[part] *= wanted / max(worth[part].sum(), 1e-9)
        self.weights = worth / worth.sum()
        self.rng = np.random.default_rng(seed)
        # Sum of mean gradients under which a crop is flat, and mostly thrown away.
        self.floor = 8.0

    def one(self, channels):
        s, rng = self.size, self.rng
        for attempt in range(4):
            p = self.planes[rng.choice(len(self.planes), p=self.weights)]
            y = int(rng.integers(0, (p.shape[1] - s) // 2 + 1)) * 2
            x = int(rng.integers(0, (p.shape[2] - s) // 2 + 1)) * 2
            crop = p[:channels, y : y + s, x : x + s]
            if gradient(crop[0]) > self.floor:
                break
        k = int(rng.integers(8))
        crop = np.rot90(crop, k & 3, (1, 2))
        return crop[:, :, ::-1] if k & 4 else crop

    def batch(self, n, channels):
        return torch.from_numpy(np.stack([self.one(channels) for _ in range(n)]).astype(np.float32) / 255)


class Taught:
    """Small pictures with what a teacher enlarges them to; the generator's state is part of a checkpoint.

    Half of them are training pictures shrunk as usual, half are such pictures as they are: what these are
    the half of, only the teacher says.
    """

    COUNT, SIDE = 3000, 80

    def __init__(self, planes, composed, share, teacher, size, seed, cache):
        self.size, self.rng = size, np.random.default_rng(seed)
        # Of another teacher, or of other pictures, answers are others.
        told = hashlib.sha256(repr((CHOICE, self.COUNT, self.SIDE, share)).encode())
        for name, value in sorted(teacher.state_dict().items()):
            told.update(name.encode() + value.numpy().tobytes())
        path = os.path.join(cache, f"taught-{told.hexdigest()[:12]}.npz")
        if not os.path.exists(path):
            self.ask(planes, composed, share, teacher, path)
        with np.load(path) as z:
            self.small, self.large = z["small"], z["large"]

    def ask(self, planes, composed, share, teacher, path):
        print(f"asking the teacher about {self.COUNT} pictures (once)", flush=True)
        as_is = Crops(planes, composed, share, self.SIDE, 2)
        to_shrink = Crops(planes, composed, share, 2 * self.SIDE, 3)
        small, large, together = [], [], 10
        for at in range(0, self.COUNT, together):
            with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
                x = as_is.batch(together, 1) if at // together % 2 else half(to_shrink.batch(together, 1))
                x = (x * 255).round().clamp(0, 255) / 255
                large.append(teacher(x).to(torch.float16).numpy())
            small.append((x * 255).round().byte().numpy())
        tmp = path + ".tmp.npz"
        np.savez(tmp, small=np.concatenate(small), large=np.concatenate(large))
        os.replace(tmp, path)

    def batch(self, n):
        """(large, small), both with white at 1."""
        pairs = []
        for _ in range(n):
            i, k = self.rng.integers(len(self.small)), int(self.rng.integers(8))
            y, x = self.rng.integers(0, self.SIDE - self.size + 1, 2)
            pair = (
                self.large[i][:, 2 * y : 2 * (y + self.size), 2 * x : 2 * (x + self.size)].astype(np.float32),
                self.small[i][:, y : y + self.size, x : x + self.size].astype(np.float32) / 255,
            )
            pair = [np.rot90(p, k & 3, (1, 2)) for p in pair]
            pairs.append([p[:, :, ::-1] if k & 4 else p for p in pair])
        return tuple(torch.from_numpy(np.stack(side)) for side in zip(*pairs))
