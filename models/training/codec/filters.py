# SPDX-License-Identifier: Apache-2.0
"""Fits the loop filter behind the residual, and that of the chroma of key frames' networks, on what the real encoder gives them, and writes them into
the tables of models.

What is left behind the residual is not the network's error but that of a transform's
levels and of a prediction that is filtered itself: each round codes the training clips with the filters of the round before.
The example `unfiltered_frames` of the codec's crate must be there, and the environment of env.sh:

    cargo build --release -p aivideo-codec --example unfiltered_frames
    python filters.py --data DIR ../../codec ../../codec-m     # the first folder's encoder codes the clips

Then `release.py` with the checkpoints writes hashes and cards anew. What is shipped is of `--most 24 --rounds 1`, twice, begun with the filters of
before and weights of zero for chroma.
"""

import argparse
import hashlib
import os
import random

import onnx

import loop_filter
import real_encoder

FRAMES = 9


def split(picture):
    """Luma and chroma of I420 [3h/2, w]."""
    h, w = picture.shape[0] * 2 // 3, picture.shape[1]
    return picture[:h].astype("i4"), picture[h:].reshape(2, h // 2, w // 2).astype("i4")


def fit(program, folder, clips, seed, log):
    """Sets behind the residual, and weights of chroma for key frames' networks, whose set is always the same."""
    behind, network = loop_filter.Fit(), loop_filter.Fit()
    for i, path in enumerate(clips):
        rng = random.Random(f"{seed}-{i}")
        for quality in real_encoder.QUALITIES:
            run = real_encoder.read_run(path, rng, FRAMES)
            if run is None or run.shape[1] * run.shape[2] > 1.5 * 640 * 384:
                continue
            for t, before, picture, untouched in real_encoder.unfiltered(program, folder, run, quality):
                source = split(run[t])
                if before is not None:
                    network.add(*split(before), *source, untouched & False)
                # The next ones have the errors of the key frame.
                if t == 0 or t > 2:
                    behind.add(*split(picture), *source, untouched)
        log(f"{i + 1} of {len(clips)} clips, {len(behind.frames)} frames", flush=True)
    return behind.sets(), network.chroma_of_all()


def tables_of(folder, key):
    names = [name for name in sorted(os.listdir(folder)) if name.endswith("-tables.bin") and ("key" in name.split("-")) == key]
    if len(names) != 1:
        raise SystemExit(f"{folder}: which of {names} are the tables of {'key' if key else 'predicted'} frames?")
    return os.path.join(folder, names[0])


def write(path, sets):
    """Puts the filters into the tables, and the tables' hash into the graphs, which name the tables that they belong to."""
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


def write_all(folder, behind, network):
    write(tables_of(folder, False), behind)
    key = tables_of(folder, True)
    # Other models may share those of key frames by a link. Luma's are what the network has learnt with.
    if not os.path.islink(key):
        sets = loop_filter.read(key)
        sets[1] = network
        write(key, sets)


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
            write_all(folder, *sets)
        print(f"round {round + 1} of {args.rounds} written", flush=True)


if __name__ == "__main__":
    main()
