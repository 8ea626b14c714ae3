# SPDX-License-Identifier: Apache-2.0
"""What taking out a part of the light's colour gains and costs: pictures with casts added, and without.

    python balance.py [--data ../../../../shared/data]

The estimate is that of elements/enhance/src/operations/color/balance.rs. Nothing is trained; the table is in
docs/decisions.md.
"""

import argparse
import glob
import os
import random

import cv2
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
POWER, DARK, BRIGHT, SATURATED, ENOUGH, MOST = 6, 0.04, 0.97, 0.65, 0.1, 1.6
CASTS = (0, 0, 0, 0.1, 0.2, 0.3, 0.45)
PARTS = np.arange(0, 1.01, 0.1)


def thumbnails(data):
    """RGB of 64x64 in 0 to 1, of all photos and two frames of each clip."""
    shrink = lambda picture: cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA)[..., ::-1] / 255.0  # noqa: E731
    for split in ("val", "train"):
        for path in sorted(glob.glob(os.path.join(data, split, "images", "*"))):
            picture = cv2.imread(path)
            if picture is not None:
                yield shrink(picture)
        for path in sorted(glob.glob(os.path.join(data, split, "video", "*"))):
            clip = cv2.VideoCapture(path)
            total = int(clip.get(cv2.CAP_PROP_FRAME_COUNT)) or 100
            for at in (total // 5, total // 2):
                clip.set(cv2.CAP_PROP_POS_FRAMES, at)
                ok, picture = clip.read()
                if ok:
                    yield shrink(picture)


def gains(picture):
    rgb = picture.reshape(-1, 3)
    most, least = rgb.max(1), rgb.min(1)
    says = (most >= DARK) & (most <= BRIGHT) & (most - least <= SATURATED * most)
    if says.sum() < ENOUGH * len(rgb):
        return None
    level = np.maximum(((rgb[says] ** 2.2) ** POWER).mean(0) ** (1 / POWER), 1e-6)
    red, blue = (np.clip(level[1] / level[c], 1 / MOST, MOST) for c in (0, 2))
    return np.array([red, 1, blue]) / (0.2126 * red + 0.7152 + 0.0722 * blue)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.path.join(HERE, "..", "..", "..", "..", "shared", "data"))
    args = parser.parse_args()
    pictures = list(thumbnails(args.data))
    if not pictures:
        raise SystemExit(f"no pictures in {args.data}: give the folder that has train/ and val/ with --data")
    rng, rows = random.Random(1), []
    for picture in pictures:
        for cast in CASTS:
            angle = 2 * np.pi * rng.random()
            light = np.exp(cast * np.array([np.cos(angle), 0, np.sin(angle)]))
            light /= light @ [0.2126, 0.7152, 0.0722]
            seen = (((picture**2.2 * light).clip(0, 1) ** (1 / 2.2)) * 255).round() / 255
            gain = gains(seen)
            if gain is None:
                continue
            found = np.hypot(np.log(gain[0] / gain[1]), np.log(gain[2] / gain[1]))
            errors = [np.sqrt((((seen * gain ** (p / 2.2)).clip(0, 1) - picture) ** 2).mean()) * 255 for p in PARTS]
            rows.append([cast, found, *errors])
    rows = np.array(rows)
    print(f"{len(pictures)} pictures; root mean square error in steps of 255 by the part taken out, {PARTS.round(1)}")
    for cast in sorted(set(CASTS)):
        part = rows[rows[:, 0] == cast]
        print(f"cast {cast}: {part[:, 2:].mean(0).round(1)}")
    for low, high in ((0, 0.1), (0.1, 0.2), (0.2, 0.3), (0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (0.6, 0.9)):
        part = rows[(rows[:, 1] >= low) & (rows[:, 1] < high)]
        print(f"found {low} to {high}: {len(part)}, {(part[:, 0] == 0).mean():.0%} without a cast: {part[:, 2:].mean(0).round(1)}")


if __name__ == "__main__":
    main()
