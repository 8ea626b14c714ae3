# SPDX-License-Identifier: Apache-2.0
"""Starts a larger network, that of key frames (tier K) or tier M, from tier S, so that nothing is learnt twice.

    python widen.py ../runs/codec-s/last.pt ../runs/codec-k/last.pt
    python widen.py ../runs/codec-s/last.pt ../runs/codec-m/last.pt M

What the smaller network computes the larger computes too, and no more at first: its features and
latents are the first of the larger one's, and do not see the other features. The other latents start
as the parts of the cosine transform that the smaller network has no room for, with a scale index of
zero: training wakes those that are worth it.
"""

import os
import sys

import torch

import model as codec

# How many equal parts the outputs and inputs of a layer are made of.
PARTS = {"u": (2, 1), "enc_in": (1, 2), "dec_in": (1, 2), "prior_in": (1, 4), "up": (4, 1), "hyper_a": (1, 2)}
PARTS |= {"hyper_b": (1, 4), "hyper_c": (1, 4), "hyper_d": (4, 1), "hyper_e": (4, 1), "fuse_out": (2, 1)}
# Where features and latents that are new may add to what was there.
OPEN = ("up.weight", "out.weight")


def places(old, new, parts):
    """Where `old` entries in equal parts lie among `new` ones."""
    i = torch.arange(old)
    size = old // parts
    return i // size * (new // parts) + i % size


def widen(small, tier):
    torch.manual_seed(3)
    large = codec.Codec(tier)
    own, t = small.state_dict(), small.tier
    with torch.no_grad():
        for name, value in large.state_dict().items():
            old = own[name]
            layer, kind = name.split(".")[-2:] if "." in name else (name, "")
            layer = name.split(".")[-3] if layer == "conv" else layer
            outs, ins = PARTS.get(layer, (1, 1))
            if name in ("q_scale", "q_back", "q_bias", "q_prior", "z_logits"):
                value[:, : old.shape[1]] = old
            elif kind != "weight" or name == "log_scale":
                value[places(len(old), len(value), outs)] = old
            else:
                rows = places(old.shape[0], value.shape[0], outs)
                columns = places(old.shape[1], value.shape[1], ins)
                if layer == "fuse_in":
                    more = torch.arange(old.shape[1]) >= t.p
                    columns = torch.arange(old.shape[1]) + more * (large.tier.p - t.p)
                if name not in OPEN:
                    value[rows] = 0
                block = value[rows]
                block[:, columns] = old
                value[rows] = block
        y, z = small.tier.y, small.tier.z
        for name in ("fuse_out", "check_out", "prior_mean"):
            layer = getattr(large, name)
            layer.weight[y : large.tier.y] = 0
            layer.bias[y : large.tier.y] = 0
        large.level_gain[small.n_idx :] = -0.9
        large.hyper_c.weight[z:] *= 0.1
        large.hyper_c.bias[z:] = -0.25
    return large


def main():
    source, target = sys.argv[1:3]
    tier = sys.argv[3] if len(sys.argv) > 3 else "K"
    saved = torch.load(source, map_location="cpu", weights_only=False)
    small = codec.Codec(saved["tier"])
    small.load_state_dict({k: v.float() for k, v in saved["ema"].items()})
    state = widen(small, tier).state_dict()
    os.makedirs(os.path.dirname(os.path.abspath(target)), exist_ok=True)
    # Step 1: what was measured for the smaller network's rate model stays.
    start = {"net": state, "ema": state, "optimiser": None, "step": 1, "spent": 0.0, "tier": tier, "seed": 1}
    torch.save(start, target)


if __name__ == "__main__":
    main()
