# SPDX-License-Identifier: Apache-2.0
"""Fits the loop filter behind the residual, on what the real encoder gives it, and writes it into the tables of models.

What is left behind the residual is not the network's error but that of a transform's
levels and of a prediction that is filtered itself: each round codes the training clips with the filters of the round before.
The example `unfiltered_frames` of the codec's crate must be there, and the environment of env.sh:

    cargo build --release -p aivideo-codec --example unfiltered_frames
    python filters.py --data DIR ../../codec ../../codec-m     # the first folder's encoder codes the clips

Then `release.py` with the checkpoints writes hashes and cards anew. What is shipped is of `--most 30 --rounds 2` behind two rounds of `--most 24`
without key frames, by the encoder of that time (before starts of contexts were counted and gains checked on whole samples).
"""

import argparse
import hashlib
import os
import random

import onnx

import loop_filter
import real_encoder

FRAMES = 9


def fit(program, folder, clips, seed, log):
    gathered = loop_filter.Fit()
    for i, path in enumerate(clips):
        rng = random.Random(f"{seed}-{i}")
        for quality in real_encoder.QUALITIES:
            run = real_encoder.read_run(path, rng, FRAMES)
            if run is None or run.shape[1] * run.shape[2] > 1.5 * 640 * 384:
                continue
            h = run.shape[1] * 2 // 3
            for t, luma, untouched in real_encoder.unfiltered(program, folder, run, quality):
                # The next ones have the errors of the key frame.
                if t == 0 or t > 2:
                    gathered.add(luma.astype("i4"), run[t, :h].astype("i4"), untouched)
        log(f"{i + 1} of {len(clips)} clips, {len(gathered.frames)} frames", flush=True)
    return gathered.sets()


def tables_of(folder):
    names = [name for name in sorted(os.listdir(folder)) if name.endswith("-tables.bin") and "key" not in name.split("-")]
    if len(names) != 1:
        raise SystemExit(f"{folder}: which of {names} are the tables of predicted frames?")
    return os.path.join(folder, names[0])


def write(folder, sets):
    """Puts the filters into the tables, and the tables' hash into the graphs, which name the tables that they belong to."""
    path = tables_of(folder)
    if loop_filter.read(path) is None:
        raise SystemExit(f"{path} has no filters")
    with open(path, "rb") as f:
        raw = f.read()
    tail = loop_filter.numbers(sets).tobytes()
    raw = raw[: -len(tail)] + tail
    with open(path, "wb") as f:
        f.write(raw)
    stem = path[: -len("tables.bin")]
    for graph in (f"{stem}{part}.onnx" for part in ("encode", "decode", "encode10", "decode10")):
        net = onnx.load(graph)
        for prop in net.metadata_props:
            if prop.key == "aicodec.tables-sha256":
                prop.value = hashlib.sha256(raw).hexdigest()
        onnx.save(net, graph)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--data", required=True, help="folder with video/")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--most", type=int, default=0, help="of the clips")
    args = parser.parse_args()
    program = real_encoder.find("unfiltered_frames", "AIVIDEO_UNFILTERED_FRAMES")
    clips = real_encoder.clips_in(args.data)
    if args.most:
        clips = sorted(clips, key=lambda path: random.Random(os.path.basename(path)).random())[: args.most]
    for round in range(args.rounds):
        sets = fit(program, args.folders[0], clips, 7 + round, print)
        for folder in args.folders:
            write(folder, sets)
        print(f"round {round + 1} of {args.rounds} written", flush=True)


if __name__ == "__main__":
    main()
