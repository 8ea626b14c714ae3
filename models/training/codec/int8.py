# SPDX-License-Identifier: Apache-2.0
"""Simulates 8-bit integer arithmetic in training: values are rounded, gradients pass.

Within `with Int8():` every linear layer and convolution sees its input rounded to 8 bits with
one scale for the tensor, measured on it, and its weights with one scale an output channel:
what a dynamically quantised ONNX graph computes.
"""

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

LEVELS = 127


def rounded(x, dims):
    """x on a grid of 2 * LEVELS + 1 values, the grid's scale shared along dims; straight-through."""
    with torch.no_grad():
        scale = x.abs().amax(dims, keepdim=True).float().clamp(min=1e-8) / LEVELS
        change = (torch.round(x / scale) * scale - x).to(x.dtype)
    return x + change


class Int8(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (F.linear, F.conv2d, torch.conv2d):
            x, weight, *rest = args
            x = rounded(x, tuple(range(x.dim())))
            weight = rounded(weight, tuple(range(1, weight.dim())))
            args = (x, weight, *rest)
        return func(*args, **(kwargs or {}))
