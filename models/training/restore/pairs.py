# SPDX-License-Identifier: Apache-2.0
"""Makes pairs of coded and clean clips for the restoration net.

    python pairs.py --data ../../../../shared/data/train
    python pairs.py --data ../../../../shared/data/val --split val

A clip is shrunk (by two and more where it is large, which hides its own coding), and some of its
frames are coded by standard encoders at several quantisers and scales, decoded, and brought back
to their size.  Files stay in `--work`: NAME.clean.npy and NAME.N.npy, frames of I420 as rows of
bytes, and NAME.json, which says how each was coded.  What is there already is not made again.
"""

import argparse
import hashlib
import json
import os
import random
import subprocess

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(os.path.join(HERE, "..", "..", ".."))
VIDEO = (".mp4", ".mkv", ".webm", ".mpg", ".264", ".h264", ".mov", ".ts")

# name: base (as the net is told), ffmpeg's arguments, largest CRF, CRFs
BASES = {
    "svt-av1": ("av1", ["-c:v", "libsvtav1", "-preset", "8"], 63, (26, 34, 42, 50, 57)),
    "svt-av1-low-delay": ("av1", ["-c:v", "libsvtav1", "-preset", "9", "-svtav1-params", "pred-struct=1"], 63, (26, 34, 42, 50, 57)),
    "x265-medium": ("h265", ["-c:v", "libx265", "-preset", "medium", "-x265-params", "log-level=none"], 51, (21, 26, 31, 36)),
    "x265-ultrafast-zl": (
        "h265", ["-c:v", "libx265", "-preset", "ultrafast", "-tune", "zerolatency", "-x265-params", "log-level=none"], 51,
        (21, 26, 31, 36),
    ),
    "x264-veryfast-zl": ("h264", ["-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency"], 51, (23, 28, 33, 38)),
}
SCALES = {1.0: 14, 0.75: 2, 2 / 3: 2, 0.5: 2}


def ffmpeg():
    import imageio_ffmpeg

    return imageio_ffmpeg.get_ffmpeg_exe()


def run(arguments, data=None):
    done = subprocess.run([ffmpeg(), "-v", "error", "-y", *arguments], input=data, capture_output=True)
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors="replace").strip().splitlines()[-1:] or "ffmpeg failed")
    return done.stdout


def probe(path):
    text = subprocess.run([ffmpeg(), "-i", path], capture_output=True).stderr.decode(errors="replace")
    line = next(line for line in text.splitlines() if "Video:" in line)
    size = next(part for part in line.replace(",", " ").split() if part[:1].isdigit() and "x" in part and part.replace("x", "").isdigit())
    return tuple(int(v) for v in size.split("x"))


def fit(width, height, largest):
    """Half the size or less where there is enough of it, multiples of 8."""
    scale = min(largest[0] / width, largest[1] / height, 0.5 if height >= 480 else 1.0)
    return max(int(width * scale) // 8 * 8, 64), max(int(height * scale) // 8 * 8, 64)


def clean(path, size, frames, skip):
    w, h = size
    raw = run(["-i", path, "-vf", f"select=gte(n\\,{skip}),scale={w}:{h}:flags=lanczos", "-fps_mode", "passthrough",
               "-frames:v", str(frames), "-pix_fmt", "yuv420p", "-f", "rawvideo", "-"])
    return np.frombuffer(raw, np.uint8).reshape(-1, w * h * 3 // 2)


def code(picture, size, base, crf, scale, temporary):
    """Frames as a decoder gives them, at the size that they had, and the bits a pixel."""
    w, h = size
    small = tuple(max(round(v * scale / 2) * 2, 16) for v in size)
    arguments = BASES[base][1]
    head = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{w}x{h}", "-r", "25", "-i", "-"]
    resize = [] if small == size else ["-vf", f"scale={small[0]}:{small[1]}:flags=lanczos"]
    run([*head, *resize, *arguments, "-crf", str(crf), "-g", "250", temporary], picture.tobytes())
    back = [] if small == size else ["-vf", f"scale={w}:{h}:flags=lanczos"]
    raw = run(["-i", temporary, *back, "-pix_fmt", "yuv420p", "-f", "rawvideo", "-"])
    out = np.frombuffer(raw, np.uint8).reshape(-1, picture.shape[1])
    if len(out) != len(picture):
        raise RuntimeError(f"{base} gave {len(out)} frames for {len(picture)}")
    return out, os.path.getsize(temporary) * 8 / (w * h * len(picture))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", required=True, help="folder of clips, searched with its subfolders")
    p.add_argument("--split", default="train")
    p.add_argument("--work", default=os.path.join(ROOT, "target", "training", "restore"))
    p.add_argument("--frames", type=int, default=33)
    p.add_argument("--codings", type=int, default=6, help="ways that each clip is coded in")
    p.add_argument("--largest", default="640x360")
    a = p.parse_args()
    out = os.path.join(a.work, a.split)
    os.makedirs(out, exist_ok=True)
    largest = tuple(int(v) for v in a.largest.split("x"))
    paths = sorted(os.path.join(d, f) for d, _, files in os.walk(a.data) for f in files if f.lower().endswith(VIDEO))
    if not paths:
        raise SystemExit(f"no clips below {a.data}")
    for number, path in enumerate(paths):
        name = os.path.splitext(os.path.basename(path))[0]
        done = os.path.join(out, name + ".json")
        if os.path.exists(done):
            continue
        # The clip's name decides, so that a second run makes the same.
        rng = random.Random(hashlib.sha256(name.encode()).digest())
        width, height = probe(path)
        size = fit(width, height, largest)
        picture = clean(path, size, a.frames, rng.choice((0, 10, 30)))
        if len(picture) < 9:
            picture = clean(path, size, a.frames, 0)
        if len(picture) < 3:
            print(f"{name}: only {len(picture)} frames, left out")
            continue
        codings = []
        for index in range(a.codings):
            base = list(BASES)[(number + index) % len(BASES)] if index < len(BASES) else rng.choice(list(BASES))
            kind, _, top, crfs = BASES[base]
            crf = rng.choice(crfs) + rng.choice((-2, -1, 0, 1, 2))
            scale = rng.choices(list(SCALES), SCALES.values())[0]
            coded, bpp = code(picture, size, base, crf, scale, os.path.join(out, "coded.mkv"))
            np.save(os.path.join(out, f"{name}.{index}.npy"), coded)
            codings.append({"encoder": base, "base": kind, "crf": crf, "quality": crf / top, "scale": scale, "bpp": bpp})
        np.save(os.path.join(out, name + ".clean.npy"), picture)
        with open(done + ".tmp", "w") as f:
            json.dump({"size": size, "frames": len(picture), "codings": codings}, f)
        os.replace(done + ".tmp", done)
        print(f"[{number + 1}/{len(paths)}] {name}: {size[0]}x{size[1]}, {len(picture)} frames", flush=True)


if __name__ == "__main__":
    main()
