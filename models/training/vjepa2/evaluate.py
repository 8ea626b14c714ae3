# SPDX-License-Identifier: Apache-2.0
"""Measures a checkpoint on clips of never seen sources and prints the model card's tables.

    python evaluate.py checkpoints/motion.pt --data ../../../../shared/data --per-class 50
"""

import argparse
import pathlib

import torch

import data
from labels import LABELS
from model import Config, MotionClassifier
from train import predict


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoint")
    p.add_argument("--data", default="../../../../shared/data")
    p.add_argument("--per-class", type=int, default=50)
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    stored = torch.load(a.checkpoint, weights_only=True)
    model = MotionClassifier(Config(**stored["config"]))
    # The weights as they ship: 16-bit floats.
    model.load_state_dict({k: v.half().float() if v.ndim >= 2 else v.float() for k, v in stored["model"].items()})
    sources = data.Sources(pathlib.Path(a.data) / "val")
    for clean in (True, False):
        frames, labels = data.validation_set(sources, a.per_class, clean=clean)
        right = predict(model, frames, torch.float32).argmax(1) == labels
        print(f"{'clean' if clean else 'degraded'} clips: top-1 {right.float().mean():.4f} of {len(labels)}")
    logits = predict(model, frames, torch.float32)
    top = logits.topk(3, dim=1).indices
    right = top[:, 0] == labels
    error = (right.float().mean() * (1 - right.float().mean()) / len(labels)).sqrt()
    print(f"step {stored['step']}, {len(sources.photos)} photos and {len(sources.videos)} videos, degraded clips:")
    print(f"top-1 {right.float().mean():.4f} +- {error:.4f}, top-3 {(top == labels[:, None]).any(1).float().mean():.4f}\n")
    table = torch.zeros(len(LABELS), len(LABELS), dtype=torch.int64)
    for want, got in zip(labels, top[:, 0]):
        table[want, got] += 1
    print("| true class | " + " | ".join(str(i) for i in range(len(LABELS))) + " | recall |")
    print("|---|" + "---|" * (len(LABELS) + 1))
    for i, row in enumerate(table.tolist()):
        cells = " | ".join(str(n) if n else "" for n in row)
        print(f"| {i} {LABELS[i]} | {cells} | {row[i] / max(1, sum(row)):.2f} |")


if __name__ == "__main__":
    main()
