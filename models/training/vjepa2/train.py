# SPDX-License-Identifier: Apache-2.0
"""Trains the shipped motion classifier.  Stop it any time: it goes on where it was.

    python train.py --data ../../../../shared/data --run runs/motion --steps 4000

Everything random follows from --seed and the step number, so a resumed run sees the
clips it would have seen.  Writes RUN/state.pt (to resume), RUN/log.csv and, at the
end, RUN/motion.pt (averaged weights, for export.py).
"""

import argparse
import csv
import dataclasses
import os
import pathlib
import sys
import time

import torch
from torch.nn import functional as F

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))
import data
from labels import LABELS
from model import Config, MotionClassifier
from muon import Muon

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def normalise(frames, dtype):
    """u8 [B,T,S,S,3] -> [B,T,3,S,S], ImageNet mean and deviation."""
    mean = torch.tensor(MEAN) * 255
    scale = 1 / (torch.tensor(STD) * 255)
    return ((frames.to(torch.float32) - mean) * scale).to(dtype).permute(0, 1, 4, 2, 3).contiguous()


def save(path, value):
    part = path.with_suffix(".part")
    torch.save(value, part)
    os.replace(part, path)


@torch.no_grad()
def predict(model, frames, dtype=torch.bfloat16, batch=50):
    model.eval()
    out = []
    for i in range(0, len(frames), batch):
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            out.append(model(normalise(frames[i : i + batch], dtype))[0].float())
    model.train()
    return torch.cat(out)


def rate(step, steps, warmup, decay):
    """Warm-up, a plateau, then straight down to zero over the last part."""
    return min(1.0, (step + 1) / warmup, (steps - step) / (steps * decay))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", default="../../../../shared/data", help="folder that holds train/ and val/")
    p.add_argument("--run", default="runs/motion")
    p.add_argument("--steps", type=int, default=4000)
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--muon-lr", type=float, default=0.02)
    p.add_argument("--adam-lr", type=float, default=1.5e-3)
    p.add_argument("--decay", type=float, default=0.45)
    p.add_argument("--ema", type=float, default=0.995)
    p.add_argument("--save-every", type=int, default=100)
    p.add_argument("--val-every", type=int, default=500)
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--drop", type=float, default=0.0, help="share of tokens left out in training")
    p.add_argument("--whole-from", type=int, default=1 << 30, help="step from which no token is left out")
    p.add_argument("--init", help="begin with these weights (checkpoints/motion.pt), with a fresh optimiser")
    p.add_argument("--stop-after", type=int, default=0, help="leave after this many steps (tests)")
    a = p.parse_args()

    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    run = pathlib.Path(a.run)
    run.mkdir(parents=True, exist_ok=True)
    cfg = Config(classes=len(LABELS))
    model = MotionClassifier(cfg)
    trained = 0
    if a.init:
        stored = torch.load(a.init, weights_only=True)
        model.load_state_dict({k: v.float() for k, v in stored["model"].items()})
        trained = stored["step"]
    muon, qkv, adam = [], [], []
    for name, q in model.named_parameters():
        inner = name.startswith(("layers.", "pool.", "cross.")) and q.ndim == 2
        (qkv if inner and ".qkv." in name else muon if inner else adam).append(q)
    optimisers = [
        Muon([{"params": muon}, {"params": qkv, "parts": 3}], lr=a.muon_lr),
        torch.optim.AdamW(adam, lr=a.adam_lr, betas=(0.9, 0.98), weight_decay=0.01),
    ]
    rates = [a.muon_lr, a.adam_lr]
    ema = {k: v.clone() for k, v in model.state_dict().items()}
    step = 0
    state_file = run / "state.pt"
    if state_file.exists():
        state = torch.load(state_file, weights_only=False)
        model.load_state_dict(state["model"])
        ema, step = state["ema"], state["step"]
        for o, s in zip(optimisers, state["optimisers"]):
            o.load_state_dict(s)
        torch.set_rng_state(state["rng"])
        print(f"resumed at step {step}", flush=True)

    root = pathlib.Path(a.data)
    sources = data.Sources(root / "train", run / "train-frames.npz")
    unseen = data.Sources(root / "val", run / "val-frames.npz")
    val_frames, val_labels = data.validation_set(unseen, 20)
    loader = iter(
        torch.utils.data.DataLoader(
            data.Batches(sources, a.seed, a.batch, step, a.steps),
            batch_size=None, num_workers=a.workers, prefetch_factor=4 if a.workers else None,
        )
    )
    log_file = run / "log.csv"
    new = not log_file.exists()
    log = open(log_file, "a", newline="")
    rows = csv.writer(log)
    if new:
        rows.writerow(["step", "cross_entropy", "flow", "train_top1", "rate", "clips_per_s", "val_top1"])

    def checkpoint():
        save(
            state_file,
            {
                "model": model.state_dict(), "ema": ema, "step": step, "rng": torch.get_rng_state(),
                "optimisers": [o.state_dict() for o in optimisers], "config": dataclasses.asdict(cfg),
            },
        )

    print(f"{sum(q.numel() for q in model.parameters()) / 1e6:.2f} M parameters", flush=True)
    sums, count, began, first = [0.0, 0.0, 0.0], 0, time.time(), step
    while step < a.steps:
        frames, labels, flow, valid = next(loader)
        factor = rate(step, a.steps, 100, a.decay)
        for o, r in zip(optimisers, rates):
            for g in o.param_groups:
                g["lr"] = r * factor
        valid = valid.repeat_interleave(flow.shape[2], 1)
        flow = flow.flatten(1, 2)
        keep = None
        if a.drop and step < a.whole_from:
            order = torch.randperm(cfg.tokens, generator=torch.Generator().manual_seed(a.seed + step))
            keep = order[: round(cfg.tokens * (1 - a.drop))].sort().values
            flow, valid = flow[:, keep], valid[:, keep]
        with torch.autocast("cpu", torch.bfloat16):
            logits, guess = model(normalise(frames, torch.bfloat16), keep)
        ce = F.cross_entropy(logits.float(), labels, label_smoothing=0.03)
        error = F.smooth_l1_loss(guess.float() * 2, flow, beta=0.3, reduction="none").clamp(max=8).sum(-1)
        flow_loss = (error * valid).sum() / (valid.sum() + 1)
        (ce + 0.4 * flow_loss).backward()
        torch.nn.utils.clip_grad_norm_(adam, 1.0)
        for o in optimisers:
            o.step()
        for q in model.parameters():
            q.grad = None
        step += 1
        with torch.no_grad():
            keep = min(a.ema, step / (step + 10))
            for k, v in model.state_dict().items():
                ema[k].lerp_(v, 1 - keep)
        sums[0] += ce.item()
        sums[1] += flow_loss.item()
        sums[2] += (logits.argmax(1) == labels).float().mean().item()
        count += 1
        if step % 50 == 0 or step == a.steps:
            val = ""
            if step % a.val_every == 0 or step == a.steps:
                judge = MotionClassifier(cfg)
                judge.load_state_dict(ema)
                val = f"{(predict(judge, val_frames).argmax(1) == val_labels).float().mean():.4f}"
            speed = count * a.batch / (time.time() - began)
            row = [step, *(f"{s / count:.4f}" for s in sums), f"{factor:.3f}", f"{speed:.1f}", val]
            rows.writerow(row)
            log.flush()
            print(*row, flush=True)
            sums, count, began = [0.0, 0.0, 0.0], 0, time.time()
        if step % a.save_every == 0 or step == a.steps:
            checkpoint()
        if a.stop_after and step - first >= a.stop_after:
            checkpoint()
            return
    save(run / "motion.pt", {"model": ema, "config": dataclasses.asdict(cfg), "step": trained + step, "labels": LABELS})


if __name__ == "__main__":
    main()
