# SPDX-License-Identifier: Apache-2.0
"""Fits the filters that `airestore` has for streams coded at their full size, and says what they gain.

    cargo build --release -p aivideo-hybrid --example restore_fit
    python filters.py            # fits, writes models/restore/restore-filters.bin, prints the gains
    python filters.py --write    # and puts them into the card, models/restore/README.md

They are the codec's loop filter, fitted on what `pairs.py` made: for each standard three sets of weights, for
fine, middle and coarse quantisers, and these for low delay, for other streams and for what is not known; once for the
picture alone, and once each for what may look at one and at two pictures on either side. What is added up, and the gains, come from the program itself (`restore_fit.rs`). One frame
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
# Streams whose pictures lean on earlier ones alone; the others' lean on later ones, too.
LOW_DELAY = ("svt-av1-low-delay", "x264-veryfast-zl", "x265-ultrafast-zl")
KINDS = ("unknown", "low-delay", "reordered")
# Most pictures on either side, and how many there are to each: itself and a smooth copy.
FARTHEST, COPIES = 2, 2
# Weights are least squares' times this, by pictures on either side: what fits the training clips best is too much
# for some others.
SHARES = (0.85, 0.95, 0.95)
EVERY = 4
BEGIN, END = "<!-- filters -->", "<!-- end of filters -->"
PROGRAM = os.path.join(ROOT, "target", "release", "examples", "restore_fit")


def bucket(coding):
    return STANDARDS.index(coding["base"]), int(np.searchsorted(BOUNDS, coding["quality"], side="right"))


def kind_of(coding):
    return KINDS.index("low-delay" if coding["encoder"] in LOW_DELAY else "reordered")


def codings(clips):
    """The codings at full size: clip, index."""
    return [(clip, i) for clip in clips for i, coding in enumerate(clip.codings) if coding["scale"] == 1]


def program(command, clip, index, distance, *more):
    """What `restore_fit` says of a coding."""
    luma = b"".join(np.ascontiguousarray(planes[0]).tobytes() for planes in (clip.coded[index], clip.clean))
    arguments = (*clip.size, clip.frames, distance, EVERY, *more)
    return subprocess.run([PROGRAM, command, *map(str, arguments)], input=luma, stdout=subprocess.PIPE, check=True).stdout


def fit(clips, distance):
    """Sets for each kind and standard."""
    side = loop_filter.TAPS + 2 * COPIES * distance + 1
    sums, counts = {}, {}
    for clip, index in codings(clips):
        raw = program("products", clip, index, distance, loop_filter.LIMIT)
        for products in np.frombuffer(raw).reshape(-1, loop_filter.CLASSES, side, side):
            error = products[:, -1, -1].sum() / (clip.size[0] * clip.size[1])
            if error > 0:
                for kind in (0, kind_of(clip.codings[index])):
                    key = kind, *bucket(clip.codings[index])
                    sums[key] = sums.get(key, 0) + products / error
                    counts[key] = counts.get(key, 0) + 1
    return solve(sums, counts, distance)


def solve(sums, counts, distance):
    side = loop_filter.TAPS + 2 * COPIES * distance + 1
    sets = np.zeros((len(KINDS), len(STANDARDS), loop_filter.SETS, loop_filter.CLASSES, side - 1), int)
    for kind, standard, k in np.ndindex(sets.shape[:3]):
        # What no coding was of is taken for unknown.
        known = kind if (kind, standard, k) in sums else 0
        products, count = sums[known, standard, k], counts[known, standard, k]
        # A class that few samples were in leans on all codings of its kind.
        like = [key for key in sums if key[0] == known]
        products = products + 0.05 * count * sum(sums[key] for key in like) / sum(counts[key] for key in like)
        weights = np.linalg.solve(products[:, :-1, :-1] + 3.0 * np.eye(side - 1), products[:, :-1, -1:])[..., 0]
        weights = np.rint(SHARES[distance] * weights * (1 << loop_filter.SHIFT)).astype(int)
        size = np.abs(weights).sum(-1, keepdims=True)
        sets[kind, standard, k] = np.where(size > loop_filter.WEIGHT_LIMIT, weights * loop_filter.WEIGHT_LIMIT // np.maximum(size, 1), weights)
    return sets


def gains(clips, path, distance):
    rows = {}
    for clip, index in codings(clips):
        coding = clip.codings[index]
        text = program("gains", clip, index, distance, path, coding["base"], coding["quality"], KINDS[kind_of(coding)])
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
    raw = b"AIRF" + struct.pack("<H", 3) + b"".join(loop_filter.numbers(s).tobytes() for kinds in sets for of in kinds for s in of)
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
