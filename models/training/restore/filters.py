# SPDX-License-Identifier: Apache-2.0
"""Fits the filters that `airestore` has for streams coded at their full size, and says what they gain.

    cargo build --release -p aivideo-hybrid --example restore_fit
    python filters.py            # fits, writes models/restore/restore-filters.bin, prints the gains
    python filters.py --write    # and puts them into the card, models/restore/README.md

They are the codec's loop filter, fitted on what `pairs.py` made: for each standard three sets of weights, for
fine, middle and coarse quantisers; once for the picture alone, and once each for what may look at one and at two
pictures on either side. What is added up, and the gains, come from the program itself (`restore_fit.rs`). One frame
in four is looked at, all counting alike.
"""

import argparse
import hashlib
import json
import os
import struct
import subprocess
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
# Most pictures on either side.
FARTHEST = 2
# Weights are least squares' times this, by pictures on either side: what fits the training clips best is too much
# for some others.
SHARES = (0.75, 0.9, 0.9)
EVERY = 4
BEGIN, END = "<!-- filters -->", "<!-- end of filters -->"
PROGRAM = os.path.join(ROOT, "target", "release", "examples", "restore_fit")


def bucket(coding):
    return STANDARDS.index(coding["base"]), int(np.searchsorted(BOUNDS, coding["quality"], side="right"))


def codings(clips):
    """The codings at full size: clip, index."""
    return [(clip, i) for clip in clips for i, coding in enumerate(clip.codings) if coding["scale"] == 1]


def program(command, clip, index, distance, *more):
    """What `restore_fit` says of a coding."""
    luma = b"".join(np.ascontiguousarray(planes[0]).tobytes() for planes in (clip.coded[index], clip.clean))
    arguments = (*clip.size, clip.frames, distance, EVERY, *more)
    return subprocess.run([PROGRAM, command, *map(str, arguments)], input=luma, stdout=subprocess.PIPE, check=True).stdout


def fit(clips, distance):
    side = loop_filter.TAPS + 2 * distance + 1
    sums, counts = {}, {}
    for clip, index in codings(clips):
        raw = program("products", clip, index, distance, loop_filter.LIMIT)
        for products in np.frombuffer(raw).reshape(-1, loop_filter.CLASSES, side, side):
            error = products[:, -1, -1].sum() / (clip.size[0] * clip.size[1])
            if error > 0:
                key = bucket(clip.codings[index])
                sums[key] = sums.get(key, 0) + products / error
                counts[key] = counts.get(key, 0) + 1
    whole, count = sum(sums.values()), sum(counts.values())
    sets = np.zeros((len(STANDARDS), loop_filter.SETS, loop_filter.CLASSES, side - 1), int)
    for (standard, k), products in sums.items():
        # A class that few samples were in leans on all codings.
        products = products + 0.05 * whole * counts[standard, k] / count
        weights = np.linalg.solve(products[:, :-1, :-1] + 3.0 * np.eye(side - 1), products[:, :-1, -1:])[..., 0]
        weights = np.rint(SHARES[distance] * weights * (1 << loop_filter.SHIFT)).astype(int)
        size = np.abs(weights).sum(-1, keepdims=True)
        sets[standard, k] = np.where(size > loop_filter.WEIGHT_LIMIT, weights * loop_filter.WEIGHT_LIMIT // np.maximum(size, 1), weights)
    return sets


def gains(clips, path, distance):
    rows = {}
    for clip, index in codings(clips):
        coding = clip.codings[index]
        text = program("gains", clip, index, distance, path, coding["base"], coding["quality"])
        before, after = np.mean([[float(v) for v in line.split()] for line in text.splitlines()], 0)
        rows[coding["encoder"], clip.name, coding["crf"]] = before, after - before
    return rows


def table(distances):
    heads = ("alone", "one on either side", "two")
    lines = ["| encoder | streams | coded, dB | " + " | ".join(f"{h}: gain, dB | least" for h in heads) + " |", "|---|---|---|" + "---|---|" * len(heads)]
    for encoder in sorted({key[0] for key in distances[0]}) + ["all"]:
        values = np.array([[rows[key] for key in rows if encoder in ("all", key[0])] for rows in distances])
        cells = " | ".join(f"{v[:, 1].mean():+.3f} | {v[:, 1].min():+.3f}" for v in values)
        lines.append(f"| {encoder} | {values.shape[1]} | {values[0, :, 0].mean():.2f} | {cells} |")
    return "\n".join(lines)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--work", default=os.path.join(ROOT, "target", "training", "restore"))
    p.add_argument("--models", default=os.path.join(ROOT, "models", "restore"))
    p.add_argument("--write", action="store_true")
    a = p.parse_args()
    clips = data.load(a.work, "train")
    sets = [fit(clips, distance) for distance in range(FARTHEST + 1)]
    raw = b"AIRF" + struct.pack("<H", 2) + b"".join(loop_filter.numbers(s).tobytes() for of in sets for s in of)
    path = os.path.join(a.models, "restore-filters.bin")
    with open(path + ".part", "wb") as f:
        f.write(raw)
    os.replace(path + ".part", path)
    held_out = data.load(a.work, "val")
    text = f"{len(clips)} training clips. Validation clips, coded as those, at full size:\n\n"
    text += table([gains(held_out, path, distance) for distance in range(FARTHEST + 1)])
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
