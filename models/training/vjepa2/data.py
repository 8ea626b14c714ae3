# SPDX-License-Identifier: Apache-2.0
"""Clips with known motion, synthesised on the fly from real photos and real video.

Clip number i of a seed is always the same clip, whoever renders it: a training run
resumes on the exact data it would have seen, with any number of loader processes.
"""

import math
import pathlib

import cv2
import numpy as np
import torch

from labels import INDEX, LABELS

# Loader processes are forked: a thread pool of OpenCV would be dead in them and hang.
cv2.setNumThreads(1)

SIZE = 64
FRAMES = 16
GRID = 4  # flow targets lie on the encoder's patch centres
VIDEO_SIDE = 96  # short side at which video frames are kept
PHOTO_SIDES = (512, 256, 128, 64)
MAX_FRAMES = 200
RENDERED_UI = ("flutter__material", "flutter__widgets", "flutter__animation", "coding_agent")


def shorter_side(image, side):
    h, w = image.shape[:2]
    k = side / min(h, w)
    size = (max(side, round(w * k)), max(side, round(h * k)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if k < 1 else cv2.INTER_LINEAR)


def read_video(path):
    capture = cv2.VideoCapture(str(path))
    frames = []
    while len(frames) < MAX_FRAMES:
        ok, frame = capture.read()
        if not ok:
            break
        frames.append(shorter_side(frame, VIDEO_SIDE)[..., ::-1])
    capture.release()
    return np.ascontiguousarray(np.stack(frames)) if len(frames) >= FRAMES else None


def calm_runs(frames):
    """Starts of 16-frame runs in which neither the camera nor much of the scene moves."""
    grey = np.stack([cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in frames]).astype(np.float32)
    window = cv2.createHanningWindow(grey.shape[:0:-1], cv2.CV_32F)
    runs = []
    for start in range(0, len(grey) - FRAMES + 1, 5):
        run = grey[start : start + FRAMES]
        if np.abs(np.diff(run, axis=0)).mean(axis=(1, 2)).max() > 2.5:
            continue
        shifts = [cv2.phaseCorrelate(run[0], run[i], window)[0] for i in (5, 10, 15)]
        if max(math.hypot(*s) for s in shifts) < 0.35 and np.abs(run[-1] - run[0]).mean() < 4:
            runs.append(start)
    return runs


class Sources:
    """Photos (small pyramids) and video frames of one folder, held in memory."""

    def __init__(self, root, cache=None):
        root = pathlib.Path(root)
        if not root.is_dir():
            raise SystemExit(f"no media folder {root}: pass --data with the folder of train/ and val/")
        self.photos = []
        for path in sorted((root / "images").iterdir()):
            image = cv2.imread(str(path))
            if image is not None:
                pyramid = [shorter_side(image, PHOTO_SIDES[0])[..., ::-1].copy()]
                for side in PHOTO_SIDES[1:]:
                    pyramid.append(shorter_side(pyramid[-1], side))
                self.photos.append(pyramid)
        self.videos = self._videos(root / "video", cache)
        self.calm = [(v, s) for v, frames in enumerate(self.videos) for s in calm_runs(frames)]
        if not self.photos or not self.videos or not self.calm:
            raise SystemExit(f"{root} needs images/ and video/ with readable media")

    @staticmethod
    def _videos(folder, cache):
        if cache and pathlib.Path(cache).exists():
            with np.load(cache) as stored:
                return [stored[k] for k in stored.files]
        videos = []
        for path in sorted(folder.iterdir()):
            frames = None if any(k in path.name for k in RENDERED_UI) else read_video(path)
            if frames is not None:
                videos.append(frames)
        if cache:
            np.savez(cache, *videos)
        return videos


def ease(rng, n=FRAMES):
    """Progress 0..1 at n frames: steady, eased, late start or early stop."""
    t = np.linspace(0.0, 1.0, n)
    kind = rng.integers(4)
    if kind == 1:
        t = t * t * (3 - 2 * t)
    elif kind == 2:
        a, b = rng.uniform(0, 0.35), rng.uniform(0.65, 1.0)
        t = np.clip((t - a) / (b - a), 0, 1)
    elif kind == 3:
        t = t ** rng.uniform(0.6, 1.7)
    return t


def tremble(rng, rms, n=FRAMES):
    """Band-limited noise [n,2] without trend, of the given rms length."""
    t = np.arange(n)
    path = np.zeros((n, 2))
    for _ in range(4):
        cycles = rng.uniform(1.5, 6.5)
        amplitude = rng.normal(size=2)
        path += amplitude * np.sin(2 * math.pi * cycles * t / n + rng.uniform(0, 6.3))[:, None]
    line = np.stack([np.ones(n), t - t.mean()], axis=1)
    path -= line @ np.linalg.lstsq(line, path, rcond=None)[0]
    return path * rms / math.sqrt((path**2).sum(axis=1).mean() + 1e-9)


class Camera:
    """A path over a picture, in output pixels: where the view's centre goes (x, y right
    and down), how far it has zoomed in (log) and rolled clockwise (radians)."""

    def __init__(self, n=FRAMES):
        self.shift = np.zeros((n, 2))
        self.zoom = np.zeros(n)
        self.roll = np.zeros(n)


def camera_for(rng, name):
    cam = Camera()
    e = ease(rng)
    if name == "calm":
        if rng.random() < 0.3:
            cam.shift = tremble(rng, rng.uniform(0.02, 0.15))
        return cam
    if name == "camera shake":
        cam.shift = tremble(rng, SIZE * math.exp(rng.uniform(math.log(0.011), math.log(0.06))))
        if rng.random() < 0.5:
            cam.roll = tremble(rng, rng.uniform(0.0, 0.02))[:, 0]
        return cam
    hand = rng.uniform(0, 0.35) if rng.random() < 0.4 else 0.0
    if "pan" in name or "tilt" in name:
        total = SIZE * math.exp(rng.uniform(math.log(0.10), math.log(1.3)))
        if total < 0.2 * SIZE:
            hand *= 0.4
        slope = math.tan(math.radians(rng.uniform(-18, 18)))
        main, cross = e * total, e * total * slope
        if name in ("camera pan left", "camera tilt up"):
            main = -main
        cam.shift = np.stack([main, cross] if "pan" in name else [cross, main], axis=1)
        cam.zoom = e * rng.uniform(-0.03, 0.03)
        cam.roll = e * math.radians(rng.uniform(-1.5, 1.5))
    elif "zoom" in name:
        total = rng.uniform(math.log(1.12), math.log(2.2))
        cam.zoom = e * (total if name.endswith("in") else -total)
        if name.endswith("out"):
            cam.zoom += total
        direction = rng.uniform(0, 2 * math.pi)
        drift = rng.uniform(0, 0.18) * SIZE * (math.exp(total) - 1) * 0.5
        cam.shift = e[:, None] * drift * np.array([math.cos(direction), math.sin(direction)])
        cam.roll = e * math.radians(rng.uniform(-2, 2))
    elif "roll" in name:
        total = math.radians(rng.uniform(8, 75))
        cam.roll = e * (-total if "counter" in name else total) + rng.uniform(-0.3, 0.3)
        direction = rng.uniform(0, 2 * math.pi)
        drift = rng.uniform(0, 0.18) * SIZE * 0.5 * total
        cam.shift = e[:, None] * drift * np.array([math.cos(direction), math.sin(direction)])
        cam.zoom = e * rng.uniform(-0.05, 0.05)
    else:
        raise ValueError(name)
    if hand:
        cam.shift = cam.shift + tremble(rng, hand)
    return cam


class Picture:
    """What a camera looks at: a photo, one video frame, or a running video."""

    def __init__(self, rng, sources, moving_ok, calm):
        self.flip = rng.random() < 0.5
        choice = rng.random()
        if calm and choice < 0.4:
            v, start = sources.calm[rng.integers(len(sources.calm))]
            self.levels, self.run = None, sources.videos[v][start : start + FRAMES]
        elif moving_ok and choice < 0.25:
            v, start = sources.calm[rng.integers(len(sources.calm))]
            self.levels, self.run = None, sources.videos[v][start : start + FRAMES]
        elif choice < 0.7:
            self.levels = sources.photos[rng.integers(len(sources.photos))]
        else:
            video = sources.videos[rng.integers(len(sources.videos))]
            self.levels = [video[rng.integers(len(video))]]
        if self.levels is None:
            self.base = self.run[0]
        else:
            self.base, self.run = self.levels[0], None

    def image(self, level, i):
        return self.run[i] if self.run is not None else self.levels[level]


def view_matrices(rng, picture, cam):
    """Per frame (centre, scale, roll) of the view over the base level; None when the
    path cannot fit inside the picture."""
    h, w = picture.base.shape[:2]
    # the picture's side that the view spans over the whole path, in output pixels
    span = np.abs(cam.shift - cam.shift[0]).max(axis=0) + SIZE * (1 + 0.3 * (np.abs(cam.roll).max() > 0.1))
    largest = min((w - 2) / span[0], (h - 2) / span[1])
    if picture.run is not None or len(picture.levels) == 1:
        smallest = 0.7
    else:
        smallest = 1.0
    if largest < smallest:
        return None
    largest = min(largest, 7.0)
    scale0 = math.exp(rng.uniform(math.log(smallest), math.log(largest)))
    scale = scale0 * np.exp(-cam.zoom)
    path = cam.shift * scale0
    low, high = path.min(axis=0), path.max(axis=0)
    margin = 0.5 * SIZE * scale0
    free_low = margin - low
    free_high = np.array([w, h]) - 1 - margin - high
    start = np.where(
        free_high > free_low, rng.uniform(0, 1, 2) * (free_high - free_low) + free_low, (free_low + free_high) / 2
    )
    return start + path, scale, cam.roll


def to_source(u, centre, scale, roll):
    c, s = math.cos(roll), math.sin(roll)
    return centre + scale * u @ np.array([[c, s], [-s, c]])


def to_view(p, centre, scale, roll):
    c, s = math.cos(roll), math.sin(roll)
    return (p - centre) / scale @ np.array([[c, -s], [s, c]])


CENTRES = (np.stack(np.meshgrid(np.arange(GRID), np.arange(GRID)), axis=-1).reshape(-1, 2) + 0.5) * (
    SIZE / GRID
) - SIZE / 2


def camera_flow(views):
    """Content displacement [FRAMES/2, GRID*GRID, 2] between the two frames of each tubelet."""
    centre, scale, roll = views
    flow = []
    for a in range(0, FRAMES, 2):
        p = to_source(CENTRES, centre[a], scale[a], roll[a])
        flow.append(to_view(p, centre[a + 1], scale[a + 1], roll[a + 1]) - CENTRES)
    return np.stack(flow)


def render(rng, picture, views, smear=0.0):
    centre, scale, roll = views
    level, factor = 0, 1.0
    if picture.run is None:
        typical = math.exp(np.log(scale).mean())
        while level + 1 < len(picture.levels) and typical / factor > 1.45:
            level += 1
            factor = picture.base.shape[0] / picture.levels[level].shape[0]
    out = np.empty((FRAMES, SIZE, SIZE, 3), np.uint8)
    half = (SIZE - 1) / 2

    def shot(i, j, f):
        k = (scale[i] * (1 - f) + scale[j] * f) / factor
        c = (centre[i] * (1 - f) + centre[j] * f + 0.5) / factor - 0.5
        r = roll[i] * (1 - f) + roll[j] * f
        a, b = k * math.cos(r), k * math.sin(r)
        m = np.array([[a, -b, c[0] - a * half + b * half], [b, a, c[1] - b * half - a * half]])
        return cv2.warpAffine(
            picture.image(level, i), m, (SIZE, SIZE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )

    for i in range(FRAMES):
        frame = shot(i, i, 0.0)
        if smear:
            frame = cv2.addWeighted(frame, 0.5, shot(i, min(i + 1, FRAMES - 1), smear), 0.5, 0)
        out[i] = frame
    return out[:, :, ::-1] if picture.flip else out


def textured(frame):
    """Enough structure in both directions for motion to be visible at all."""
    grey = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY).astype(np.float32)
    gx, gy = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    xx, yy, xy = (gx * gx).mean(), (gy * gy).mean(), (gx * gy).mean()
    least = (xx + yy) / 2 - math.sqrt(((xx - yy) / 2) ** 2 + xy * xy)
    return least > 800


def change(frames, i, j):
    """Mean difference of two frames in grey levels."""
    return float(cv2.norm(frames[i], frames[j], cv2.NORM_L1)) / frames[i].size


def visible(frames, name):
    """Whether the motion can be seen at all.  A class that only its maker knows, for lack of
    structure or of distance, would teach (and measure) nothing."""
    if name == "calm":
        return True
    if name == "camera shake":
        return max(change(frames, 0, i) for i in range(2, FRAMES)) > 5
    return change(frames, 0, FRAMES - 1) > 8


MIRRORED = {
    "camera pan left": "camera pan right",
    "camera pan right": "camera pan left",
    "camera roll clockwise": "camera roll counter-clockwise",
    "camera roll counter-clockwise": "camera roll clockwise",
}


def scene(rng, sources, name):
    """(frames, flow) of a camera class or "calm"; a mirrored picture gets a mirrored path."""
    for attempt in range(40):
        calm = name == "calm"
        picture = Picture(rng, sources, moving_ok=not calm, calm=calm)
        cam = camera_for(rng, MIRRORED.get(name, name) if picture.flip else name)
        views = view_matrices(rng, picture, cam)
        if views is None:
            continue
        smear = rng.uniform(0.3, 0.7) if not calm and rng.random() < 0.2 else 0.0
        frames = render(rng, picture, views, smear)
        frames = np.ascontiguousarray(frames)
        if not (textured(frames[0]) and visible(frames, name)):
            continue
        flow = camera_flow(views)
        if picture.flip:
            flow = flow.reshape(-1, GRID, GRID, 2)[:, :, ::-1] * np.array([-1.0, 1.0])
            flow = flow.reshape(-1, GRID * GRID, 2)
        return frames, flow
    return scene(rng, sources, name)


def cut_out(rng, sources, side):
    """A real patch with a soft outline: RGBA, premultiplied, [side,side,4]."""
    if rng.random() < 0.6:
        image = sources.photos[rng.integers(len(sources.photos))][rng.integers(1, 3)]
    else:
        video = sources.videos[rng.integers(len(sources.videos))]
        image = video[rng.integers(len(video))]
    h, w = image.shape[:2]
    crop = int(rng.uniform(0.35, 0.95) * min(h, w))
    y, x = rng.integers(h - crop + 1), rng.integers(w - crop + 1)
    patch = cv2.resize(image[y : y + crop, x : x + crop], (side, side), interpolation=cv2.INTER_AREA)
    axis = (np.arange(side) + 0.5) / side * 2 - 1
    gx, gy = np.meshgrid(axis, axis)
    angle, radius = np.arctan2(gy, gx), np.hypot(gx, gy)
    if rng.random() < 0.3:
        p = rng.uniform(2.5, 8)
        radius = (np.abs(gx) ** p + np.abs(gy) ** p) ** (1 / p)
        edge = 0.85
    else:
        edge = 0.72
        for k in range(1, 6):
            edge = edge + rng.normal() * 0.16 / k * np.cos(k * angle + rng.uniform(0, 6.3))
        edge = np.clip(edge, 0.3, 0.93)
    alpha = np.clip((edge - radius) * side / rng.uniform(1.5, 5) + 0.5, 0, 1)
    colour = np.clip(patch * rng.uniform(0.6, 1.4) + rng.uniform(-35, 35), 0, 255)
    return np.dstack([colour * alpha[..., None], alpha * 255]).astype(np.uint8), float((alpha).mean())


def object_path(rng, name):
    """Centre [n,2] relative to the picture's middle, and size [n], in output pixels."""
    if name in ("object approaching", "object receding"):
        ratio = rng.uniform(1.5, 3.5)
        big = rng.uniform(0.35, 0.95) * SIZE
        e = ease(rng)
        size = big / ratio * np.exp(e * math.log(ratio))
        start = rng.uniform(-0.22, 0.22, 2) * SIZE
        centre = start + e[:, None] * start * rng.uniform(-0.3, 0.8)
        if name == "object receding":
            centre, size = centre[::-1].copy(), size[::-1].copy()
        return centre, size
    size = rng.uniform(0.16, 0.5) * SIZE
    e = ease(rng)
    total = SIZE * math.exp(rng.uniform(math.log(0.28), math.log(1.5)))
    # the middle of the path lies near the middle of the picture, so the object is seen
    middle = rng.uniform(-0.28, 0.28) * SIZE if total < SIZE else rng.uniform(-0.1, 0.1) * SIZE
    along = middle + (e - 0.5) * total
    across = rng.uniform(-0.33, 0.33) * SIZE + (e - 0.5) * total * math.tan(math.radians(rng.uniform(-18, 18)))
    if rng.random() < 0.3:
        across = across + rng.uniform(0, 1.5) * np.sin(e * rng.uniform(6, 20))
    if name in ("object right to left", "object upwards"):
        along = -along
    vertical = name in ("object upwards", "object downwards")
    centre = np.stack([across, along] if vertical else [along, across], axis=1)
    return centre, size * np.exp(e * rng.uniform(-0.1, 0.1))


def with_object(rng, sources, name, frames, flow):
    centre, size = object_path(rng, name)
    side = int(np.clip(math.ceil(size.max() * 1.15), 12, 72))
    patch, _ = cut_out(rng, sources, side)
    turn = rng.uniform(-0.4, 0.4) + np.linspace(0, rng.uniform(-0.15, 0.15), FRAMES)
    half, mid = (SIZE - 1) / 2, (side - 1) / 2
    layer = np.empty((FRAMES, SIZE, SIZE, 4), np.uint8)
    for i in range(FRAMES):
        k = size[i] / side
        a, b = k * math.cos(turn[i]), k * math.sin(turn[i])
        m = np.array(
            [
                [a, -b, half + centre[i, 0] - a * mid + b * mid],
                [b, a, half + centre[i, 1] - b * mid - a * mid],
            ]
        )
        layer[i] = cv2.warpAffine(patch, m, (SIZE, SIZE), flags=cv2.INTER_LINEAR)
    alpha = layer[..., 3:].astype(np.uint16)
    mixed = (frames.astype(np.uint16) * (255 - alpha) + 127) // 255 + layer[..., :3]
    out = np.minimum(mixed, 255).astype(np.uint8)
    difference = np.abs(out.astype(np.int16) - frames).mean(axis=(1, 2, 3))
    seen = np.count_nonzero(difference > 1.6)
    flow = flow.copy()
    for t in range(FRAMES // 2):
        a, b = 2 * t, 2 * t + 1
        local = (CENTRES - centre[a]) / size[a]
        inside = np.hypot(local[:, 0], local[:, 1]) < 0.36
        flow[t, inside] = centre[b] + local[inside] * size[b] - CENTRES[inside]
    return (out, flow) if seen >= 9 else None


NOISE = np.random.default_rng(7).normal(0, 32, 1 << 21).clip(-127, 127).astype(np.int8)


def degrade(rng, frames):
    """Exposure, colour, blur, noise, repeated frames and block compression."""
    shape = frames.shape
    flat = np.ascontiguousarray(frames).reshape(FRAMES * SIZE, SIZE, 3)
    if rng.random() < 0.12:
        flat = cv2.cvtColor(cv2.cvtColor(flat, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    gamma, gain, lift = rng.uniform(0.75, 1.35), rng.uniform(0.75, 1.25), rng.uniform(-18, 18)
    ramp = 255 * (np.arange(256) / 255.0) ** gamma
    table = np.stack([ramp * gain * rng.uniform(0.93, 1.07) + lift for _ in range(3)], axis=1)
    flat = cv2.LUT(flat, np.clip(table, 0, 255).astype(np.uint8).reshape(256, 1, 3))
    if rng.random() < 0.2:
        sigma = rng.uniform(0.4, 1.1)
        for i in range(FRAMES):
            rows = flat[i * SIZE : (i + 1) * SIZE]
            cv2.GaussianBlur(rows, (3, 3) if sigma < 0.7 else (5, 5), sigma, dst=rows)
    if rng.random() < 0.5:
        sigma = math.exp(rng.uniform(math.log(1.0), math.log(7.0)))
        start = rng.integers(NOISE.size - flat.size)
        grain = NOISE[start : start + flat.size].reshape(flat.shape)
        grain = cv2.convertScaleAbs(grain.astype(np.int16) + 128, alpha=1.0)
        flat = cv2.addWeighted(flat, 1.0, grain, sigma / 32, -128 * sigma / 32)
    if rng.random() < 0.2:
        quality = int(rng.integers(20, 80))
        ok, coded = cv2.imencode(".jpg", flat, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if ok:
            flat = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    frames = flat.reshape(shape)
    if rng.random() < 0.08:
        frames = frames[np.arange(FRAMES) // 2 * 2]
    return frames


def blend(a, b, weight):
    w = np.asarray(weight, np.float32)[:, None, None, None]
    return (a * (1 - w) + b * w + 0.5).astype(np.uint8)


def mild(rng, sources):
    """A scene for transitions: mostly calm, else a gentle camera move."""
    if rng.random() < 0.6:
        return scene(rng, sources, "calm")
    names = [n for n in LABELS if n.startswith("camera ")]
    return scene(rng, sources, names[rng.integers(len(names))])


def make_clip(sources, seed, number, label=None, clean=False):
    """(frames u8 [16,S,S,3] RGB, label, flow f32 [8,16,2], flow valid [8,16])."""
    rng = np.random.default_rng([seed, number])
    if label is None:
        label = int(rng.integers(len(LABELS)))
    name = LABELS[label]
    valid = np.ones(FRAMES // 2)
    if name == "static":
        frames, flow = scene(rng, sources, "calm")
    elif name.startswith("camera"):
        frames, flow = scene(rng, sources, name)
    elif name.startswith("object"):
        made = None
        while made is None:
            frames, flow = scene(rng, sources, "calm")
            made = with_object(rng, sources, name, frames, flow)
        frames, flow = made
    elif name in ("cut", "dissolve"):
        while True:
            (a, flow_a), (b, flow_b) = mild(rng, sources), mild(rng, sources)
            # A dissolve out of the dark is a fade in: neither picture may be nearly empty.
            if all(40 < p.mean() < 215 for p in (a, b)) and np.abs(a[8].astype(np.int16) - b[8]).mean() > 25:
                break
        if name == "cut":
            at = int(rng.integers(3, FRAMES - 2))
            weight = (np.arange(FRAMES) >= at).astype(np.float32)
            if at % 2:
                valid[at // 2] = 0
        else:
            length = int(rng.integers(5, 14))
            start = int(rng.integers(1, FRAMES - length + 1))
            weight = np.clip((np.arange(FRAMES) - start + 1) / (length + 1), 0, 1)
            mixed = (weight > 0) & (weight < 1)
            valid = 1.0 - (mixed[0::2] | mixed[1::2])
        frames = blend(a, b, weight)
        flow = np.where(weight[0::2, None, None] < 0.5, flow_a, flow_b)
    else:
        empty = 255 if rng.random() < 0.15 else 0
        while True:
            frames, flow = mild(rng, sources)
            if abs(frames.mean() - empty) > 45:
                break
        length = int(rng.integers(5, 15))
        start = int(rng.integers(0, max(1, FRAMES - length - 1)))
        light = np.clip((np.arange(FRAMES) - start) / length, 0, 1)
        if name == "fade out":
            light = light[::-1]
        if rng.random() < 0.5:
            light = light ** rng.uniform(0.8, 1.6)
        frames = blend(np.full_like(frames, empty), frames, light)
        valid = (light[0::2] > 0.25).astype(np.float64)
    if not clean:
        frames = degrade(rng, frames)
    frames = np.ascontiguousarray(frames)
    return frames, label, flow.astype(np.float32), valid.astype(np.float32)


class Batches(torch.utils.data.Dataset):
    """Batch k of a run: clips k*size .. (k+1)*size - 1."""

    def __init__(self, sources, seed, size, first, last):
        self.sources, self.seed, self.size, self.first, self.last = sources, seed, size, first, last

    def __len__(self):
        return self.last - self.first

    def __getitem__(self, k):
        base = (self.first + k) * self.size
        clips = [make_clip(self.sources, self.seed, base + i) for i in range(self.size)]
        frames, labels, flow, valid = zip(*clips)
        return (
            torch.from_numpy(np.stack(frames)),
            torch.tensor(labels),
            torch.from_numpy(np.stack(flow)),
            torch.from_numpy(np.stack(valid)),
        )


def validation_set(sources, per_class, seed=20_000, clean=False):
    """The same clips for every run: per_class of each label.  `clean`: as the camera saw
    them, without noise, blur, compression and colour changes."""
    labels = [i for i in range(len(LABELS)) for _ in range(per_class)]
    clips = [make_clip(sources, seed, n, label, clean) for n, label in enumerate(labels)]
    return torch.from_numpy(np.stack([c[0] for c in clips])), torch.tensor(labels)


assert INDEX["static"] == 0
