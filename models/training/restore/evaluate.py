# SPDX-License-Identifier: Apache-2.0
"""What the exported weights gain on pairs of the validation clips, in dB of luma PSNR.

    python evaluate.py           # prints the table
    python evaluate.py --write   # puts it into the card, models/restore/README.md
"""

import argparse
import os

import numpy as np
import torch

import data
from net import Restore
from train import ROOT, restore_clip

BEGIN, END = "<!-- figures -->", "<!-- end -->"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--work", default=os.path.join(ROOT, "target", "training", "restore"))
    p.add_argument("--models", default=os.path.join(ROOT, "models", "restore"))
    p.add_argument("--frames", type=int, default=33)
    p.add_argument("--write", action="store_true")
    a = p.parse_args()
    state = torch.load(os.path.join(a.models, "restore.pt"), weights_only=True)
    net = Restore(**state["config"])
    net.load_state_dict(state["net"])
    rows, worst = {}, (0.0, "none")
    for clip in data.load(a.work, "val"):
        for index, coding in enumerate(clip.codings):
            known, blind = (restore_clip(net, clip, index, a.frames, hint) for hint in (True, False))
            scale = "full size" if coding["scale"] == 1 else "smaller"
            gains = (known[1] - known[0], blind[1] - blind[0])
            rows.setdefault((coding["encoder"], scale), []).append((known[0], *gains))
            worst = min(worst, (min(gains), f"{clip.name}, {coding['encoder']}, CRF {coding['crf']}"))
    lines = [
        f"Step {state['step']}; the first {a.frames} frames of each validation clip, coded as the training clips.",
        "", "| encoder | coded at | streams | coded, dB | gain with the hint, dB | gain without, dB | least gain, dB |",
        "|---|---|---|---|---|---|---|",
    ]
    everything = []
    for (encoder, scale), values in sorted(rows.items()):
        everything += values
        m = np.mean(values, 0)
        least = min(min(v[1:]) for v in values)
        lines.append(f"| {encoder} | {scale} | {len(values)} | {m[0]:.2f} | {m[1]:+.3f} | {m[2]:+.3f} | {least:+.3f} |")
    m = np.mean(everything, 0)
    lines.append(f"| all | | {len(everything)} | {m[0]:.2f} | {m[1]:+.3f} | {m[2]:+.3f} | {worst[0]:+.3f} |")
    lines += ["", f"Worst: {worst[0]:+.3f} dB ({worst[1]})."]
    text = "\n".join(lines)
    print(text)
    if a.write:
        path = os.path.join(a.models, "README.md")
        with open(path) as f:
            card = f.read()
        head, rest = card.split(BEGIN)
        with open(path, "w") as f:
            f.write(f"{head}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
