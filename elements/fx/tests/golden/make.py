#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the tables that posterise and threshold are held to, from their definitions in NumPy.

    step = 255 / (n - 1); y = clamp(round_half_even(x / step) * step), truncated to u8
    y = 255 if x > t * 255 else 0
"""
import pathlib

import numpy as np

HERE = pathlib.Path(__file__).parent
X = np.arange(256, dtype=np.float64)


def line(key, table):
    return f"{key}: {' '.join(str(int(v)) for v in table)}\n"


with open(HERE / "posterize.txt", "w") as out:
    out.write("# Written by make.py. n: y for x = 0 .. 255\n")
    for n in range(2, 257):
        step = 255 / (n - 1)
        # np.round rounds halves to even; astype truncates.
        y = np.clip(np.round(X / step) * step, 0, 255).astype(np.uint8)
        out.write(line(n, y))

with open(HERE / "threshold.txt", "w") as out:
    out.write("# Written by make.py. t: y for x = 0 .. 255\n")
    values = [i / 20 for i in range(21)] + [1 / 3, 0.001, 0.999, 127 / 255, 128 / 255, 0.502]
    for t in values:
        out.write(line(repr(t), np.where(X > t * 255, 255, 0)))
