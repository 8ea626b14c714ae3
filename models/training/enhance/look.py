# SPDX-License-Identifier: Apache-2.0
"""Trains and exports the net of `aienhance`'s colour operation: a picture's own colour table.

    python look.py train --minutes 10     # goes on where it stopped
    python look.py eval                   # validation pictures, spoiled in a fixed way
    python look.py export

A small net looks at a 64x64 thumbnail and at how its colours are distributed,
and says what an editor's knobs should do: black point, white point and gamma
of each channel, contrast, saturation.  A weighed sum of learnt tables is added
("Image-Adaptive 3D LUTs", Zeng et al. 2020).  It is taught with good pictures
that were spoiled: exposure, gamma, contrast, haze, saturation and a colour
cast, a little or much.  Some are left alone, so that it learns to do nothing too.

    picture u8[1,3,64,64] (red, green, blue) -> table f32[3,17,17,17]
    (red, green, blue of 0 to 1 by blue, green, red of what comes in)
"""

import argparse
import copy
import csv
import hashlib
import math
import os
import time

import cv2
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import data as pictures
from export import describe, manifest_entry

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(os.path.join(HERE, "..", "..", ".."))
SIDE, SIZE = 64, 17


def identity():
    """[3,17,17,17]: red fastest, as .cube files have it."""
    v = torch.linspace(0, 1, SIZE)
    b, g, r = torch.meshgrid(v, v, v, indexing="ij")
    return torch.stack([r, g, b])


def first_tables():
    """Directions in which pictures are commonly wrong: where learning begins."""
    x = identity()
    luma = (0.299 * x[0] + 0.587 * x[1] + 0.114 * x[2])[None]
    bump = x * (1 - x)
    zero = torch.zeros_like(x)
    red, blue = zero.clone(), zero.clone()
    red[0], blue[2] = bump[0], bump[2]
    return torch.stack(
        [
            bump,                                      # brighter or darker
            bump * (2 * x - 1) * 2,                    # contrast
            (x - luma) * 0.5,                          # saturation
            red, blue,                                 # cast
            (1 - x) ** 2 * 0.3,                        # black level
            x ** 2 * 0.3,                              # white level
            bump * (1 - x),                            # shadows
        ]
    )


THRESHOLDS = 32


def distribution(picture):
    """[N,3,H,W] to [N,5*THRESHOLDS]: which share of red, green, blue, their least and their most lies below each threshold."""
    x = picture[:, :, ::2, ::2]
    x = torch.cat([x, x.amin(1, keepdim=True), x.amax(1, keepdim=True)], 1).flatten(2)
    steps = torch.arange(THRESHOLDS).to(x) + 0.5
    return ((steps - x[..., None] * THRESHOLDS) + 0.5).clamp(0, 1).mean(2).flatten(1)


class Look(nn.Module):
    def __init__(self, widths=(16, 32, 48, 64), hidden=96, dropped=0.1):
        super().__init__()
        self.config = {"widths": list(widths), "hidden": hidden, "dropped": dropped}
        layers, before = [], 3
        for width in widths:
            layers += [nn.Conv2d(before, width, 3, 2, 1), nn.LeakyReLU(0.1)]
            before = width
        self.body = nn.Sequential(*layers)
        tables = first_tables()
        self.head = nn.Sequential(
            nn.Dropout(dropped), nn.Linear(before * 2 + 5 * THRESHOLDS, hidden), nn.LeakyReLU(0.1), nn.Linear(hidden, KNOBS + len(tables))
        )
        nn.init.zeros_(self.head[3].weight)
        nn.init.zeros_(self.head[3].bias)
        self.tables = nn.Parameter(tables)

    def numbers(self, picture):
        """Of each picture: where its knobs stand, and the weights of the tables."""
        x = self.body(picture * 2 - 1)
        # Means and extremes: how bright is it, and how bright does it get?
        seen = torch.cat([x.mean((2, 3)), x.amax((2, 3)), distribution(picture) * 2 - 1], 1)
        return self.head(seen).split([KNOBS, len(self.tables)], 1)

    def forward(self, picture):
        knobs, weights = self.numbers(picture)
        n = len(knobs)
        added = (weights @ self.tables.view(self.tables.shape[0], -1)).view(n, 3, SIZE, SIZE, SIZE)
        colours = identity().to(added).view(1, 3, -1, 1).expand(n, -1, -1, -1)
        return turned(knobs, colours).view(n, 3, SIZE, SIZE, SIZE) + added


KNOBS = 11


def turned(knobs, x):
    """What the knobs do to colours of [N,3,H,W]."""
    black, white, gamma, contrast, saturation = knobs[:, :, None, None].split([3, 3, 3, 1, 1], 1)
    x = (x - 0.1 * black) * torch.exp(0.3 * white)
    # The curve is steep at black, where the table has few entries.
    x = x.clamp(0.004, 1) ** torch.exp(0.3 * gamma)
    x = x + contrast * x * (1 - x) * (2 * x - 1)
    luma = 0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:]
    return luma + (x - luma) * torch.exp(0.3 * saturation)


def look_up(table, picture):
    """[N,3,17,17,17] applied to [N,3,H,W]."""
    grid = (picture.clamp(0, 1) * 2 - 1).permute(0, 2, 3, 1)[:, None]
    return F.grid_sample(table, grid, mode="bilinear", padding_mode="border", align_corners=True)[:, :, 0]


def spoil(x, g, kept=0.2):
    """Makes [N,3,H,W] of 0..1 worse, each picture in its own way and from hardly to much; a share stays as it is."""
    n = x.shape[0]
    much = torch.rand(n, 1, 1, 1, generator=g) ** 0.5
    u = lambda lo, hi: (torch.rand(n, 1, 1, 1, generator=g) * (hi - lo) + lo) * much
    chance = lambda p: (torch.rand(n, 1, 1, 1, generator=g) < p).float()
    y = x.clamp(1e-4, 1) ** 2.2
    y = y * 2 ** (u(-1.3, 0.7) * chance(0.6))
    cast = torch.exp(torch.randn(n, 3, 1, 1, generator=g) * 0.15 * much * chance(0.6))
    cast = cast / (0.299 * cast[:, :1] + 0.587 * cast[:, 1:2] + 0.114 * cast[:, 2:])
    y = (y * cast).clamp(1e-6, 1) ** (1 / 2.2)
    y = y ** torch.exp(u(-0.5, 0.5) * chance(0.6))
    luma = (0.299 * y[:, :1] + 0.587 * y[:, 1:2] + 0.114 * y[:, 2:])
    y = luma + (y - luma) * (1 + u(-0.6, 0.15) * chance(0.7))
    # Less contrast: about the picture's own mean, or about grey.
    mean = torch.where(chance(0.5) > 0, y.mean((1, 2, 3), keepdim=True), torch.full_like(much, 0.5))
    y = mean + (y - mean) * (1 + u(-0.5, 0.1) * chance(0.6)) + u(-0.12, 0.12) * chance(0.4)
    haze = u(0, 0.3) * chance(0.4)
    y = haze + y * (1 - haze)
    return (torch.where(chance(kept) > 0, x, y).clamp(0, 1) * 255).round() / 255


def rgb(planes):
    """BT.601 studio range planes to bytes of red, green and blue."""
    y, u, v = (planes[i].astype(np.float32) for i in range(3))
    y, u, v = (y - 16) / 219, (u - 128) / 224, (v - 128) / 224
    r, b = y + 1.402 * v, y + 1.772 * u
    g = (y - 0.299 * r - 0.114 * b) / 0.587
    return (np.stack([r, g, b], -1).clip(0, 1) * 255 + 0.5).astype(np.uint8)


def thumbnails(data, cache, split, crops):
    path = os.path.join(cache, f"look-{split}.npy")
    if os.path.exists(path):
        return np.load(path)
    rng, out = np.random.default_rng(7), []
    for planes in pictures.load(data, cache, split):
        picture = rgb(planes)
        h, w = picture.shape[:2]
        for i in range(crops):
            share = 1.0 if i == 0 else rng.uniform(0.45, 1.0)
            ch, cw = int(h * share), int(w * share)
            y, x = rng.integers(0, h - ch + 1), rng.integers(0, w - cw + 1)
            small = cv2.resize(picture[y : y + ch, x : x + cw], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
            out.append(small.transpose(2, 0, 1))
    out = np.stack(out)
    np.save(path, out)
    return out


def psnr(a, b):
    return 10 * torch.log10(1 / (a - b).square().mean((1, 2, 3)).clamp_min(1e-8))


@torch.no_grad()
def measure(net, val):
    net.eval()
    x = torch.from_numpy(val).float() / 255
    bad = spoil(x, torch.Generator().manual_seed(11))
    out = look_up(net(bad), bad)
    kept = look_up(net(x), x)
    before, after = psnr(bad, x), psnr(out, x)
    wrong = before < 50
    net.train()
    return {
        "spoiled": float(before[wrong].mean()),
        "restored": float(after[wrong].mean()),
        "worse": float((after < before)[wrong].float().mean()),
        "good_kept": float(psnr(kept, x).mean()),
    }


def checkpoint(a):
    return os.path.join(a.work, "look", "checkpoint.pt")


def train(a):
    os.makedirs(os.path.join(a.work, "look"), exist_ok=True)
    torch.manual_seed(1)
    torch.set_num_threads(a.threads or torch.get_num_threads())
    data = thumbnails(a.data, a.work, "train", 24)
    val = thumbnails(a.data, a.work, "val", 1)
    net = Look()
    rng, g = np.random.default_rng(1), torch.Generator().manual_seed(1)
    average = copy.deepcopy(net)
    own = [p for n, p in net.named_parameters() if n != "tables"]
    opt = torch.optim.AdamW([{"params": own, "weight_decay": 0.05}, {"params": [net.tables], "weight_decay": 0.0}], lr=1e-3)
    step, spent = 0, 0.0
    if os.path.exists(checkpoint(a)):
        s = torch.load(checkpoint(a), weights_only=False)
        net.load_state_dict(s["moving"])
        average.load_state_dict(s["net"])
        opt.load_state_dict(s["opt"])
        g.set_state(s["g"])
        rng.bit_generator.state = s["rng"]
        step, spent = s["step"], s["spent"]
    log = os.path.join(a.work, "look", "log.csv")
    begun = shown = time.time()
    while step < a.steps and spent < a.minutes * 60:
        t0 = time.time()
        progress = max(step / a.steps, spent / 60 / a.minutes)
        rate = 1.5e-3 * min((step + 1) / 100, 1) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(progress, 1))))
        opt.param_groups[0]["lr"], opt.param_groups[1]["lr"] = rate, rate * 0.3
        batch = data[rng.integers(0, len(data), 48)]
        if rng.random() < 0.5:
            batch = batch[..., ::-1]
        x = torch.from_numpy(np.ascontiguousarray(batch)).float() / 255
        bad = spoil(x, g)
        table = net(bad)
        # A thousand pixels of each picture say as much as all of them.
        some = torch.from_numpy(rng.choice(SIDE * SIDE, 1024, replace=False))
        pick = lambda t: t.flatten(2)[:, :, some].reshape(len(t), 3, 32, 32)
        error = (look_up(table, pick(bad)) - pick(x)).square().mean((1, 2, 3))
        # Neighbouring colours stay neighbours, and their order is kept.
        smooth = sum(net.tables.diff(dim=k).diff(dim=k).square().mean() for k in (1, 2, 3))
        d = [table.diff(dim=k) for k in (2, 3, 4)]
        fold = d[0][:, 2].clamp_max(0).square().mean() + d[1][:, 1].clamp_max(0).square().mean() + d[2][:, 0].clamp_max(0).square().mean()
        # Decibels: pictures that were hardly spoiled, or not at all, count as much as those that were.
        loss = torch.log10(error + 5e-5).mean() + 20.0 * smooth + 100.0 * fold
        opt.zero_grad()
        loss.backward()
        opt.step()
        step += 1
        follow = min(0.999, step / (step + 10))
        for mean, now in zip(average.parameters(), net.parameters()):
            mean.data.lerp_(now.data, 1 - follow)
        spent += time.time() - t0
        if not math.isfinite(loss.item()):
            raise SystemExit(f"step {step}: the loss is not finite; the last checkpoint is intact")
        done = step >= a.steps or spent >= a.minutes * 60
        if time.time() - shown > 20 or done:
            shown = time.time()
            row = {"step": step, "minutes": round(spent / 60, 2), "loss": round(loss.item(), 5)}
            row.update({k: round(v, 3) for k, v in measure(average, val).items()})
            new = not os.path.exists(log)
            with open(log, "a", newline="") as f:
                w = csv.DictWriter(f, row.keys())
                if new:
                    w.writeheader()
                w.writerow(row)
            print(" ".join(f"{k}={v}" for k, v in row.items()), flush=True)
            s = {"net": average.state_dict(), "moving": net.state_dict(), "opt": opt.state_dict(), "g": g.get_state(), "rng": rng.bit_generator.state, "step": step, "spent": spent, "config": net.config}
            torch.save(s, checkpoint(a) + ".tmp")
            os.replace(checkpoint(a) + ".tmp", checkpoint(a))
    print(f"done: step {step}, this call {time.time() - begun:.0f} s")


def load(a):
    net = Look()
    path = checkpoint(a)
    if os.path.exists(path):
        s = torch.load(path, weights_only=False)
    else:
        s = torch.load(os.path.join(a.out, "look.pt"), weights_only=True)
    net.load_state_dict(s["net"])
    return net.eval(), s


class Bytes(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, picture):
        return self.net(picture.float() / 255)[0]


def export(a):
    import onnx

    net, s = load(a)
    path = os.path.join(a.out, "look.onnx")
    torch.onnx.export(
        Bytes(net), torch.zeros(1, 3, SIDE, SIDE, dtype=torch.uint8), path + ".tmp",
        input_names=["picture"], output_names=["table"], opset_version=17, dynamo=False,
    )
    model = onnx.load(path + ".tmp")
    model.producer_name = "gst-aivideo"
    for key, value in {"operation": "color", "steps": s["step"]}.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = f"aienhance.{key}", str(value)
    onnx.checker.check_model(model, full_check=True)
    blob = model.SerializeToString()
    with open(path + ".tmp", "wb") as f:
        f.write(blob)
    os.replace(path + ".tmp", path)
    torch.save({"net": s["net"], "config": net.config, "step": s["step"], "spent": s["spent"]}, os.path.join(a.out, "look.pt"))
    log = os.path.join(a.work, "look", "log.csv")
    if os.path.exists(log):
        with open(log) as f, open(os.path.join(a.out, "look.log.csv"), "w") as out:
            out.write(f.read())
    manifest_entry(a.out, {
        "path": "look.onnx", "sha256": hashlib.sha256(blob).hexdigest(), "kind": "color",
        "inputs": describe(model.graph.input), "outputs": describe(model.graph.output), "licence": "Apache-2.0",
        "training": {
            "steps": s["step"], "minutes": round(s["spent"] / 60, 1),
            "data": "train/ of the project's data set: thumbnails of 50 photos and frames of clips, spoiled",
            "log": "look.log.csv",
        },
    })
    print(f"look.onnx {len(blob)} bytes, {s['step']} steps")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", choices=["train", "eval", "export"])
    p.add_argument("--data", default=os.path.join(ROOT, "..", "shared", "data"))
    p.add_argument("--work", default=os.path.join(ROOT, "target", "training", "enhance"))
    p.add_argument("--out", default=os.path.join(ROOT, "models", "enhance"))
    p.add_argument("--minutes", type=float, default=10)
    p.add_argument("--steps", type=int, default=30000)
    p.add_argument("--threads", type=int, default=0)
    a = p.parse_args()
    if a.what == "train":
        train(a)
    elif a.what == "export":
        export(a)
    else:
        for k, v in measure(load(a)[0], thumbnails(a.data, a.work, "val", 1)).items():
            print(f"{k:<10} {v:.2f}")


if __name__ == "__main__":
    main()
