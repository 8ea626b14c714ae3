# SPDX-License-Identifier: Apache-2.0
"""Puts a checkpoint's weights into transformers' VJEPA2ForVideoClassification: same logits.

    python check_family.py checkpoints/motion.pt        (needs transformers)

This is what "of the V-JEPA 2 family" means here, to the last bit of the quirks.
"""

import sys

import torch
from transformers import VJEPA2Config, VJEPA2ForVideoClassification

from family import translated
from model import Config, MotionClassifier


def main():
    stored = torch.load(sys.argv[1], weights_only=True)
    cfg = Config(**stored["config"])
    state = {k: v.float() for k, v in stored["model"].items()}
    ours = MotionClassifier(cfg).eval()
    ours.load_state_dict(state)
    theirs = VJEPA2ForVideoClassification(
        VJEPA2Config(
            patch_size=cfg.patch, crop_size=cfg.size, frames_per_clip=cfg.frames, tubelet_size=cfg.tubelet,
            hidden_size=cfg.width, num_attention_heads=cfg.heads, num_hidden_layers=cfg.depth,
            mlp_ratio=cfg.mlp_ratio, num_pooler_layers=cfg.pooler_depth, num_labels=cfg.classes,
            pred_hidden_size=cfg.width, pred_num_attention_heads=cfg.heads, pred_num_hidden_layers=1,
        )
    ).eval()
    weights = translated(state, cfg.width)
    name = "vjepa2.encoder.embeddings.patch_embeddings.proj.weight"
    weights[name] = weights[name].view(cfg.width, 3, cfg.tubelet, cfg.patch, cfg.patch)
    missing, unknown = theirs.load_state_dict(weights, strict=False)
    missing = [k for k in missing if "predictor" not in k]
    if missing or unknown:
        raise SystemExit(f"not the same parameters: missing {missing}, unknown {unknown}")
    video = torch.randn(2, cfg.frames, 3, cfg.size, cfg.size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        difference = (ours(video)[0] - theirs(pixel_values_videos=video).logits).abs().max().item()
    print(f"largest difference of a logit from transformers: {difference:.2e}")
    if difference > 1e-4:
        raise SystemExit("differs from the published architecture")


if __name__ == "__main__":
    main()
