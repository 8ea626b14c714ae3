# SPDX-License-Identifier: Apache-2.0
"""Trains the nets of `aienhance`.

    python train.py upscale --minutes 12
    python train.py denoise --minutes 12

A run that was stopped goes on where it was when the same command is given
again (add `--minutes` or `--steps` to go further).  Learning rate and precision follow progress, the
larger of steps done / steps and minutes spent / minutes.
"""

import argparse
import ast
import csv
import math
import os
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import data as pictures
import nets
from muon import Muon

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(os.path.join(HERE, "..", "..", ".."))


def psnr(a, b):
    return 10 * math.log10(1.0 / max(F.mse_loss(a.clamp(0, 1), b).item(), 1e-10))


class UpscaleTask:
    crop, batch_size, composed = 128, 32, 0.15
    shave = 4  # as in benchmarks

    def pair(self, crops):
        hr = crops.batch(self.batch_size, 1)
        lr = (pictures.half(hr) * 255).round().clamp(0, 255) / 255
        return hr, lr

    def loss(self, net, sample, late):
        hr, lr = sample
        out = net(lr)
        # The net pads with zeros, real frames have few borders.
        d = (out - hr)[:, :, self.shave : -self.shave, self.shave : -self.shave]
        return d.square().mean() * 40 if late else d.abs().mean()

    def validate(self, net, planes):
        total = []
        for p in planes:
            h, w = p.shape[1] // 4 * 4, p.shape[2] // 4 * 4
            hr = torch.from_numpy(p[:1, :h, :w].astype(np.float32) / 255)[None]
            lr = (pictures.half(hr) * 255).round().clamp(0, 255) / 255
            total.append(psnr((net(lr) * 255).round()[..., 4:-4, 4:-4] / 255, hr[..., 4:-4, 4:-4]))
        return {"psnr": float(np.mean(total))}


class TaughtTask(UpscaleTask):
    """Learns what a teacher makes of pictures, in place of what they were."""

    shave = 12  # the teacher knew what lies beyond

    def pair(self, taught):
        return taught.batch(self.batch_size)


class DenoiseTask:
    crop, batch_size, composed = 128, 16, 0.1

    def noisy(self, clean, rng, sigma, chroma, grey, clip):
        g = torch.Generator().manual_seed(int(rng.integers(2**31)))
        y = clean[:, :1]
        uv = F.avg_pool2d(clean[:, 1:], 2)
        uv = torch.where(grey[:, None, None, None], torch.full_like(uv, 128 / 255), uv)
        chroma = torch.where(grey, torch.zeros_like(chroma), chroma)
        ny = y + sigma[:, None, None, None] * torch.randn(y.shape, generator=g)
        nuv = uv + chroma[:, None, None, None] * torch.randn(uv.shape, generator=g)
        # Half the samples are what a video carries (rounded, clipped), half what benchmarks feed.
        q = clip[:, None, None, None]
        ny = torch.where(q, (ny * 255).round().clamp(0, 255) / 255, ny)
        nuv = torch.where(q, (nuv * 255).round().clamp(0, 255) / 255, nuv)
        return y, uv, ny, nuv, torch.stack([sigma, chroma], 1)

    def pair(self, crops):
        n, rng = self.batch_size, crops.rng
        clean = crops.batch(n, 3)
        # Luma of either range, so that the net is at home in both.
        full = torch.from_numpy(rng.random(n) < 0.5)[:, None, None, None]
        y = clean[:, :1]
        # Photographs are pale: stronger colours, so that the net does not take colour for noise.
        vivid = torch.from_numpy(rng.uniform(0.7, 3.0, n).astype(np.float32))[:, None, None, None]
        uv = ((clean[:, 1:] - 128 / 255) * vivid + 128 / 255).clamp(16 / 255, 240 / 255)
        clean = torch.cat([torch.where(full, ((y * 255 - 16) / 219).clamp(0, 1), y), uv], 1)
        sigma = np.where(rng.random(n) < 0.5, rng.uniform(0, 55, n), rng.uniform(12, 38, n))
        chroma = sigma * rng.uniform(0.1, 1.0, n)
        as_f = lambda a: torch.from_numpy(a.astype(np.float32)) / 255
        grey = torch.from_numpy(rng.random(n) < 0.4)
        clip = torch.from_numpy(rng.random(n) < 0.5)
        return self.noisy(clean, rng, as_f(sigma), as_f(chroma), grey, clip)

    def loss(self, net, sample, late):
        y, uv, ny, nuv, sigma = sample
        oy, ouv = net(ny, nuv, sigma)
        dy, duv = oy - y, ouv - uv
        if late:
            return dy.square().mean() * 20 + 0.25 * duv.square().mean() * 20
        return dy.abs().mean() + 0.25 * duv.abs().mean()

    def validate(self, net, planes):
        out = {}
        for level in (10, 25, 50):
            ly, lc = [], []
            for i, p in enumerate(planes[::2]):
                h, w = p.shape[1] // 8 * 8, p.shape[2] // 8 * 8
                clean = torch.from_numpy(p[:, :h, :w].astype(np.float32) / 255)[None]
                one = torch.ones(1)
                y, uv, ny, nuv, s = self.noisy(
                    clean, np.random.default_rng(i), one * level / 255, one * level / 510, one < 0, one > 0
                )
                oy, ouv = net(ny, nuv, s)
                ly.append(psnr(oy, y))
                lc.append(psnr(ouv, uv))
            out[f"psnr_y_{level}"], out[f"psnr_uv_{level}"] = float(np.mean(ly)), float(np.mean(lc))
        return out


class Optimisers:
    """Adam, and with `muon` that for the factors of the kernels, whose rate is so many times Adam's."""

    def __init__(self, net, rate, muon):
        factors = [p for name, p in net.named_parameters() if muon and name.endswith((".inner", ".outer"))]
        chosen = {id(p) for p in factors}
        rest = [p for p in net.parameters() if id(p) not in chosen]
        self.scales = [1.0]
        self.parts = [torch.optim.Adam(rest, lr=rate, betas=(0.9, 0.99))]
        if factors:
            self.scales.append(muon)
            self.parts.append(Muon(factors, lr=rate, weight_decay=0, dtype=torch.float32))

    def set_rate(self, rate):
        for part, scale in zip(self.parts, self.scales):
            for group in part.param_groups:
                group["lr"] = rate * scale

    def zero_grad(self):
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def step(self):
        for part in self.parts:
            part.step()

    def state_dict(self):
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states):
        for part, state in zip(self.parts, states):
            part.load_state_dict(state)


def fitted(given, fresh, name):
    """`given` in the shape of the `fresh` parameter of a net with smaller windows or more features."""
    if given.dim() == 4 and given.shape[-1] > fresh.shape[-1]:
        # Smaller windows begin as the middle of larger ones.
        cut = (given.shape[-1] - fresh.shape[-1]) // 2
        given = given[..., cut : cut + fresh.shape[-1], cut : cut + fresh.shape[-1]]
    if given.shape == fresh.shape:
        return given
    if given.shape[2:] != fresh.shape[2:] or any(a > b for a, b in zip(given.shape, fresh.shape)):
        raise SystemExit(f"--init: {name} is {list(given.shape)}, which does not fit into {list(fresh.shape)}")
    # New features are something of their own, but no layer looks at them yet: the net computes what it did.
    out = fresh.clone()
    if name.endswith(".inner"):
        out[:, given.shape[1] :] = 0
    out[tuple(slice(n) for n in given.shape)] = given
    return out


TASKS = {"upscale": UpscaleTask, "denoise": DenoiseTask}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("task", choices=TASKS)
    p.add_argument("--data", default=os.path.join(ROOT, "..", "shared", "data"))
    p.add_argument("--work", default=os.path.join(ROOT, "target", "training", "enhance"))
    p.add_argument("--name", help="folder of this run inside --work (default: the task)")
    p.add_argument("--steps", type=int, default=1_000_000)
    p.add_argument("--minutes", type=float, default=12.0)
    p.add_argument("--rate", type=float, default=2e-3)
    p.add_argument("--muon", type=float, default=0, help="Muon for the kernels, at so many times the rate; 0: Adam")
    p.add_argument("--config", help="net configuration, a Python dict (default: that of --init, or the task's)")
    p.add_argument("--precision", choices=["bf16", "fp32"], default="bf16")
    p.add_argument("--square-from", type=float, default=0.7, help="progress from which the squared error is minimised")
    p.add_argument("--batch", type=int, help="crops a step (default: the task's)")
    p.add_argument("--composed", type=float, help="share of composed pictures among the crops (default: the task's)")
    p.add_argument("--teacher", help="weights of an upscaler whose ensemble says what pictures are to become (kept in --work)")
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--init", help="compact checkpoint to start from (a deeper or wider net may start from a smaller one)")
    a = p.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)

    run = os.path.join(a.work, a.name or a.task)
    os.makedirs(run, exist_ok=True)
    ckpt, log = os.path.join(run, "checkpoint.pt"), os.path.join(run, "log.csv")
    if a.teacher and a.task != "upscale":
        p.error("--teacher is for upscale")
    task = TaughtTask() if a.teacher else TASKS[a.task]()
    task.batch_size = a.batch or task.batch_size
    if a.composed is not None:
        task.composed = a.composed
    torch.manual_seed(1)
    first = torch.load(a.init, weights_only=True) if a.init else {"config": {}}
    net = nets.make(a.task, **(ast.literal_eval(a.config) if a.config else first["config"]))
    step, spent = 0, 0.0
    planes = pictures.load(a.data, a.work, "train")
    composed = pictures.composed(planes, a.work)
    if a.teacher:
        state = torch.load(a.teacher, weights_only=True)
        teacher = nets.make(a.task, **state["config"])
        teacher.load_state_dict(state["net"])
        teacher = nets.Ensemble(teacher.eval())
        crops = pictures.Taught(planes, composed, task.composed, teacher, task.crop // 2, 1, a.work)
    else:
        crops = pictures.Crops(planes, composed, task.composed, task.crop, 1)
    val = pictures.load(a.data, a.work, "val")[::3]
    if a.init:
        # Layers that the file does not have begin as they would be absent: identities.
        given = first["net"]
        for name, value in net.state_dict().items():
            if name in given:
                given[name] = fitted(given[name], value, name)
        missing, _ = net.load_state_dict(given, strict=False)
        for name in missing:
            if name.endswith(".outer"):
                net.get_parameter(name).data.zero_()
    net = net.to(memory_format=torch.channels_last)
    opt = Optimisers(net, a.rate, a.muon)
    ema = {k: v.detach().clone() for k, v in net.state_dict().items()}
    if os.path.exists(ckpt):
        s = torch.load(ckpt, weights_only=False)
        if s["config"] != net.config:
            raise SystemExit(f"{ckpt} is of another net {s['config']}; use another --name")
        net.load_state_dict(s["net"])
        opt.load_state_dict(s["opt"])
        ema, step, spent = s["ema"], s["step"], s["spent"]
        torch.set_rng_state(s["rng"])
        crops.rng.bit_generator.state = s["crops"]
        print(f"resumed at step {step}, {spent / 60:.1f} minutes", flush=True)

    def save():
        s = {
            "task": a.task, "config": net.config, "net": net.state_dict(), "opt": opt.state_dict(), "ema": ema,
            "step": step, "spent": spent, "rng": torch.get_rng_state(), "crops": crops.rng.bit_generator.state,
        }
        torch.save(s, ckpt + ".tmp")
        os.replace(ckpt + ".tmp", ckpt)

    def validate():
        live = {k: v.detach().clone() for k, v in net.state_dict().items()}
        net.load_state_dict(ema)
        with torch.no_grad():
            result = task.validate(net, val)
        net.load_state_dict(live)
        return result

    begun, last_save, last_log, mean = time.time(), time.time(), time.time(), None
    progress, pause = 0.0, 45
    while progress < 1.0:
        progress = min(max(step / a.steps, spent / 60 / a.minutes), 1.0)
        warm = min((step + 1) / 200, 1.0)
        rate = a.rate * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))
        opt.set_rate(rate)
        t0 = time.time()
        sample = tuple(t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t for t in task.pair(crops))
        late = progress >= a.square_from
        fast = a.precision == "bf16" and progress < 0.8
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=fast):
            loss = task.loss(net, sample, late)
        opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        opt.step()
        step += 1
        # A process that was stopped for a while was not training.
        spent += min(time.time() - t0, 5.0)
        decay = min(0.999, (step + 1) / (step + 20))
        with torch.no_grad():
            for k, v in net.state_dict().items():
                ema[k].lerp_(v, 1 - decay)
        value = loss.item()
        if not math.isfinite(value):
            raise SystemExit(f"step {step}: the loss is {value}; the last checkpoint is intact")
        mean = value if mean is None else mean + 0.02 * (value - mean)
        now = time.time()
        if now - last_log > pause or progress >= 1.0:
            row = {"step": step, "minutes": round(spent / 60, 2), "rate": round(rate, 7), "loss": round(mean, 6)}
            row.update({k: round(v, 3) for k, v in validate().items()})
            new = not os.path.exists(log)
            with open(log, "a", newline="") as f:
                w = csv.DictWriter(f, row.keys())
                if new:
                    w.writeheader()
                w.writerow(row)
            print(" ".join(f"{k}={v}" for k, v in row.items()), flush=True)
            last_log = time.time()
            pause = min(max(45, 30 * (last_log - now)), 300)  # looking takes 3 % of the time, where nothing else runs
        if now - last_save > 60:
            save()
            last_save = time.time()
    save()
    print(f"done: step {step}, {spent / 60:.1f} minutes, this call {time.time() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
