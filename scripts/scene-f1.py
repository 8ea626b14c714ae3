#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Cuts that aiscene finds beside those of PySceneDetect, on the same files.

    . ./env.sh && python3 scripts/scene-f1.py CLIP-FOLDER ... [--json OUT]

Needs `pip install scenedetect opencv-python-headless`. Programmes are made of real clips, cut at places drawn with
a fixed seed: the cuts are known. Parts of one clip never follow each other. In "flashes" some
pictures are lightened for 1 to 3 frames, in "pans" parts are shaken and zoomed, in "dark" everything
is darkened to a quarter and given noise. A cut counts as found within one frame of its place.
"""

import argparse
import glob
import json
import os
import random
import subprocess
import tempfile

FFMPEG = os.environ.get("AIVIDEO_FFMPEG", "ffmpeg")
SIZE, RATE = (480, 270), 25


def run(*arguments):
    return subprocess.run(arguments, check=True, capture_output=True).stdout


def clips(folders):
    out = []
    for folder in folders:
        for path in sorted(glob.glob(os.path.join(folder, "**", "*"), recursive=True)):
            if not path.endswith((".mp4", ".mkv", ".mpg", ".webm", ".mov")):
                continue
            raw = run(FFMPEG, "-v", "error", "-i", path, "-vf", f"fps={RATE},scale={SIZE[0]}:{SIZE[1]}", "-frames:v", "400",
                      "-pix_fmt", "yuv420p", "-f", "rawvideo", "-")
            count = len(raw) // (SIZE[0] * SIZE[1] * 3 // 2)
            if count >= 40:
                out.append((path, count))
    return out


def programme(sources, kind, path, rng, parts=40):
    """Writes a clip of parts and gives the frames at which new ones begin."""
    filters, inputs, cuts, at, last = [], [], [], 0, None
    for n in range(parts):
        source, count = rng.choice([s for s in sources if s[0] != last])
        last = source
        length = rng.randint(18, min(75, count - 1))
        start = rng.randint(0, count - length)
        steps = [f"fps={RATE}", f"trim=start_frame={start}:end_frame={start + length}", "setpts=PTS-STARTPTS",
                 f"scale={SIZE[0]}:{SIZE[1]}", "setsar=1"]
        if kind == "flashes" and length > 30:
            flash = rng.randint(12, length - 12)
            wide = rng.randint(1, 3)
            steps.append(f"eq=brightness=0.6:enable='between(n,{flash},{flash + wide - 1})'")
        if kind == "pans":
            speed = rng.choice((-6, 6))
            steps.append(f"scale={SIZE[0] * 2}:{SIZE[1] * 2},crop={SIZE[0]}:{SIZE[1]}:x='mod(abs({speed}*n),{SIZE[0]})':y='60+50*sin(n/3)'")
        if kind == "dark":
            steps.append("lutyuv=y='16+(val-16)*0.25',noise=alls=6:allf=t")
        inputs += ["-i", source]
        filters.append(f"[{n}:v]{','.join(steps)},format=yuv420p[p{n}]")
        if at:
            cuts.append(at)
        at += length
    graph = ";".join(filters) + ";" + "".join(f"[p{n}]" for n in range(parts)) + f"concat=n={parts}:v=1:a=0,fps={RATE}"
    run(FFMPEG, "-v", "error", "-y", *inputs, "-filter_complex", graph, "-c:v", "libx264", "-crf", "14", "-preset", "veryfast", path)
    return cuts


def ours(path, work):
    out = os.path.join(work, "scenes.json")
    run("gst-launch-1.0", "-q", "filesrc", f"location={path}", "!", "decodebin", "!", "videoconvert", "!", "aiscene",
        f"json-location={out}", "!", "fakesink", "sync=false")
    with open(out) as f:
        return [scene["start-frame"] for scene in json.load(f)["scenes"]][1:]


def theirs(path, detector):
    from scenedetect import SceneManager, open_video

    manager = SceneManager()
    manager.add_detector(detector)
    manager.detect_scenes(open_video(path))
    frame = lambda time: time.frame_num if hasattr(time, "frame_num") else time.get_frames()
    return [frame(start) for start, _ in manager.get_scene_list()][1:]


def score(found, truth):
    left, hits = sorted(truth), 0
    for cut in sorted(found):
        near = [t for t in left if abs(t - cut) <= 1]
        if near:
            hits += 1
            left.remove(near[0])
    precision = hits / len(found) if found else 1.0
    recall = hits / len(truth)
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-9)


def main():
    from scenedetect import AdaptiveDetector, ContentDetector, HistogramDetector

    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folders", nargs="+")
    p.add_argument("--json")
    p.add_argument("--seed", type=int, default=7)
    a = p.parse_args()
    sources = clips(a.folders)
    if len(sources) < 4:
        raise SystemExit(f"{len(sources)} clips of 40 frames or more, 4 are needed")
    methods = {
        "aiscene": None,
        "PySceneDetect adaptive": AdaptiveDetector,
        "PySceneDetect content": ContentDetector,
        "PySceneDetect histogram": HistogramDetector,
    }
    rows = []
    with tempfile.TemporaryDirectory() as work:
        for kind in ("plain", "flashes", "pans", "dark"):
            path = os.path.join(work, kind + ".mp4")
            truth = programme(sources, kind, path, random.Random(a.seed))
            for name, make in methods.items():
                found = ours(path, work) if make is None else theirs(path, make())
                rows.append({"programme": kind, "cuts": len(truth), "method": name, **dict(zip(("precision", "recall", "f1"), score(found, truth)))})
    print(f"{len(sources)} clips; precision / recall / F1\n\n| programme | cuts | " + " | ".join(methods) + " |")
    print("|---|---|" + "---|" * len(methods))
    for kind in dict.fromkeys(row["programme"] for row in rows):
        mine = [row for row in rows if row["programme"] == kind]
        print(f"| {kind} | {mine[0]['cuts']} | " + " | ".join(f"{r['precision']:.2f} / {r['recall']:.2f} / {r['f1']:.3f}" for r in mine) + " |")
    if a.json:
        with open(a.json, "w") as f:
            json.dump(rows, f, indent=1)


if __name__ == "__main__":
    main()
