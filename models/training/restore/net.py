# SPDX-License-Identifier: Apache-2.0
"""The restoration net: a decoded picture, the restored one before it, and what is known of the
coding, to a picture nearer to what was coded.

Residual blocks at half the size: nets with coarser levels in them learnt several times slower here
and came no further (docs/decisions.md).  The picture before comes as it is, not moved: what rests is
then an average over time, and of what moves the net takes nothing.  One net serves all encoders; the
condition tells it what it may know, and zeros what it may not.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

SLOPE = 0.1  # of the leaky rectifier, as in the enhancement nets, whose exporter writes this one too
# What training starts from decides how fast it goes: faults of a hundredth of the range stand beside
# brightness a hundred times as large.  So the first kernels sum to zero and amplify, and the last ones
# attenuate.
AMPLIFY = 10.0
ATTENUATE = 0.02

# Of a sample: quantiser of 0 to 1 (CRF over its largest), 1 where it is known, log2 of the scale,
# 1 for AV1, -1 for H.265 and H.264, 0 for unknown.
CONDITION = 4
BASES = {"av1": 1.0, "h265": -1.0, "h264": -1.0, None: 0.0}


class Conv(nn.Module):
    """A 3x3 convolution, as the exporter wants it."""

    k, stride, pad = 3, 1, 1

    def __init__(self, cin, cout, scale=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(cout, cin, 3, 3))
        self.bias = nn.Parameter(torch.zeros(cout))
        nn.init.kaiming_normal_(self.weight, a=SLOPE)
        self.weight.data.mul_(scale)

    def kernel(self):
        return self.weight

    def forward(self, x):
        return F.conv2d(x, self.weight, self.bias, padding=1)


class Head(Conv):
    """Sees planes, what changed in them, and the condition, all on the scale of bytes: bfloat16
    holds those exactly."""

    def __init__(self, cout):
        super().__init__(12 + CONDITION, cout)
        with torch.no_grad():
            pictures = self.weight[:, :12]
            pictures -= pictures.mean((2, 3), keepdim=True)
            pictures *= AMPLIFY
            self.weight[:, 12:] *= 0.3

    def forward(self, planes, before, condition):
        known = condition[:, :, None, None].expand(-1, -1, *planes.shape[2:])
        x = torch.cat([planes, before - planes, known], 1) * 255
        return F.conv2d(x, self.weight / 255, self.bias, padding=1)

    def kernel(self):
        """For planes and the planes before, as the graph gets them."""
        now, change, known = self.weight.split([6, 6, CONDITION], 1)
        return torch.cat([now - change, change, known], 1)


def act(x):
    return F.leaky_relu(x, SLOPE)


class Restore(nn.Module):
    """y [N,1,H,W] and uv [N,2,H/2,W/2] of 0 to 1, those of the picture before, condition [N,4];
    H and W even."""

    def __init__(self, width=16, blocks=4):
        super().__init__()
        self.config = {"width": width, "blocks": blocks}
        self.head = Head(width)
        self.blocks = nn.ModuleList(Conv(width, width, 0.5) for _ in range(blocks))
        self.tail = Conv(width, 6, 0.3)

    def residual(self, planes, before, condition):
        """Six planes at half the size: four of luma, two of chroma."""
        x = act(self.head(planes, before, condition))
        for block in self.blocks:
            x = x + act(block(x))
        return self.tail(x).float() * ATTENUATE

    def forward(self, planes, before, condition):
        return planes + self.residual(planes, before, condition)


def planes(y, uv):
    return torch.cat([F.pixel_unshuffle(y, 2), uv], 1)
