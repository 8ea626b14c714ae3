# SPDX-License-Identifier: Apache-2.0
"""Draws a training log as SVG: loss, PSNR and bits over the steps, stages marked.

    python plot.py ../runs/codec-s/log.jsonl log.svg        # a run's log, or a released s.log.csv
"""

import argparse
import csv
import json
import math
from html import escape

WIDTH, HEIGHT, LEFT, GAP = 900, 220, 70, 60
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#7f7f7f")
PANELS = (
    ("loss: mean log of bits + lambda * distortion", ("loss",), ("loss",)),
    ("Y-PSNR, dB", ("key_psnr", "psnr"), ("psnr",)),
    ("log2 of bits a pixel", ("key_bpp", "bpp", "bpp_z"), ("bpp",)),
)


def read(path):
    """Rows of a log in either form: training rows, and one row a check and quality (`held_out_q`)."""
    rows = []
    with open(path, newline="") as f:
        if path.endswith(".csv"):
            rows = [{k: float(v) for k, v in row.items() if v != ""} for row in csv.DictReader(f)]
        else:
            for row in map(json.loads, f):
                if "check" in row:
                    rows += [{**r, "step": row["check"], "held_out_q": r["q"]} for r in row["rows"]]
                else:
                    rows.append(row)
    # What a killed run had done since its last save was done again.
    kept, first = [], float("inf")
    for row in reversed(rows):
        if row["step"] < first or "held_out_q" in row and row["step"] == first:
            kept.append(row)
            first = row["step"]
    return kept[::-1]


def smooth(points, width=0.02):
    """A running mean over a share of the points: single rows are of different clips."""
    n = max(1, int(len(points) * width))
    out, total = [], 0.0
    for i, (x, y) in enumerate(points):
        total += y - (points[i - n][1] if i >= n else 0)
        out.append((x, total / min(i + 1, n)))
    return out


def curves(rows, keys, checked):
    """[(name, points, dashed)] of one panel."""
    out = []
    for key in keys:
        points = [(r["step"], r[key]) for r in rows if "held_out_q" not in r and key in r]
        out.append((key, smooth(points), False))
    for q in sorted({r["held_out_q"] for r in rows if "held_out_q" in r}):
        for key in checked:
            points = [(r["step"], r[key]) for r in rows if r.get("held_out_q") == q and key in r]
            out.append((f"held out, q {q:g}" + ("" if key == keys[0] else f", {key}"), points, True))
    return [c for c in out if c[1]]


def panel(title, lines, stages, last, top):
    if title.startswith("log2"):
        lines = [(name, [(x, math.log2(max(y, 1e-6))) for x, y in points], dashed) for name, points, dashed in lines]
    values = [y for _, points, _ in lines for _, y in points]
    low, high = min(values), max(values)
    high = high if high > low else low + 1
    sx = lambda x: LEFT + x / max(last, 1) * (WIDTH - LEFT - 220)
    sy = lambda y: top + HEIGHT - (y - low) / (high - low) * HEIGHT
    out = [f'<text x="{LEFT}" y="{top - 10}" font-weight="bold">{escape(title)}</text>']
    out.append(f'<rect x="{LEFT}" y="{top}" width="{sx(last) - LEFT:.1f}" height="{HEIGHT}" fill="none" stroke="#999"/>')
    for i in range(5):
        y = low + (high - low) * i / 4
        out.append(f'<text x="{LEFT - 6}" y="{sy(y) + 4:.1f}" text-anchor="end">{y:.4g}</text>')
        out.append(f'<path d="M{LEFT} {sy(y):.1f}H{sx(last):.1f}" stroke="#eee"/>')
    labelled = float("-inf")
    for step, frames in stages:
        out.append(f'<path d="M{sx(step):.1f} {top}v{HEIGHT}" stroke="#bbb" stroke-dasharray="2 3"/>')
        if sx(step) - labelled < 60:
            continue
        labelled = sx(step)
        out.append(f'<text x="{sx(step) + 3:.1f}" y="{top + 12}" fill="#888">{frames:g} frames</text>')
    for i, (name, points, dashed) in enumerate(lines):
        colour = COLOURS[i % len(COLOURS)]
        path = "L".join(f"{sx(x):.1f} {sy(y):.1f}" for x, y in points)
        dash = ' stroke-dasharray="5 3"' if dashed else ""
        out.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.4"{dash}/>')
        out.append(f'<text x="{sx(last) + 10:.1f}" y="{top + 12 + 15 * i}" fill="{colour}">{escape(name)}</text>')
    out.append(f'<text x="{sx(last):.1f}" y="{top + HEIGHT + 16}" text-anchor="end">{last:g} steps</text>')
    return out


def draw(rows):
    train = [r for r in rows if "held_out_q" not in r]
    if not train:
        raise SystemExit("the log holds no training rows")
    stages = [(r["step"], r["frames"]) for i, r in enumerate(train) if i == 0 or r["frames"] != train[i - 1]["frames"]]
    last, body, top = max(r["step"] for r in rows), [], 30
    for title, keys, checked in PANELS:
        lines = curves(rows, keys, checked)
        if lines:
            body += panel(title, lines, stages, last, top)
            top += HEIGHT + GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" font-family="sans-serif" font-size="11">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *body, "</svg>"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log")
    parser.add_argument("out")
    args = parser.parse_args()
    with open(args.out, "w") as f:
        f.write(draw(read(args.log)))


if __name__ == "__main__":
    main()
