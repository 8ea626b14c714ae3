# SPDX-License-Identifier: Apache-2.0
"""Fits the filters that `airestore` has for streams coded at their full size, and says what they gain.

    python filters.py            # fits, writes models/restore/restore-filters.bin, prints the gains
    python filters.py --write    # and puts them into the card, models/restore/README.md

They are the codec's loop filter (`../codec/loop_filter.py`), fitted on what `pairs.py` made: for each standard
three sets of weights, for fine, middle and coarse quantisers. One frame in four is looked at, all counting alike.
"""

import argparse
import hashlib
import json
import os
import struct
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(HERE, "..", "codec"))
import data
import loop_filter
from train import ROOT

STANDARDS = ("av1", "h265", "h264")
# Quantisers over the largest, from which on a stream counts as of middle and of coarse quality.
BOUNDS = (0.5, 0.65)
# Weights are least squares' times this: what fits the training clips best is too much for some others.
SHARE = 0.75
BEGIN, END = "<!-- filters -->", "<!-- end of filters -->"


def bucket(coding):
    return STANDARDS.index(coding["base"]), int(np.searchsorted(BOUNDS, coding["quality"], side="right"))


def frames(clips):
    """Every fourth frame of the codings at full size: which coding, coded and clean luma."""
    for clip in clips:
        h, w = (clip.size[1] // 16 * 16, clip.size[0] // 16 * 16)
        for index, coding in enumerate(clip.codings):
            if coding["scale"] == 1:
                for t in range(1, clip.frames, 4):
                    cut = lambda planes: planes[0][t][:h, :w].astype(np.int32)
                    yield clip.name, coding, cut(clip.coded[index]), cut(clip.clean)


def fit(clips):
    fits = {}
    for _, coding, coded, clean in frames(clips):
        still = np.zeros((coded.shape[0] // 16, coded.shape[1] // 16), bool)
        fits.setdefault(bucket(coding), loop_filter.Fit()).add(coded, clean, still)
    whole = sum(np.stack(f.frames).astype(np.float64).sum(0) for f in fits.values())
    count = sum(len(f.frames) for f in fits.values())
    sets = np.zeros((len(STANDARDS), loop_filter.SETS, loop_filter.CLASSES, loop_filter.TAPS), int)
    for (standard, k), f in fits.items():
        # A class that few samples were in leans on all codings.
        products = np.stack(f.frames).astype(np.float64).sum(0) + 0.05 * whole * len(f.frames) / count
        weights = np.rint(SHARE * loop_filter.Fit.solve(products, 3.0) * (1 << loop_filter.SHIFT)).astype(int)
        size = np.abs(weights).sum(-1, keepdims=True)
        sets[standard, k] = np.where(size > loop_filter.WEIGHT_LIMIT, weights * loop_filter.WEIGHT_LIMIT // np.maximum(size, 1), weights)
    return sets


def gains(clips, sets):
    psnr = lambda a, b: 10 * np.log10(65025 / max(np.square(a - b).mean(), 1e-3))
    rows = {}
    for name, coding, coded, clean in frames(clips):
        standard, k = bucket(coding)
        still = np.zeros((coded.shape[0] // 16, coded.shape[1] // 16), bool)
        before = psnr(coded, clean)
        after = psnr(loop_filter.filtered(coded, sets[standard, k], still), clean)
        rows.setdefault((coding["encoder"], name, coding["crf"]), []).append((before, after - before))
    return {key: np.mean(values, 0) for key, values in rows.items()}


def table(rows):
    lines = ["| encoder | streams | coded, dB | gain, dB | least gain, dB |", "|---|---|---|---|---|"]
    for encoder in sorted({key[0] for key in rows}) + ["all"]:
        values = np.array([v for key, v in rows.items() if encoder in ("all", key[0])])
        lines.append(f"| {encoder} | {len(values)} | {values[:, 0].mean():.2f} | {values[:, 1].mean():+.3f} | {values[:, 1].min():+.3f} |")
    worst = min(rows, key=lambda key: rows[key][1])
    return "\n".join(lines + ["", f"Worst: {rows[worst][1]:+.3f} dB ({worst[1]}, {worst[0]}, CRF {worst[2]})."])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--work", default=os.path.join(ROOT, "target", "training", "restore"))
    p.add_argument("--models", default=os.path.join(ROOT, "models", "restore"))
    p.add_argument("--write", action="store_true")
    a = p.parse_args()
    clips = data.load(a.work, "train")
    sets = fit(clips)
    raw = b"AIRF" + struct.pack("<H", 1) + b"".join(loop_filter.numbers(s).tobytes() for s in sets)
    path = os.path.join(a.models, "restore-filters.bin")
    with open(path + ".part", "wb") as f:
        f.write(raw)
    os.replace(path + ".part", path)
    text = f"{len(clips)} training clips. Validation clips, coded as those, at full size:\n\n" + table(gains(data.load(a.work, "val"), sets))
    print(text)
    manifest = os.path.join(a.models, "manifest.json")
    with open(manifest) as f:
        files = [e for e in json.load(f)["files"] if e["path"] != "restore-filters.bin"]
    files.append(
        {
            "path": "restore-filters.bin",
            "sha256": hashlib.sha256(raw).hexdigest(),
            "kind": "restore-filters",
            "inputs": [],
            "outputs": [],
            "licence": "Apache-2.0",
            "training": files[0]["training"],
        }
    )
    with open(manifest, "w") as f:
        json.dump({"files": files}, f, indent=2)
        f.write("\n")
    if a.write:
        path = os.path.join(a.models, "README.md")
        with open(path) as f:
            head, rest = f.read().split(BEGIN)
        with open(path, "w") as f:
            f.write(f"{head}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
