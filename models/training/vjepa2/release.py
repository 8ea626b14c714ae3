# SPDX-License-Identifier: Apache-2.0
"""Turns a checkpoint of train.py into the shipped ONNX file, its sidecar and manifest.

    python release.py checkpoints/motion.pt --out ../../classify

Weights are stored as 16-bit floats and cast to 32 where they are used (runtimes fold that when
loading). The result is compared with the PyTorch model before it is kept.
"""

import argparse
import hashlib
import json
import pathlib

import numpy as np
import torch
from onnx.reference import ReferenceEvaluator

import graph
from family import family, translated
from labels import CLASSES, LABELS
from model import Config, MotionClassifier
from preprocess import MEAN, STD

NAME = "vjepa2-motion"
FRAME_STRIDE = 2


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoint")
    p.add_argument("--out", default="../../classify")
    p.add_argument("--keep-checkpoint", help="also write the weights here as 16-bit floats")
    a = p.parse_args()

    stored = torch.load(a.checkpoint, weights_only=True)
    if stored["labels"] != LABELS:
        raise SystemExit("the checkpoint was trained with other labels than labels.py has now")
    cfg = Config(**stored["config"])
    model = MotionClassifier(cfg).eval()
    # What ships is what is compared and measured: the weights as 16-bit floats.
    model.load_state_dict({k: v.half().float() if v.ndim >= 2 else v for k, v in stored["model"].items()})
    if a.keep_checkpoint:
        small = {k: v.half() if v.ndim >= 2 else v for k, v in stored["model"].items()}
        torch.save({**stored, "model": small}, a.keep_checkpoint)

    about = {
        "name": NAME, "labels": LABELS, "frames-per-clip": cfg.frames, "size": cfg.size,
        "resize-short-side": cfg.size, "mean": MEAN, "std": STD, "frame-stride": FRAME_STRIDE,
    }
    metadata = graph.metadata(about) | {"training-steps": str(stored["step"]), "licence": "Apache-2.0"}
    out = pathlib.Path(a.out)
    out.mkdir(parents=True, exist_ok=True)
    part = out / f"{NAME}.part"
    weights = translated(model.state_dict(), cfg.width)
    made = graph.build(family(cfg), weights, metadata, part, store="float16")

    video = torch.randn(2, cfg.frames, 3, cfg.size, cfg.size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        want = model(video)[0].numpy()
    got = ReferenceEvaluator(made).run(None, {"pixel_values_videos": video.numpy()})[0]
    difference = np.abs(got - want).max()
    print(f"largest difference from PyTorch: {difference:.2e}")
    if difference > 1e-4:
        raise SystemExit("the exported graph does not compute what the model computes")
    part.replace(out / f"{NAME}.onnx")
    graph.write_sidecar(out / f"{NAME}.onnx", about)
    (out / "labels.txt").write_text("\n".join(LABELS) + "\n")
    bytes_ = (out / f"{NAME}.onnx").read_bytes()
    manifest = {
        "files": [
            {
                "path": f"{NAME}.onnx",
                "sha256": hashlib.sha256(bytes_).hexdigest(),
                "kind": "video-classifier",
                "inputs": {"pixel_values_videos": f"float32[batch,{cfg.frames},3,{cfg.size},{cfg.size}]"},
                "outputs": {"logits": f"float32[batch,{cfg.classes}]"},
                "licence": "Apache-2.0",
                "training": {
                    "steps": stored["step"],
                    "data": "clips synthesised from the photos and video frames of the train set",
                    "log": "../training/vjepa2/checkpoints/log.csv",
                },
            }
        ]
    }
    (out / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    print(f"{len(bytes_) / 1e6:.2f} MB, {len(CLASSES)} classes")


if __name__ == "__main__":
    main()
