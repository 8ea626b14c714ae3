# SPDX-License-Identifier: Apache-2.0
"""Packs a run's state into a small file that training can go on from, and back.

    python checkpoint.py pack ../runs/codec-s/last.pt checkpoints/s.pt
    python checkpoint.py unpack checkpoints/s.pt ../runs/codec-s/last.pt

Weights and their average stay fp32; the optimiser's two moments become bf16.
"""

import os
import sys

import torch


def cast(value, to, only=None):
    if torch.is_tensor(value):
        return value.to(to) if value.is_floating_point() and value.numel() > 1 and only in (None, value.dtype) else value
    if isinstance(value, dict):
        return {k: cast(v, to, only) for k, v in value.items()}
    if isinstance(value, list):
        return [cast(v, to, only) for v in value]
    return value


def main():
    if len(sys.argv) != 4 or sys.argv[1] not in ("pack", "unpack"):
        raise SystemExit(__doc__)
    saved = torch.load(sys.argv[2], map_location="cpu", weights_only=True)
    if sys.argv[1] == "pack":
        saved["optimiser"] = cast(saved["optimiser"], torch.bfloat16)
        saved.pop("decoded", None)  # runs begin anew
    else:
        saved["optimiser"] = cast(saved["optimiser"], torch.float32, torch.bfloat16)
    os.makedirs(os.path.dirname(os.path.abspath(sys.argv[3])), exist_ok=True)
    torch.save(saved, sys.argv[3])
    print(f"{sys.argv[3]}: step {saved['step']}, {os.path.getsize(sys.argv[3]) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
