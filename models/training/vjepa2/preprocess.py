# SPDX-License-Identifier: Apache-2.0
"""The definition of the model's preprocessing, and golden values of it for the element.

    python preprocess.py ../../../elements/classify/tests/data/preprocess.txt
"""

import sys

import torch
from torch.nn import functional as F

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def preprocess(rgb, size, short, mean=MEAN, std=STD):
    """float [3,H,W] on 0..255 -> [3,size,size]: short side scaled, middle cut, normalised."""
    h, w = rgb.shape[1:]
    scaled = (max(short, int(short * h / w)), short) if w <= h else (short, max(short, int(short * w / h)))
    if scaled != (h, w):
        rgb = F.interpolate(rgb[None], scaled, mode="bilinear", align_corners=False, antialias=True)[0]
    top, left = (scaled[0] - size) // 2, (scaled[1] - size) // 2  # as transformers, not torchvision
    crop = rgb[:, top : top + size, left : left + size].clamp(0, 255)
    return (crop / 255 - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


def pattern(w, h, channels=3):
    """A picture that any language can make again: all frequencies, no two channels alike."""
    y, x, c = torch.meshgrid(torch.arange(h), torch.arange(w), torch.arange(channels), indexing="ij")
    return (((x * 7 + y * 13 + c * 50) ^ (x * y >> 3)) & 255).permute(2, 0, 1).float()


def yuv420_to_rgb(y, u, v, kr, kb, full, cosited):
    """Planes at full precision; chroma is brought to luma size bilinearly."""
    h, w = y.shape

    def up(c):
        c = c[None, None]
        if cosited:  # samples on even columns: interpolate along x between neighbours
            wide = torch.empty(*c.shape[:3], c.shape[3] * 2)
            wide[..., 0::2] = c
            wide[..., 1::2] = (c + torch.cat([c[..., 1:], c[..., -1:]], -1)) / 2
            c = F.interpolate(wide, (c.shape[2] * 2, wide.shape[3]), mode="bilinear", align_corners=False)
        else:
            c = F.interpolate(c, scale_factor=2, mode="bilinear", align_corners=False)
        return c[0, 0, :h, :w]

    kg = 1 - kr - kb
    y0, yg, cg = (0, 1, 1) if full else (16, 255 / 219, 255 / 224)
    y = (y - y0) * yg
    u, v = (up(u) - 128) * cg, (up(v) - 128) * cg
    r = y + 2 * (1 - kr) * v
    b = y + 2 * (1 - kb) * u
    g = y - 2 * kb * (1 - kb) / kg * u - 2 * kr * (1 - kr) / kg * v
    return torch.stack([r, g, b])


def smooth(w, h, c):
    """Slow waves inside the gamut, so that clipping plays no part."""
    y, x = torch.meshgrid(torch.arange(h).float(), torch.arange(w).float(), indexing="ij")
    return torch.round(128 + 24 * torch.sin(x * 0.043 + c) * torch.cos(y * 0.031 + 2 * c))


def main():
    lines = [
        "# Written by models/training/vjepa2/preprocess.py: kind width height short size, then",
        "# channel row column value. `rgb` is pattern(), `yuv*` is smooth() per plane.",
    ]
    points = [(c, r, k) for c in range(3) for r in (0, 1, 20, 63) for k in (0, 7, 31, 62, 63)]
    for w, h, short, size in [(1280, 720, 64, 64), (333, 217, 64, 64), (50, 91, 64, 64), (217, 333, 73, 64), (640, 360, 292, 256)]:
        out = preprocess(pattern(w, h), size, short)
        lines.append(f"rgb {w} {h} {short} {size}")
        lines += [f"{c} {r * size // 64} {k * size // 64} {out[c, r * size // 64, k * size // 64]:.6f}" for c, r, k in points]
    for kind, kr, kb, full, cosited in [
        ("yuv601", 0.299, 0.114, False, False),
        ("yuv709cosited", 0.2126, 0.0722, False, True),
        ("yuv601full", 0.299, 0.114, True, False),
    ]:
        for w, h in [(640, 360), (321, 181)]:
            cw, ch = (w + 1) // 2, (h + 1) // 2
            rgb = yuv420_to_rgb(smooth(w, h, 0), smooth(cw, ch, 1), smooth(cw, ch, 2), kr, kb, full, cosited)
            out = preprocess(rgb, 64, 64)
            lines.append(f"{kind} {w} {h} 64 64")
            lines += [f"{c} {r} {k} {out[c, r, k]:.6f}" for c, r, k in points]
    with open(sys.argv[1], "w") as f:
        f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
