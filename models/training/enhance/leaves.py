# SPDX-License-Identifier: Apache-2.0
"""Pictures of sharp edges, composed of the training pictures.

Photographs and video are short of what drawings, lettering and close objects
are full of: edges as sharp as the sampling grid allows, at every angle, with
corners and thin lines.  A dead-leaves picture is full of them (Achddou, Gousseau
and Ladjal, "Synthetic images as a regularity prior for image restoration
neural networks", 2021): shapes whose sizes follow a power law, each hiding what
lies below it.  Here every shape is a cut-out of a training picture with a
brightness and contrast of its own, so that texture stays natural.
"""

import cv2
import numpy as np

# Masks are drawn so many times larger and averaged down, as a sensor's pixel averages light.
OVERSAMPLING = 4
LETTERS = "ABCDEFGHKMNRSTXabdefghknrstxyz0123456789&%#@?"


def outline(rng, radius):
    """A closed curve around the origin: a polygon of few corners, or a smooth blob."""
    if rng.random() < 0.45:
        angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 7)))
        r = radius * rng.uniform(0.6, 1.3, angles.size)
    else:
        angles = np.linspace(0, 2 * np.pi, 90, endpoint=False)
        r = np.full(angles.size, float(radius))
        for k in range(1, 6):
            r += radius * rng.normal(0, 0.35 / k) * np.cos(k * angles + rng.uniform(0, 2 * np.pi))
        r = np.abs(r)
    stretch = rng.uniform(0.3, 1.0)
    x, y, turn = r * np.cos(angles), stretch * r * np.sin(angles), rng.uniform(0, 2 * np.pi)
    return np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], 1)


def line(rng, size):
    """A bent line across the picture."""
    ends = rng.uniform(-0.2, 1.2, (3, 2)) * size
    t = np.linspace(0, 1, 40)[:, None]
    return (1 - t) ** 2 * ends[0] + 2 * t * (1 - t) * ends[1] + t**2 * ends[2]


def mask(rng, size, radius):
    """How much of every pixel the shape covers, 0..1."""
    big = np.zeros((size * OVERSAMPLING, size * OVERSAMPLING), np.uint8)
    at = rng.uniform(0, size, 2)
    kind = rng.random()
    if kind < 0.82:
        points = (outline(rng, radius) + at) * OVERSAMPLING
        cv2.fillPoly(big, [points.round().astype(np.int32)], 255)
    elif kind < 0.92:
        points = (line(rng, size) * OVERSAMPLING).round().astype(np.int32)
        cv2.polylines(big, [points], False, 255, int(rng.integers(2, 24)))
    else:
        word = "".join(rng.choice(list(LETTERS), rng.integers(2, 9)))
        scale = max(radius / 10, 0.5)
        cv2.putText(
            big, word, tuple(int(v * OVERSAMPLING) for v in at - [radius, 0]), int(rng.integers(0, 8)),
            scale, 255, int(rng.integers(1, 4) * max(scale, 1)),
        )
    return cv2.resize(big, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def filling(rng, planes, size):
    """A cut-out of a training picture, or where chance wants it a plain colour of one."""
    p = planes[rng.integers(len(planes))]
    y, x = (int(rng.integers(0, p.shape[i + 1] - size + 1)) for i in range(2))
    cut = p[:, y : y + size, x : x + size].astype(np.float32)
    middle = cut.mean((1, 2), keepdims=True)
    contrast = 0.0 if rng.random() < 0.4 else rng.uniform(0.2, 1.2)
    cut = middle + contrast * (cut - middle)
    cut[0] += rng.uniform(16, 235) - middle[0] if rng.random() < 0.7 else 0
    return cut


def compose(rng, planes, size):
    """One picture [3,size,size] uint8 of shapes over each other, from the back to the front."""
    out = filling(rng, planes, size)
    for _ in range(int(rng.integers(40, 160))):
        # Radii by a power law of -3: every scale covers as much of the picture as any other.
        least, most = 6.0, size / 3
        u = rng.random()
        radius = (least**-2 + u * (most**-2 - least**-2)) ** -0.5
        cover = mask(rng, size, radius)
        out += cover * (filling(rng, planes, size) - out)
    return out.round().clip(0, 255).astype(np.uint8)


def pictures(planes, count, size, seed=7):
    planes = [p for p in planes if min(p.shape[1:]) >= size]
    rng = np.random.default_rng(seed)
    return [compose(rng, planes, size) for _ in range(count)]
