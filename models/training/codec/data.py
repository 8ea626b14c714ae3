# SPDX-License-Identifier: Apache-2.0
"""Training segments: short runs of 4:2:0 frames with their block vectors.

`python data.py --data DIR --cache DIR` cuts segments out of DIR/video and
DIR/images (any folder of clips and photos works) and keeps adding until it has
enough; the trainer reads what is there, so both may run at once. Sources are
downscaled so that the noise of their own coding is hidden. Motion is searched
once, here, on the source frames, by the encoder's own search.
"""

import argparse
import glob
import os
import random
import threading
import queue

import cv2
import numpy as np

from motion import BLOCK, Search

FRAMES = 25
MIN_W, MIN_H = 256, 192
MAX_AREA = 640 * 384
HELD_OUT = ("sam2__04_coffee", "asl_gestures__night", "swiz3n")
VIDEO = (".mp4", ".mkv", ".webm", ".264", ".h264", ".mpg", ".mov", ".avi", ".y4m")
PHOTO = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


def find_files(root, endings):
    found = [p for p in glob.glob(os.path.join(root, "**", "*"), recursive=True) if p.lower().endswith(endings)]
    return sorted(found)


def target_size(rng, w, h):
    """A size at which the source's own coding is hidden, as multiples of the block."""
    area = w * h
    if area >= 900_000:
        scale = rng.uniform(0.30, 0.5)
    elif area >= 280_000:
        scale = rng.uniform(0.45, 0.7)
    else:
        scale = rng.uniform(0.7, 1.0)
    scale = max(scale, MIN_W / max(w, h), MIN_H / min(w, h))
    scale = min(scale, max((MAX_AREA / area) ** 0.5, MIN_W / max(w, h), MIN_H / min(w, h)))
    tw, th = int(round(w * scale)), int(round(h * scale))
    return max(tw, 1), max(th, 1)


def read_clip(rng, path):
    """FRAMES frames of a clip at a random place, stride and size, or None if it is too short."""
    cap = cv2.VideoCapture(path)
    w, h = int(cap.get(cv2.CAP_PROP_FRAME_WIDTH)), int(cap.get(cv2.CAP_PROP_FRAME_HEIGHT))
    count = int(cap.get(cv2.CAP_PROP_FRAME_COUNT))
    if w < 64 or h < 64:
        return None
    fps = cap.get(cv2.CAP_PROP_FPS) or 25
    strides = [1, 1, 1, 1, 1, 2, 2, 3, 4, 6] if fps < 45 else [1, 2, 2, 2, 3, 4, 6]
    stride = rng.choice(strides)
    if count > 0:
        while stride > 1 and count < FRAMES * stride:
            stride -= 1
        start = rng.randrange(max(1, count - FRAMES * stride))
        if start:
            cap.set(cv2.CAP_PROP_POS_FRAMES, start)
    size = target_size(rng, w, h)
    frames = []
    while len(frames) < FRAMES:
        ok, f = cap.read()
        if not ok:
            break
        frames.append(cv2.resize(f, size, interpolation=cv2.INTER_AREA))
        if any(not cap.grab() for _ in range(stride - 1)):
            break
    if len(frames) < 3:
        return None
    while len(frames) < FRAMES:  # ping-pong short clips
        frames += frames[-2::-1]
    frames = frames[:FRAMES]
    if min(size) < MIN_H or max(size) < MIN_W:
        return None
    return frames


def pan_photo(rng, photos):
    """A photo with a moving camera and, at times, something crossing it."""
    img = cv2.imread(rng.choice(photos))
    if img is None:
        return None
    ow, oh = (448, 256) if rng.random() < 0.5 else (384, 320)
    h, w = img.shape[:2]
    zoom = min(w / ow, h / oh) * rng.uniform(0.6, 0.95)
    blur = max(zoom * 0.4, 0.01)
    if zoom > 1.2:
        img = cv2.GaussianBlur(img, (0, 0), blur)
    cx, cy = w / 2, h / 2
    speed = rng.choice([0, 0.3, 1, 2, 4, 8])
    vx, vy = (rng.gauss(0, speed) for _ in range(2))
    rate = rng.choice([1, 1, rng.uniform(0.985, 1.015)])
    turn = rng.choice([0, 0, rng.uniform(-0.6, 0.6)])
    other = cv2.imread(rng.choice(photos)) if rng.random() < 0.6 else None
    if other is not None:
        r = rng.randrange(40, 110)
        other = cv2.resize(other, (2 * r, 2 * r), interpolation=cv2.INTER_AREA)
        mask = np.zeros((2 * r, 2 * r), np.float32)
        cv2.ellipse(mask, (r, r), (int(r * 0.9), int(r * rng.uniform(0.4, 0.9))), rng.uniform(0, 180), 0, 360, 1, -1)
        mask = cv2.GaussianBlur(mask, (0, 0), 1)[..., None]
        px, py = rng.uniform(0, ow), rng.uniform(0, oh)
        pvx, pvy = rng.gauss(0, 5), rng.gauss(0, 4)
    frames = []
    for t in range(FRAMES):
        m = cv2.getRotationMatrix2D((cx + vx * t * zoom, cy + vy * t * zoom), turn * t, rate**t / zoom)
        m[0, 2] += ow / 2 - cx - vx * t * zoom
        m[1, 2] += oh / 2 - cy - vy * t * zoom
        f = cv2.warpAffine(img, m, (ow, oh), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        if other is not None:
            shift = np.float32([[1, 0, px + pvx * t - r], [0, 1, py + pvy * t - r]])
            a = cv2.warpAffine(mask, shift, (ow, oh))[..., None]
            o = cv2.warpAffine(other, shift, (ow, oh))
            f = (f * (1 - a) + o * a).astype(np.uint8)
        frames.append(f)
    return frames


def disturb(rng, frames, clips):
    """Gain, colour, noise, cuts, holds, reversal, transposition."""
    if rng.random() < 0.5:
        frames = frames[::-1]
    if rng.random() < 0.3:
        frames = [cv2.transpose(f) for f in frames]
    nrng = np.random.default_rng(rng.randrange(1 << 30))
    if rng.random() < 0.5:
        gain = rng.uniform(0.7, 1.25) * nrng.uniform(0.9, 1.1, (1, 1, 3))
        bias = rng.uniform(-12, 12)
        table = np.clip(np.arange(256)[:, None, None] * gain.reshape(1, 1, 3) + bias, 0, 255).astype(np.uint8)
        frames = [cv2.LUT(f, table.reshape(1, 256, 3)) for f in frames]
    if rng.random() < 0.06:
        at = rng.randrange(2, FRAMES - 2)
        other = None
        for _ in range(3):
            other = read_clip(rng, rng.choice(clips))
            if other:
                break
        if other:
            h, w = frames[0].shape[:2]
            frames = frames[:at] + [cv2.resize(f, (w, h), interpolation=cv2.INTER_AREA) for f in other[at:]]
    if rng.random() < 0.08:
        at, n = rng.randrange(1, FRAMES - 4), rng.randrange(2, 4)
        frames = (frames[:at] + [frames[at]] * n + frames[at:])[:FRAMES]
    sigma = rng.uniform(0.5, 4) if rng.random() < 0.15 else 0
    if sigma:
        frames = [np.clip(f + nrng.normal(0, sigma, f.shape), 0, 255).astype(np.uint8) for f in frames]
    return frames


def to_planes(frames):
    """Crops to whole blocks; returns y [T,h,w] and uv [T,2,h/2,w/2]."""
    h, w = (d // 16 * 16 for d in frames[0].shape[:2])
    ys, uvs = [], []
    for f in frames:
        i420 = cv2.cvtColor(np.ascontiguousarray(f[:h, :w]), cv2.COLOR_BGR2YUV_I420)
        ys.append(i420[:h])
        uvs.append(i420[h:].reshape(2, h // 2, w // 2))
    return np.stack(ys), np.stack(uvs)


def save_segment(path, frames, search, quality=32):
    y, uv = to_planes(frames)
    t, h, w = y.shape
    mv = search(y, quality) if t > 1 else np.zeros(0, np.int16)
    temp = path + ".part"
    with open(temp, "wb") as f:
        np.save(f, np.concatenate([y.reshape(-1), uv.reshape(-1), mv.view(np.uint8).reshape(-1)]))
    os.replace(temp, f"{path}_{t}x{h}x{w}.npy")


def load_segment(path):
    t, h, w = (int(v) for v in os.path.basename(path)[:-4].split("_")[-1].split("x"))
    raw = np.load(path, mmap_mode="r")
    n = t * h * w
    y = raw[:n].reshape(t, h, w)
    uv = raw[n : n + n // 2].reshape(t, 2, h // 2, w // 2)
    shape = t, h // BLOCK, w // BLOCK, 2
    mv = raw[n + n // 2 :].view(np.int16).reshape(shape) if t > 1 else np.zeros(shape, np.int16)
    return y, uv, mv


def build(root, cache, total, seed):
    os.makedirs(cache, exist_ok=True)
    clips = find_files(os.path.join(root, "video"), VIDEO) or find_files(root, VIDEO)
    photos = find_files(os.path.join(root, "images"), PHOTO) or find_files(root, PHOTO)
    held = [c for c in clips if any(k in c for k in HELD_OUT)]
    clips = [c for c in clips if c not in held]
    # Big natural clips hold more than short interface recordings.
    weight = [0.35 if ("flutter__" in c and "butterfly" not in c) or "GRID" in c else 0.5 if "asl_" in c else 1.5 if os.path.getsize(c) > 1e6 else 1 for c in clips]
    search = Search()
    for i, c in enumerate(held):
        rng = random.Random(f"{seed}-held-{i}")
        if not glob.glob(os.path.join(cache, f"held_{i:04d}_*")):
            frames = read_clip(rng, c)
            if frames:
                save_segment(os.path.join(cache, f"held_{i:04d}"), frames, search)
    for i in range(total):
        name = os.path.join(cache, f"seg_{i:05d}")
        if glob.glob(name + "_*.npy"):
            continue
        rng = random.Random(f"{seed}-{i}")
        if photos and (not clips or rng.random() < 0.18):
            frames = pan_photo(rng, photos)
        else:
            frames = read_clip(rng, rng.choices(clips, weight)[0])
        if not frames:
            continue
        frames = disturb(rng, frames, clips)
        if frames[0].shape[0] < MIN_H or frames[0].shape[1] < MIN_W:
            frames = [cv2.transpose(f) for f in frames]
        if min(frames[0].shape[0] // 16 * 16 - MIN_H, frames[0].shape[1] // 16 * 16 - MIN_W) < 0:
            continue
        save_segment(name, frames, search, rng.randrange(64))


def build_stills(root, cache, seed, every=5):
    """Single pictures, for the key-frame network: every few frames of each clip, and each photo at several sizes."""
    os.makedirs(cache, exist_ok=True)
    clips = find_files(os.path.join(root, "video"), VIDEO) or find_files(root, VIDEO)
    photos = find_files(os.path.join(root, "images"), PHOTO) or find_files(root, PHOTO)

    def keep(name, picture):
        h, w = picture.shape[:2]
        if w < MIN_W or h < MIN_H:
            picture = cv2.transpose(picture)
            h, w = w, h
        if w >= MIN_W and h >= MIN_H:
            save_segment(os.path.join(cache, name), [picture], None)

    for i, path in enumerate(clips):
        prefix = "heldstill" if any(k in path for k in HELD_OUT) else "still"
        if glob.glob(os.path.join(cache, f"{prefix}_{i:03d}_*")):
            continue
        rng = random.Random(f"{seed}-still-{i}")
        cap = cv2.VideoCapture(path)
        at = 0
        while True:
            ok, frame = cap.read()
            if not ok:
                break
            if at % every == 0:
                h, w = frame.shape[:2]
                size = target_size(rng, w, h)
                if min(size) >= MIN_H and max(size) >= MIN_W:
                    keep(f"{prefix}_{i:03d}_{at:05d}", cv2.resize(frame, size, interpolation=cv2.INTER_AREA))
            at += 1
    for i, path in enumerate(photos):
        if glob.glob(os.path.join(cache, f"still_p{i:03d}_*")):
            continue
        picture = cv2.imread(path)
        if picture is None:
            continue
        h, w = picture.shape[:2]
        for area in (1, 2, 4, 8, 16):
            scale = min((area * 60_000 / (w * h)) ** 0.5, 0.7)
            scale = max(scale, MIN_W / w, MIN_H / h)
            size = round(w * scale), round(h * scale)
            keep(f"still_p{i:03d}_{area:02d}", cv2.resize(picture, size, interpolation=cv2.INTER_AREA))


class Segments:
    """Random crops of random segments; `batch(step)` depends on nothing but its arguments and the files."""

    def __init__(self, cache, prefix="seg"):
        self.cache, self.prefix = cache, prefix
        self.refresh()

    def refresh(self):
        self.files = sorted(glob.glob(os.path.join(self.cache, self.prefix + "_*.npy")))
        if not self.files:
            raise SystemExit(f"no segments in {self.cache}: run data.py first")

    def batch(self, rng, size, frames, width, height):
        ys = np.empty((size, frames, height, width), np.uint8)
        uvs = np.empty((size, frames, 2, height // 2, width // 2), np.uint8)
        mvs = np.empty((size, frames, height // BLOCK, width // BLOCK, 2), np.int64)
        for b in range(size):
            for _ in range(10_000):
                y, uv, mv = load_segment(self.files[rng.randrange(len(self.files))])
                t, h, w = y.shape
                if h >= height and w >= width and t >= frames:
                    break
            else:
                raise ValueError(f"hardly any segment in {self.cache} has {frames} frames of {width}x{height}: an older version's? Empty it and run data.py")
            t0 = rng.randrange(t - frames + 1)
            r = rng.randrange((h - height) // BLOCK + 1)
            c = rng.randrange((w - width) // BLOCK + 1)
            n, m = height // BLOCK, width // BLOCK
            top, left = r * BLOCK, c * BLOCK
            cy = y[t0 : t0 + frames, top : top + height, left : left + width]
            top, left = top // 2, left // 2
            cuv = uv[t0 : t0 + frames, :, top : top + height // 2, left : left + width // 2]
            cmv = mv[t0 : t0 + frames, r : r + n, c : c + m].astype(np.int64)
            if rng.random() < 0.5:
                cy, cuv, cmv = cy[..., ::-1], cuv[..., ::-1], cmv[:, :, ::-1] * np.array([-1, 1])
            if rng.random() < 0.3:
                cy, cuv, cmv = cy[:, ::-1], cuv[..., ::-1, :], cmv[:, ::-1] * np.array([1, -1])
            ys[b], uvs[b], mvs[b] = cy, cuv, cmv
        return ys, uvs, mvs


class Ahead:
    """Prepares batches on a thread; the stream of batches is the same with or without it."""

    def __init__(self, make, first, depth=3):
        self.queue = queue.Queue(depth)
        self.make = make
        self.thread = threading.Thread(target=self._run, args=(first,), daemon=True)
        self.thread.start()

    def _run(self, step):
        while True:
            try:
                self.queue.put((step, self.make(step)))
            except Exception as error:  # handed to the reader
                self.queue.put((step, error))
                return
            step += 1

    def get(self, step):
        at, value = self.queue.get()
        if isinstance(value, Exception):
            raise value
        assert at == step, (at, step)
        return value


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="folder of clips and photos (or with video/ and images/)")
    parser.add_argument("--cache", default=os.path.join(os.path.dirname(__file__), "..", ".cache", "codec"))
    parser.add_argument("--segments", type=int, default=900)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stills", action="store_true", help="pictures for the key-frame network in place of segments")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    if args.stills:
        build_stills(args.data, args.cache, args.seed)
    else:
        build(args.data, args.cache, args.segments, args.seed)
