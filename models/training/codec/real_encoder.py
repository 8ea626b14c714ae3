# SPDX-License-Identifier: Apache-2.0
"""What the Rust encoder makes of real clips: the tables of frames that are predicted are counted from it.

In the trainer's own frames blocks are skipped by a rule of thumb, runs are short, and much is disturbed on purpose;
tables of those cost 2 % more bits for the symbols of predicted frames (docs/decisions.md).
"""

import io
import os
import random
import struct
import subprocess

import cv2
import numpy as np
import torch

import data
import model as codec

# One second and its key frame.
FRAMES = 25
QUALITIES = (1, 11, 21, 31, 41, 51)
PROGRAMS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../target/release/examples")


def read_run(path, rng, frames=FRAMES):
    """So many successive frames at a random place of a clip, as I420 [T, 3h/2, w] of whole 64x64 blocks; None of a clip that is shorter."""
    clip = cv2.VideoCapture(path)
    size = data.target_size(rng, int(clip.get(cv2.CAP_PROP_FRAME_WIDTH)), int(clip.get(cv2.CAP_PROP_FRAME_HEIGHT)))
    w, h = (side // 64 * 64 for side in size)
    start = rng.randrange(max(1, int(clip.get(cv2.CAP_PROP_FRAME_COUNT)) - frames + 1))
    if not w or not h:
        return None
    clip.set(cv2.CAP_PROP_POS_FRAMES, start)
    pictures = []
    while len(pictures) < frames:
        more, picture = clip.read()
        if not more:
            return None
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)[:h, :w]
        pictures.append(cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_BGR2YUV_I420))
    return np.stack(pictures)


def clips_in(root):
    clips = data.find_files(os.path.join(root, "video"), data.VIDEO)
    if not clips:
        raise SystemExit(f"no clips in {root}/video")
    return clips


def find(name, variable):
    """One of the codec's example programs."""
    program = os.environ.get(variable, os.path.join(PROGRAMS, name))
    if not os.path.exists(program):
        raise SystemExit(f"{program} is missing: cargo build --release -p aivideo-codec --example {name}")
    return program


def answer(command, pictures, quality):
    """What a program says to a run of pictures, as a stream."""
    t, rows, w = pictures.shape
    run = struct.pack("<4I", w, rows * 2 // 3, t, quality) + np.ascontiguousarray(pictures).tobytes()
    done = subprocess.run(command, input=run, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        name = os.path.basename(command[0])
        raise RuntimeError(f"{name} ended with status {done.returncode}: {done.stderr.decode(errors='replace').strip()}")
    return io.BytesIO(done.stdout)


def bytes_of(stream, *shape):
    raw = stream.read(int(np.prod(shape)))
    if len(raw) != np.prod(shape):
        raise RuntimeError("the program gave less than its pictures have: is it of this version?")
    return np.frombuffer(raw, np.uint8).reshape(shape)


def unfiltered(program, folder, pictures, quality):
    """Of I420 [T, 3h/2, w] what the loop filters are given: (frame's number, picture of a key frame's network or None, picture behind
    the residual, both I420 [3h/2, w], the blocks whose luma and those whose chroma the filter behind the residual leaves as it is [2, h/16, w/16])."""
    rows, w = pictures.shape[1:]
    stream = answer([program, folder], pictures, quality)
    for t in range(len(pictures)):
        kind = bytes_of(stream, 1)[0]
        if kind:
            network = bytes_of(stream, rows, w) if kind == 2 else None
            picture = bytes_of(stream, rows, w)
            yield t, network, picture, bytes_of(stream, 2, rows // 24, w // 16) > 0


class Encoder:
    """The real encoder with the networks and tables of a folder; `tier` is that of predicted frames.

    It runs the example `coded_symbols` of the codec's crate, which `make build` does not make, and which needs the environment
    of env.sh: cargo build --release -p aivideo-codec --example coded_symbols
    """

    def __init__(self, folder, tier, key_tier, program=None):
        self.program = program or self.find()
        self.folder, self.tiers = folder, (key_tier, tier)

    @classmethod
    def find(cls):
        return find("coded_symbols", "AIVIDEO_CODED_SYMBOLS")

    def __call__(self, pictures, quality):
        """Of I420 [T, 3h/2, w] the frames, in one tile each: (key, skip [1,h/16,w/16,1], z [1,h/64,w/64,Z], y [1,h/16,w/16,Y]), as
        `model.Codec.frame` has them; None for a frame that is a header only."""
        t, rows, w = pictures.shape
        h = rows * 2 // 3
        stream = answer([self.program, self.folder, str(h // 64)], pictures, quality)
        return [self.frame(stream, w, h) for _ in range(t)]

    def frame(self, stream, w, h):
        kind = self.planes(stream, "u1", 1, 1, 1).item()
        if kind == 0:
            return None
        tier = self.tiers[0 if kind == 1 else 1]
        skip = self.planes(stream, "u1", 1, h // 16, w // 16)
        z = self.planes(stream, "i1", tier.z, h // 64, w // 64)
        y = self.planes(stream, "<i2", tier.y, h // 16, w // 16)
        return kind == 1, skip, z, y

    def planes(self, stream, kind, channels, h, w):
        array = bytes_of(stream, channels * h * w * np.dtype(kind).itemsize).view(kind).reshape(1, channels, h, w)
        return torch.from_numpy(array.astype(np.float32)).permute(0, 2, 3, 1)


def count(counts, net, encoder, root, seed=31, log=print):
    """Adds the predicted frames of a second of each clip at each quality to `export.Counts`."""
    clips = clips_in(root)
    for i, path in enumerate(clips):
        rng = random.Random(f"{seed}-{i}")
        for quality in QUALITIES:
            run = read_run(path, rng)
            if run is None:
                continue
            last = None
            for frame in encoder(run, quality):
                if frame is None:
                    continue
                key, skip, z, y = frame
                if key and encoder.tiers[0] is not encoder.tiers[1]:
                    last = None  # symbols of a network of their own are no context
                    continue
                # One tile: as many rows as there are.
                counts.add(net, z, y, skip, last, torch.tensor([quality]), tile_rows=y.shape[1])
                last = y
        log(f"counted {i + 1} of {len(clips)} clips", flush=True)
    return counts
