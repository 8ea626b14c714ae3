# SPDX-License-Identifier: Apache-2.0
"""The filter in the coding loop: what it computes, and how its weights are fitted.

`elements/codec/src/loop_filter.rs` says what it is; this is the same on arrays. Weights are least squares:
each set is the best one for the frames that choose it by their luma (as in k-means), every frame counting alike.

    python loop_filter.py fixture ../../../elements/codec/tests/data/loop_filter.bin    # what Rust must equal
"""

import struct
import sys

import numpy as np

LEVELS, DIRECTIONS, SETS, LIMIT, SHIFT = 8, 5, 3, 4, 7
CLASSES = LEVELS * DIRECTIONS
BOUNDS = (18, 36, 72, 130, 216, 360, 648)
PLACES = [(0, 1), (0, 2), (0, 3), (1, -2), (1, -1), (1, 0), (1, 1), (1, 2), (2, -1), (2, 0), (2, 1), (3, 0)]
TAPS = len(PLACES)
WEIGHT_LIMIT = 500
# Versions of the tables' file without filters and with them.
UNFILTERED, FILTERED = 4, 6


def classify(luma):
    """Class of each sample of [h, w] integers."""
    h, w = luma.shape
    p = np.pad(luma.astype(np.int32), 1, mode="edge")
    at = lambda dy, dx: p[1 + dy : 1 + dy + h, 1 + dx : 1 + dx + w]
    sums = []
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        bend = np.abs(2 * at(0, 0) - at(dy, dx) - at(-dy, -dx))
        cell = np.pad(bend.reshape(h // 2, 2, w // 2, 2).sum((1, 3)), 1, mode="edge")
        rows = cell[:-2] + cell[1:-1] + cell[2:]
        sums.append(rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:])
    horizontal, vertical, down, up = sums
    level = np.digitize(horizontal + vertical, BOUNDS)
    most = lambda a, b: (np.maximum(a, b), np.minimum(a, b))
    (straight, straight_least), (oblique, oblique_least) = most(horizontal, vertical), most(down, up)
    weak = (straight <= 2 * straight_least) & (oblique <= 2 * oblique_least)
    is_straight = straight * oblique_least >= oblique * straight_least
    direction = np.where(is_straight, np.where(horizontal > vertical, 1, 2), np.where(down > up, 3, 4))
    kind = level * DIRECTIONS + np.where(weak, 0, direction)
    return kind.repeat(2, 0).repeat(2, 1)


def pairs(luma):
    """Limited differences of each pair of samples to the one between them: [h, w, TAPS]."""
    h, w = luma.shape
    p = np.pad(luma.astype(np.int16), 3, mode="edge")
    middle = p[3:-3, 3:-3]
    at = lambda dy, dx: (p[3 + dy : 3 + dy + h, 3 + dx : 3 + dx + w] - middle).clip(-LIMIT, LIMIT)
    return np.stack([at(dy, dx) + at(-dy, -dx) for dy, dx in PLACES], -1)


def blocks(skip, side=16):
    """One flag a block as one a sample."""
    return np.asarray(skip, bool).repeat(side, 0).repeat(side, 1)


def of_chroma(kind):
    """Classes of the samples of chroma: one lies in each cell of luma."""
    return kind[::2, ::2]


def moved(plane, kind, weights):
    """A plane of integers after weights [CLASSES, TAPS] by the classes of its samples."""
    sums = (pairs(plane).astype(np.int32) * weights[kind]).sum(-1)
    return (plane.astype(np.int32) + ((sums + (1 << (SHIFT - 1))) >> SHIFT)).clip(0, 255)


def filtered(luma, chroma, weights, skip):
    """[h, w] and [2, h/2, w/2] integers after the filter with weights [2, CLASSES, TAPS], of luma and of chroma; skip [2, h/16, w/16]."""
    kind = classify(luma)
    out = np.where(blocks(skip[0]), luma, moved(luma, kind, weights[0]))
    other = [np.where(blocks(skip[1], 8), plane, moved(plane, of_chroma(kind), weights[1])) for plane in chroma]
    return out, np.stack(other)


def choose(luma, chroma, source, sets, skip):
    """Luma and chroma after the set that brings luma nearest to its source, and that set's number; 0 for none. `sets` as
    [`Fit.sets`] gives them."""
    best, least = 0, np.square(luma.astype(np.int32) - source).sum()
    kind, still = classify(luma), blocks(skip[0])
    for number, weights in enumerate(sets[0], 1):
        error = np.square(np.where(still, luma, moved(luma, kind, weights)) - source).sum()
        if error < least:
            best, least = number, error
    if not best:
        return luma, chroma, 0
    return *filtered(luma, chroma, sets[:, best - 1], skip), best


class Fit:
    """Gathers coded frames and solves for the sets of weights."""

    def __init__(self):
        self.frames, self.chroma = [], []

    def add(self, luma, chroma, source, chroma_source, skip):
        """A frame before the filter, [h, w] and [2, h/2, w/2] integers, and what it should have been; skip [2, h/16, w/16]."""
        coded = ~blocks(skip[0])
        kind = classify(luma)
        found = self.products(luma, source, kind, coded)
        if found is None:
            return
        self.frames.append(found)
        planes = [self.products(p, s, of_chroma(kind), ~blocks(skip[1], 8)) for p, s in zip(chroma, chroma_source)]
        self.chroma.append(sum((p for p in planes if p is not None), np.zeros_like(found)))

    @staticmethod
    def products(plane, source, kind, coded):
        """Sums of products by class, over the mean squared error; None where there is none."""
        difference = source.astype(np.int32) - plane
        error = np.square(difference)[coded].mean() if coded.any() else 0
        if error == 0:
            return None
        kind = np.where(coded, kind, CLASSES).ravel()
        order = np.argsort(kind, kind="stable")
        starts = np.searchsorted(kind[order], np.arange(CLASSES + 1))
        x = np.concatenate([pairs(plane), difference[..., None]], -1).reshape(-1, TAPS + 1)[order].astype(np.float32)
        products = np.zeros((CLASSES, TAPS + 1, TAPS + 1), np.float32)
        for k in range(CLASSES):
            part = x[starts[k] : starts[k + 1]]
            products[k] = part.T @ part
        return products / error

    @staticmethod
    def solve(products, lean):
        """Weights [CLASSES, TAPS] for sums of products; `lean` pulls them to zero where little was seen."""
        a = products[:, :-1, :-1] + lean * np.eye(TAPS)
        return np.linalg.solve(a, products[:, :-1, -1:])[..., 0]

    @staticmethod
    def gains(frames, weights):
        """What each frame's squared error shrinks by."""
        b = np.einsum("fci,ci->f", frames[:, :, :-1, -1], weights)
        return 2 * b - np.einsum("ci,fcij,cj->f", weights, frames[:, :, :-1, :-1], weights)

    def sets(self, rounds=20):
        """[2, SETS, CLASSES, TAPS] integers, of luma and of chroma."""
        frames = np.stack(self.frames).astype(np.float64)
        whole = frames.sum(0)
        base = self.solve(whole, 3.0)
        sets = [base * s for s in (0.6, 1.2, 1.8)]
        for _ in range(rounds):
            gains = np.stack([np.zeros(len(frames))] + [self.gains(frames, w) for w in sets], 1)
            chosen = gains.argmax(1)
            for k in range(SETS):
                own = frames[chosen == k + 1]
                if len(own) > 2:
                    sets[k] = self.solve(own.sum(0) + 0.03 * whole * len(own) / len(frames), 3.0)
        chroma = np.stack(self.chroma).astype(np.float64)
        others = [self.solve(chroma[chosen == k + 1].sum(0) + 0.03 * chroma.sum(0), 3.0) for k in range(SETS)]
        return self.rounded(np.stack([sets, others]))

    def chroma_of_all(self):
        """[CLASSES, TAPS] integers for the chroma of all frames, whatever set their luma would choose."""
        return self.rounded(self.solve(np.sum(self.chroma, 0, np.float64), 3.0))

    @staticmethod
    def rounded(weights):
        weights = np.rint(weights * (1 << SHIFT)).astype(np.int64)
        size = np.abs(weights).sum(-1, keepdims=True)
        return np.where(size > WEIGHT_LIMIT, weights * WEIGHT_LIMIT // np.maximum(size, 1), weights)


def numbers(sets):
    """As the tables' file has them: u16."""
    parts = [np.concatenate([[LIMIT], np.asarray(part).astype(np.int16).reshape(-1).view(np.uint16)]) for part in sets]
    return np.concatenate(parts).astype("<u2")


def read(path):
    """The sets of a tables' file, [2, SETS, CLASSES, TAPS]; None where it has none."""
    with open(path, "rb") as f:
        raw = f.read()
    if struct.unpack_from("<H", raw, 4)[0] != FILTERED:
        return None
    tail = np.frombuffer(raw[-4 * (1 + SETS * CLASSES * TAPS) :], "<i2").reshape(2, -1)
    return tail[:, 1:].reshape(2, SETS, CLASSES, TAPS).astype(np.int64)


class Torch:
    """The filter of luma in training, on [B,1,H,W] in 0..255: one set of weights for all frames. Its gradient is
    that of no filter. (Chroma is left as it is there.)"""

    def __init__(self, weights, device="cpu"):
        import torch

        self.torch = torch
        self.weights = torch.from_numpy(np.asarray(weights, np.float32)).to(device)
        self.bounds = torch.tensor(BOUNDS, dtype=torch.float32, device=device)

    def classify(self, luma):
        F, torch = self.torch.nn.functional, self.torch
        p = F.pad(luma, (1, 1, 1, 1), mode="replicate")
        h, w = luma.shape[2:]
        at = lambda dy, dx: p[:, :, 1 + dy : 1 + dy + h, 1 + dx : 1 + dx + w]
        bends = [(2 * luma - at(dy, dx) - at(-dy, -dx)).abs() for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1))]
        cells = F.avg_pool2d(torch.cat(bends, 1), 2) * 4
        sums = F.avg_pool2d(F.pad(cells, (1, 1, 1, 1), mode="replicate"), 3, 1) * 9
        horizontal, vertical, down, up = sums.round().unbind(1)
        level = torch.bucketize(horizontal + vertical, self.bounds, right=True)
        straight, straight_least = torch.maximum(horizontal, vertical), torch.minimum(horizontal, vertical)
        oblique, oblique_least = torch.maximum(down, up), torch.minimum(down, up)
        weak = (straight <= 2 * straight_least) & (oblique <= 2 * oblique_least)
        is_straight = straight.double() * oblique_least >= oblique.double() * straight_least
        direction = torch.where(is_straight, 2 - (horizontal > vertical).long(), 4 - (down > up).long())
        kind = level * DIRECTIONS + torch.where(weak, 0, direction)
        return kind.repeat_interleave(2, 1).repeat_interleave(2, 2)

    def __call__(self, luma):
        torch = self.torch
        with torch.no_grad():
            h, w = luma.shape[2:]
            p = torch.nn.functional.pad(luma, (3, 3, 3, 3), mode="replicate")
            at = lambda dy, dx: (p[:, 0, 3 + dy : 3 + dy + h, 3 + dx : 3 + dx + w] - luma[:, 0]).clamp(-LIMIT, LIMIT)
            kind = self.classify(luma)
            sums = torch.full_like(luma[:, 0], 1 << (SHIFT - 1))
            for weights, (dy, dx) in zip(self.weights.T.contiguous(), PLACES):
                sums += weights[kind] * (at(dy, dx) + at(-dy, -dx))
            change = (luma[:, 0] + (sums / (1 << SHIFT)).floor()).clamp(0, 255)[:, None] - luma
        return luma + change


def fixture():
    """Size, luma, chroma, skip flags, weights, and what comes out with the second set."""
    rng = np.random.default_rng(8)
    h, w = 64, 128
    y, x = np.mgrid[:h, :w]
    luma = (110 + 50 * np.sin(x * 0.13 + y * 0.06) + 40 * (x > 2 * y) + rng.normal(0, 2 + y / 16, (h, w))).clip(0, 255).astype(np.uint8)
    chroma = np.stack([(90 + 60 * (x > y * k) + rng.normal(0, 3, (h, w))).clip(0, 255)[::2, ::2] for k in (1, 3)]).astype(np.uint8)
    skip = rng.random((2, h // 16, w // 16)) < 0.2
    sets = rng.integers(-20, 30, (2, SETS, CLASSES, TAPS))
    out = [plane.astype(np.uint8).tobytes() for plane in filtered(luma, chroma, sets[:, 1], skip)]
    return struct.pack("<2H", w, h) + luma.tobytes() + chroma.tobytes() + skip.astype(np.uint8).tobytes() + numbers(sets).tobytes() + b"".join(out)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] != "fixture":
        raise SystemExit(__doc__)
    with open(sys.argv[2], "wb") as f:
        f.write(fixture())
