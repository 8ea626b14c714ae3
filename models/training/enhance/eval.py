# SPDX-License-Identifier: Apache-2.0
"""Measures the shipped checkpoints on Set5, Set14 and BSD68, beside their peers.

    python eval.py            # prints the tables
    python eval.py --write    # and puts them into models/enhance/README.md

Upscaling: BT.601 studio luma, border shave 2, antialiased bicubic (a = -1/2); "8 bit"
shrinks RGB and rounds it, and its luma again, as a video frame has to; "float"
is the published protocol (luma shrunk and not rounded).  Denoising: grey BSD68, Gaussian noise from a fixed
seed; "float" is the published protocol (noise neither clipped nor rounded),
"8 bit" is what a video frame can carry.  Peers measured here: bicubic, OpenCV's
fastNlMeans.  Figures of BM3D, FSRCNN and FFDNet are from the literature.
"""

import argparse
import glob
import math
import os
import re

import cv2
import numpy as np
import torch
import torch.nn.functional as F

import data as pictures
import nets

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(os.path.join(HERE, "..", "..", ".."))
# Samples around a picture that the element repeats before it enlarges.
MARGIN = 2


def load(path):
    state = torch.load(path, weights_only=True)
    net = nets.make("denoise" if "denoise" in os.path.basename(path) else "upscale", **state["config"])
    net.load_state_dict(state["net"])
    return net.eval()


def luma(bgr):
    return pictures.ycbcr(bgr)[0].astype(np.float64)


def psnr(a, b):
    return 10 * math.log10(255.0**2 / max(np.mean((a - b) ** 2), 1e-10))


@torch.no_grad()
def bicubic_twice(y):
    net = nets.Upscale2(16, 0)
    x = torch.from_numpy(y.astype(np.float32))[None, None]
    x = F.pad(x, (2, 2 + y.shape[1] % 2, 2, 2 + y.shape[0] % 2), mode="replicate")
    return F.pixel_shuffle(F.conv2d(x, net.base.detach(), None, 2), 4)[0, 0].numpy().round().clip(0, 255)


def half_luma(y):
    return pictures.half(torch.from_numpy(y.astype(np.float32))[None, None])[0, 0].numpy()


@torch.no_grad()
def upscale(net, folder):
    """Bicubic and the net, each by the published protocol and in 8 bits."""
    rows = []
    for path in sorted(glob.glob(os.path.join(folder, "*.png"))):
        hr = cv2.imread(path)
        h, w = hr.shape[0] // 2 * 2, hr.shape[1] // 2 * 2
        hr = hr[:h, :w]
        truth = luma(hr)
        row = []
        for lr in (half_luma(truth), luma(pictures.half_u8(hr))):
            # As the element does: the net wants even sizes and takes what is outside for black, so the edge is repeated and cut off again.
            x = np.pad(lr, [(MARGIN, MARGIN + side % 2) for side in lr.shape], mode="edge")
            out = net(torch.from_numpy(x.astype(np.float32) / 255)[None, None])[0, 0].numpy() * 255
            out = out.round().clip(0, 255)[2 * MARGIN :][:h, 2 * MARGIN :][:, :w]
            cut = (slice(2, -2), slice(2, -2))
            row += [psnr(bicubic_twice(lr)[:h, :w][cut], truth[cut]), psnr(out[cut], truth[cut])]
        rows.append(row)
    return np.mean(rows, axis=0), len(rows)


def noise_of(picture, sigma, seed):
    return picture + np.random.default_rng(seed).normal(0, sigma, picture.shape)


@torch.no_grad()
def run_denoise(net, y, sigma):
    h, w = y.shape
    p = np.pad(y, ((0, -h % 8), (0, -w % 8)), mode="edge").astype(np.float32) / 255
    flat = torch.full((1, 2, p.shape[0] // 2, p.shape[1] // 2), 128 / 255)
    out, _ = net(torch.from_numpy(p)[None, None], flat, torch.tensor([[sigma / 255, 0.0]]))
    return out[0, 0].numpy()[:h, :w] * 255


def denoise(net, folder, sigma, peers=True):
    rows = []
    for i, path in enumerate(sorted(glob.glob(os.path.join(folder, "*.png")))):
        clean = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2GRAY).astype(np.float64)
        noisy = noise_of(clean, sigma, i)
        bytes_ = noisy.round().clip(0, 255)
        row = [psnr(bytes_, clean)]
        if peers:
            row.append(psnr(cv2.fastNlMeansDenoising(bytes_.astype(np.uint8), None, 0.9 * sigma, 5, 15), clean))
        row.append(psnr(run_denoise(net, noisy, sigma).clip(0, 255), clean))
        row.append(psnr(run_denoise(net, bytes_, sigma).round().clip(0, 255), clean))
        rows.append(row)
    return np.mean(rows, axis=0), len(rows)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", default=os.path.join(ROOT, "..", "shared", "data"))
    p.add_argument("--models", default=os.path.join(ROOT, "models", "enhance"))
    p.add_argument("--write", action="store_true", help="replace the tables in the models' README.md")
    p.add_argument("--quick", action="store_true", help="leave out the slow peer")
    a = p.parse_args()
    bench = os.path.join(a.data, "benchmark")
    if not os.path.isdir(bench):
        raise SystemExit(f"no {bench}: give the folder that has benchmark/ with --data")
    lines = [
        "| upscale x2, PSNR-Y dB | pictures | bicubic: float, 8 bit | small net: float, 8 bit | large net: float, 8 bit | ensemble: float, 8 bit | FSRCNN, VDSR (literature) |",
        "|---|---|---|---|---|---|---|",
    ]
    small, large = (load(os.path.join(a.models, f"upscale-x2{size}.pt")) for size in ("", "-large"))
    for name, other in (("Set5", "37.00, 37.53"), ("Set14", "32.63, 33.03")):
        (cubic, exact, cubic8, eight), n = upscale(small, os.path.join(bench, name))
        others = ""
        for net in (large, nets.Ensemble(large)):
            (_, exact2, _, eight2), _ = upscale(net, os.path.join(bench, name))
            others += f"{exact2:.2f}, {eight2:.2f} | "
        lines.append(f"| {name} | {n} | {cubic:.2f}, {cubic8:.2f} | {exact:.2f}, {eight:.2f} | {others}{other} |")
    lines += [
        "",
        "| grey BSD68, PSNR dB | noisy | fastNlMeans, 8 bit | small net: float, 8 bit | large net: float, 8 bit | BM3D, FFDNet (literature) |",
        "|---|---|---|---|---|---|",
    ]
    small, large = (load(os.path.join(a.models, f"denoise{size}.pt")) for size in ("", "-large"))
    for sigma, other in ((15, "31.07, 31.63"), (25, "28.57, 29.19"), (50, "25.62, 26.29")):
        (noisy, *peer, exact, eight), n = denoise(small, os.path.join(bench, "BSD68"), sigma, not a.quick)
        (_, exact2, eight2), _ = denoise(large, os.path.join(bench, "BSD68"), sigma, False)
        peer = f"{peer[0]:.2f}" if peer else "-"
        lines.append(f"| sigma {sigma}, {n} pictures | {noisy:.2f} | {peer} | {exact:.2f}, {eight:.2f} | {exact2:.2f}, {eight2:.2f} | {other} |")
    text = "\n".join(lines)
    print(text)
    if a.write:
        card = os.path.join(a.models, "README.md")
        with open(card) as f:
            old = f.read()
        new, found = re.subn(r"(<!-- figures -->\n).*?(<!-- end -->)", lambda m: f"{m[1]}{text}\n{m[2]}", old, flags=re.S)
        if not found:
            raise SystemExit(f"{card} has no place for the tables (<!-- figures --> to <!-- end -->)")
        with open(card, "w") as f:
            f.write(new)


if __name__ == "__main__":
    main()
