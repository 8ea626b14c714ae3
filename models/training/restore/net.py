# SPDX-License-Identifier: Apache-2.0
"""The restoration net: a decoded picture, the restored one before it, and what is known of the
coding, to a picture nearer to what was coded.

It is the U-shaped net of `../enhance/nets.py` in fewer steps: half, quarter and eighth of the size.
The picture before comes as it is, not moved: what rests is then an average over time, and of what
moves the net takes nothing.  One net serves all encoders; the condition tells it what it may know,
and zeros what it may not.
"""

import os
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "enhance"))
from nets import Collapsible, act  # noqa: E402

# Of a sample: quantiser of 0 to 1 (CRF over its largest), 1 where it is known, log2 of the scale,
# 1 for AV1, -1 for H.265 and H.264, 0 for unknown.
CONDITION = 4
BASES = {"av1": 1.0, "h265": -1.0, "h264": -1.0, None: 0.0}


class Restore(nn.Module):
    """y [N,1,H,W] and uv [N,2,H/2,W/2] of 0 to 1, those of the picture before, condition [N,4];
    H and W multiples of 8."""

    def __init__(self, widths=(16, 32, 64), down=(0, 1, 4), up=(1, 1)):
        super().__init__()
        a, b, c = widths
        self.config = {"widths": list(widths), "down": list(down), "up": list(up)}
        self.head = Collapsible(12 + CONDITION, a, 3, wide=64)
        self.d1 = nn.ModuleList(Collapsible(a, a, 3) for _ in range(down[0]))
        self.to2 = Collapsible(a, b, 4, stride=2, pad=1)
        self.d2 = nn.ModuleList(Collapsible(b, b, 3) for _ in range(down[1]))
        self.to3 = Collapsible(b, c, 4, stride=2, pad=1)
        self.d3 = nn.ModuleList(Collapsible(c, c, 3) for _ in range(down[2]))
        self.from3 = Collapsible(c, b, 1)
        self.u2 = nn.ModuleList(Collapsible(b, b, 3) for _ in range(up[1]))
        self.from2 = Collapsible(b, a, 1)
        self.u1 = nn.ModuleList(Collapsible(a, a, 3) for _ in range(up[0]))
        self.tail = Collapsible(a, 6, 3, gain=0.02)

    def residual(self, planes, before, condition):
        """Six planes at half the size: four of luma, two of chroma."""
        known = condition[:, :, None, None].expand(-1, -1, *planes.shape[2:])
        s1 = act(self.head(torch.cat([planes, before, known], 1)))
        for layer in self.d1:
            s1 = act(layer(s1))
        s2 = act(self.to2(s1))
        for layer in self.d2:
            s2 = act(layer(s2))
        s3 = act(self.to3(s2))
        for layer in self.d3:
            s3 = act(layer(s3))
        x = s2 + F.interpolate(self.from3(s3), scale_factor=2, mode="nearest")
        for layer in self.u2:
            x = act(layer(x))
        x = s1 + F.interpolate(self.from2(x), scale_factor=2, mode="nearest")
        for layer in self.u1:
            x = act(layer(x))
        return self.tail(x).float()

    def forward(self, planes, before, condition):
        return planes + self.residual(planes, before, condition)


def planes(y, uv):
    return torch.cat([F.pixel_unshuffle(y, 2), uv], 1)
