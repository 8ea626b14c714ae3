# SPDX-License-Identifier: Apache-2.0
"""A randomly initialised VJEPA2ForVideoClassification of the published ViT-L configuration,
as a folder that transformers loads: stands in for the real weights where they are absent.

    python random_model.py /tmp/vitl          (needs transformers; 1.5 GB)

transformers' own initialisation leaves attention all but uniform, so that errors in the
rotary positions would hardly show; queries and keys are therefore made larger here.
"""

import argparse

import torch
from transformers import VJEPA2Config, VJEPA2ForVideoClassification, VJEPA2VideoProcessor


def make(seed=1, gain=4.0, **changes):
    """ViT-L for 16 frames of 256 x 256 and 174 classes, unless changed."""
    torch.manual_seed(seed)
    config = VJEPA2Config(**{"frames_per_clip": 16, "num_labels": 174, **changes})
    model = VJEPA2ForVideoClassification(config).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith((".query.weight", ".key.weight", ".q_proj.weight", ".k_proj.weight", "classifier.weight")):
                p.mul_(gain)
            elif name.endswith(".bias"):
                p.normal_(std=0.02)
    return model


def processor(model):
    return VJEPA2VideoProcessor(crop_size={"height": model.config.crop_size, "width": model.config.crop_size})


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder")
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    model = make(a.seed)
    model.save_pretrained(a.folder)
    processor(model).save_pretrained(a.folder)
    count = sum(q.numel() for n, q in model.named_parameters() if "predictor" not in n)
    print(f"{a.folder}: {count / 1e6:.0f} M parameters without the predictor")


if __name__ == "__main__":
    main()
