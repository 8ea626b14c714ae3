# SPDX-License-Identifier: Apache-2.0
"""Golden values for the tests of vjepa2classify, from transformers alone.

    python golden.py tiny ../../../elements/classify/tests/data
        A tiny random model of the family, exported, and the probabilities that transformers'
        own processor and model give for frames that any language can make again.

    python golden.py bowling MODEL.onnx bowling.mp4
        The published check of facebook/vjepa2-vitl-fpc16-256-ssv2: every 8th of 128 frames of
        nateraw/kinetics-mini val/bowling/-WH-lxmGJVY_000005_000015.mp4 is class 145, p = 0.30867.
"""

import json
import pathlib
import sys

import numpy as np
import torch

import export
import random_model

TINY = {
    "frames_per_clip": 8, "crop_size": 64, "hidden_size": 48, "num_attention_heads": 2, "num_hidden_layers": 3,
    "num_pooler_layers": 1, "num_labels": 7, "pred_hidden_size": 24, "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1,
}
WIDTH, HEIGHT = 320, 180
BOWLING = (145, 0.30867)


def frame(i):
    """Moving squares [HEIGHT,WIDTH,3] of whole numbers."""
    y, x, c = np.meshgrid(np.arange(HEIGHT), np.arange(WIDTH), np.arange(3), indexing="ij")
    return ((((x + 5 * i) >> 4) * 29 + ((y + 3 * i) >> 4) * 53 + c * (60 + i)) & 255).astype(np.uint8)


def probabilities(model, frames):
    """What transformers says of RGB frames, its own preprocessing included."""
    video = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)
    inputs = random_model.processor(model)(video, return_tensors="pt")
    with torch.no_grad():
        return model(**inputs).logits.softmax(-1)[0].numpy()


def tiny(folder):
    model = random_model.make(seed=5, gain=6.0, **TINY)
    with torch.no_grad():
        for q in model.parameters():  # so small a width needs larger weights to tell anything apart
            if q.ndim > 1:
                q.copy_((q * 3).half())  # stored in 16 bits
    source = folder / "tiny"
    random_model.processor(model).save_pretrained(source)
    about = export.sidecar("tiny", model.config, source, 1)
    for path in source.iterdir():
        path.unlink()
    source.rmdir()
    path = folder / "tiny-vjepa2.onnx"
    weights = {k: v for k, v in model.state_dict().items() if ".predictor." not in k}
    export.graph.build(export.graph.Family.of(model.config), weights, export.graph.metadata(about), path, store="float16")
    clips = [[frame(8 * k + i) for i in range(TINY["frames_per_clip"])] for k in range(3)]
    clips.append([clips[0][0]] * TINY["frames_per_clip"])  # at rest
    found = [probabilities(model, clip).tolist() for clip in clips]
    (folder / "tiny-vjepa2.golden.json").write_text(json.dumps({"probabilities": found}, indent=1) + "\n")
    for row in found:
        print(" ".join(f"{p:.3f}" for p in row))


def bowling(onnx, video):
    import cv2
    from transformers import VJEPA2VideoProcessor

    capture, frames = cv2.VideoCapture(str(video)), []
    while len(frames) < 128:
        ok, bgr = capture.read()
        if not ok:
            raise SystemExit(f"{video} has {len(frames)} frames, not 128")
        frames.append(bgr[..., ::-1].copy())
    clip = torch.from_numpy(np.stack(frames[::8])).permute(0, 3, 1, 2)
    inputs = VJEPA2VideoProcessor()(clip, return_tensors="pt")["pixel_values_videos"]
    p = export.softmax(export.run(onnx, inputs))[0]
    print(f"class {p.argmax()} at {p.max():.5f}; published: class {BOWLING[0]} at {BOWLING[1]}")
    if p.argmax() != BOWLING[0] or abs(p.max() - BOWLING[1]) > 1e-3:
        raise SystemExit("not what was published")


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "tiny":
        tiny(pathlib.Path(sys.argv[2]))
    elif len(sys.argv) == 4 and sys.argv[1] == "bowling":
        bowling(*map(pathlib.Path, sys.argv[2:]))
    else:
        raise SystemExit(__doc__)
