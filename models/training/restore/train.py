# SPDX-License-Identifier: Apache-2.0
"""Trains the restoration net on what `pairs.py` made.

    python train.py --minutes 30

The same command goes on where it was stopped; more `--minutes` go further.
"""

import argparse
import ast
import csv
import math
import os
import time

import numpy as np
import torch

import data
from net import Restore, planes

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(os.path.join(HERE, "..", "..", ".."))
# What is this good is left alone: clips almost without errors, where every change costs, are not to
# outweigh all others.
FLOOR = (1.0 / 255) ** 2
HARM = 3.0  # how much more a loss counts than a gain
LONGEST_STEP = 60.0  # seconds; a step that took longer was stopped meanwhile, and the budget is of training


def relative_error(out, clean, coded):
    """What is left of each sample's squared error, so that a decibel counts the same in every clip.
    Where it is more than there was, the excess counts more often: no clip is to look worse."""
    left, was = (out - clean).square(), (coded - clean).square()

    def part(lo, hi):
        before = was[:, lo:hi].mean((1, 2, 3))
        ratio, none = left[:, lo:hi].mean((1, 2, 3)) / (before + FLOOR), before / (before + FLOOR)
        return ratio + (HARM - 1) * (ratio - none).clamp(min=0)

    return (0.85 * part(0, 4) + 0.15 * part(4, 6)).mean()


def unroll(net, clean_y, clean_c, y, c, condition, rng):
    """The mean over a run of frames, each after the restored one before it."""
    before, total = None, 0.0
    for t in range(y.shape[1]):
        now = planes(y[:, t], c[:, t])
        if before is None:
            # At the start of a stream the picture stands for the one before it. A few times there
            # is a cut: another sample's picture.
            before = now if rng.random() < 0.8 else now.roll(1, 0)
        out = net(now, before, condition)
        total = total + relative_error(out, planes(clean_y[:, t], clean_c[:, t]), now)
        before = out.detach() if rng.random() < 0.5 else out
        # The element keeps bytes; the gradient goes past the rounding.
        before = before.clamp(0, 1)
        before = before + ((before.detach() * 255).round() / 255 - before.detach())
    return total / y.shape[1]


def psnr(error):
    return -10 * math.log10(max(error, 1e-10))


@torch.no_grad()
def restore_clip(net, clip, index, frames, known=True):
    """Luma PSNR of the coded and of the restored frames, by the element's arithmetic: bytes between frames."""
    w, h = (v // 2 * 2 for v in clip.size)
    condition = torch.tensor([data.condition(clip.codings[index], known)])
    before, errors = None, []
    for t in range(min(frames, clip.frames)):
        crop = lambda pair: (
            torch.from_numpy(pair[0][t, :h, :w].astype(np.float32))[None, None] / 255,
            torch.from_numpy(pair[1][t, :, : h // 2, : w // 2].astype(np.float32))[None] / 255,
        )
        truth, now = planes(*crop(clip.clean)), planes(*crop(clip.coded[index]))
        out = (net(now, now if before is None else before, condition) * 255).round().clamp(0, 255) / 255
        before = out
        errors.append([(v[:, :4] - truth[:, :4]).square().mean().item() for v in (now, out)])
    coded, restored = np.mean(errors, 0)
    return psnr(coded), psnr(restored)


def validate(net, clips, frames=6):
    gains = {}
    for clip in clips:
        for index, coding in enumerate(clip.codings):
            coded, restored = restore_clip(net, clip, index, frames)
            gains.setdefault(coding["base"], []).append(restored - coded)
    out = {f"gain_{base}": float(np.mean(v)) for base, v in gains.items()}
    everything = sum(gains.values(), [])
    out["gain"], out["worst"] = float(np.mean(everything)), float(min(everything))
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--work", default=os.path.join(ROOT, "target", "training", "restore"))
    p.add_argument("--name", default="run")
    p.add_argument("--steps", type=int, default=1_000_000)
    p.add_argument("--minutes", type=float, default=20.0)
    p.add_argument("--rate", type=float, default=5e-3)
    p.add_argument("--side", type=int, default=96)
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--run", type=int, default=3, help="frames after one another")
    p.add_argument("--config", default="{}", help="net configuration, a Python dict")
    p.add_argument("--init", help="compact checkpoint to start from")
    a = p.parse_args()

    run = os.path.join(a.work, a.name)
    os.makedirs(run, exist_ok=True)
    checkpoint, log = os.path.join(run, "checkpoint.pt"), os.path.join(run, "log.csv")
    torch.manual_seed(1)
    net = Restore(**ast.literal_eval(a.config))
    before = {"steps": 0, "minutes": 0.0}  # that went into the weights which this run begins with
    if a.init:
        first = torch.load(a.init, weights_only=True)
        net.load_state_dict(first["net"])
        before = {"steps": first["step"], "minutes": first["minutes"]}
    crops = data.Crops(data.load(a.work, "train"), a.side, a.run, 1)
    held = data.load(a.work, "val")
    net = net.to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(net.parameters(), lr=a.rate, betas=(0.9, 0.99))
    average = {k: v.detach().clone() for k, v in net.state_dict().items()}
    step, spent = 0, 0.0
    if os.path.exists(checkpoint):
        s = torch.load(checkpoint, weights_only=False)
        if s["config"] != net.config:
            raise SystemExit(f"{checkpoint} is of another net {s['config']}; use another --name")
        net.load_state_dict(s["net"])
        optimiser.load_state_dict(s["optimiser"])
        average, step, spent, before = s["average"], s["step"], s["spent"], s["before"]
        torch.set_rng_state(s["rng"])
        crops.rng.bit_generator.state = s["crops"]
        print(f"resumed at step {step}, {spent / 60:.1f} minutes", flush=True)

    def save():
        s = {
            "config": net.config, "net": net.state_dict(), "optimiser": optimiser.state_dict(), "average": average,
            "step": step, "spent": spent, "before": before, "rng": torch.get_rng_state(), "crops": crops.rng.bit_generator.state,
        }
        torch.save(s, checkpoint + ".tmp")
        os.replace(checkpoint + ".tmp", checkpoint)

    logged = saved = time.time()
    mean, progress = None, 0.0
    while progress < 1.0:
        begun = time.time()
        progress = min(max(step / a.steps, spent / 60 / a.minutes), 1.0)
        rate = a.rate * min((step + 1) / 100, 1.0) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))
        for group in optimiser.param_groups:
            group["lr"] = rate
        (clean_y, clean_c, y, c), condition = crops.batch(a.batch)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=progress < 0.9):
            loss = unroll(net, clean_y, clean_c, y, c, condition, crops.rng)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        step += 1
        spent += min(time.time() - begun, LONGEST_STEP)
        decay = min(0.999, (step + 1) / (step + 20))
        with torch.no_grad():
            for k, v in net.state_dict().items():
                average[k].lerp_(v, 1 - decay)
        value = loss.item()
        if not math.isfinite(value):
            raise SystemExit(f"step {step}: the loss is {value}; the last checkpoint is intact")
        mean = value if mean is None else mean + 0.02 * (value - mean)
        if time.time() - logged > 300 or progress >= 1.0:
            live = {k: v.detach().clone() for k, v in net.state_dict().items()}
            net.load_state_dict(average)
            result = validate(net, held)
            net.load_state_dict(live)
            row = {"step": step, "minutes": round(spent / 60, 2), "rate": round(rate, 7), "loss": round(mean, 5)}
            row.update({k: round(v, 4) for k, v in sorted(result.items())})
            new = not os.path.exists(log)
            with open(log, "a", newline="") as f:
                writer = csv.DictWriter(f, row.keys())
                if new:
                    writer.writeheader()
                writer.writerow(row)
            print(" ".join(f"{k}={v}" for k, v in row.items()), flush=True)
            logged = time.time()
        if time.time() - saved > 60:
            save()
            saved = time.time()
    save()
    print(f"done: step {step}, {spent / 60:.1f} minutes", flush=True)


if __name__ == "__main__":
    main()
