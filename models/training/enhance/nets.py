# SPDX-License-Identifier: Apache-2.0
"""The nets of `aienhance`, written for what CPU kernels do fast.

Channels are multiples of 16 (blocked convolutions pad anything else up to
that), the picture is brought to half resolution by the first convolution
itself where speed counts most (a stride is free, a separate space-to-depth is
not), the activation is
one that the runtime fuses into the convolution, and there is no transposed
convolution.

Every 3x3 convolution is trained as a wide 3x3 followed by a 1x1 and a straight
path, all linear, and collapsed into one kernel before it is applied ("SESR",
arXiv 2103.09404, and RepVGG before it).  It costs nothing at run time and
trains noticeably better in few steps.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

SLOPE = 0.1


class Collapsible(nn.Module):
    """A convolution whose kernel is a product of two, plus an identity."""

    def __init__(self, cin, cout, k, stride=1, pad=None, wide=128, gain=1.0):
        super().__init__()
        self.stride, self.k = stride, k
        self.pad = k // 2 if pad is None else pad
        self.straight = cin == cout and k % 2 == 1 and stride == 1
        self.inner = nn.Parameter(torch.empty(wide, cin, k, k))
        self.outer = nn.Parameter(torch.empty(cout, wide))
        self.bias = nn.Parameter(torch.zeros(cout))
        nn.init.normal_(self.inner, std=(2.0 / (cin * k * k)) ** 0.5)
        nn.init.normal_(self.outer, std=gain * wide**-0.5 * (0.3 if self.straight else 1.0))

    def kernel(self):
        w = torch.einsum("om,mikl->oikl", self.outer, self.inner)
        if self.straight:
            eye = torch.zeros_like(w)
            c = self.k // 2
            idx = torch.arange(w.shape[0])
            eye[idx, idx, c, c] = 1.0
            w = w + eye
        return w

    def forward(self, x):
        with torch.autocast("cpu", enabled=False):
            w = self.kernel()
        return F.conv2d(x, w, self.bias, self.stride, self.pad)


def act(x):
    return F.leaky_relu(x, SLOPE)


def cubic(d, a=-0.5):
    d = abs(d)
    if d < 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    if d < 2:
        return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    return 0.0


def bicubic_base_kernel(fold):
    """Bicubic x2 of a block of fold x fold pixels: weights 1 -> (2 fold)^2, 6x6 with stride 2 or 5x5."""
    side, window = 2 * fold, 4 + fold
    w = torch.zeros(side * side, 1, window, window)
    for oy in range(side):
        for ox in range(side):
            cy, cx = (oy + 0.5) / 2 - 0.5, (ox + 0.5) / 2 - 0.5
            for ky in range(window):
                for kx in range(window):
                    w[oy * side + ox, 0, ky, kx] = cubic(ky - 2 - cy) * cubic(kx - 2 - cx)
    return w


class Upscale2(nn.Module):
    """Luma x2: 1 -> features of blocks of fold x fold pixels -> the (2 fold)^2 pixels that they become.

    A fold of 2 is four times as fast for as many features; 1 gets further (docs/decisions.md).
    """

    def __init__(self, features=32, middle=4, fold=2):
        super().__init__()
        self.config = {"features": features, "middle": middle, "fold": fold}
        self.fold = fold
        self.head = Collapsible(1, features, 4 + fold, stride=fold, pad=2)
        self.body = nn.ModuleList(Collapsible(features, features, 3) for _ in range(middle))
        self.tail = Collapsible(features, 4 * fold * fold, 3, gain=0.1)
        self.base = nn.Parameter(bicubic_base_kernel(fold))

    def forward(self, x):
        a = act(self.head(x))
        for layer in self.body:
            a = act(layer(a))
        with torch.autocast("cpu", enabled=False):
            base = F.conv2d(x.float(), self.base, None, self.fold, 2)
            return F.pixel_shuffle(self.tail(a.float()) + base, 2 * self.fold)


class Ensemble(nn.Module):
    """The mean of what a net makes of the eight ways to turn and mirror a picture (as in EDSR, arXiv 1707.02921)."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        total = 0
        for way in range(8):
            mirrored = [axis for axis in (2, 3) if way >> (axis - 2) & 1]
            turned = x.flip(mirrored).transpose(2, 3) if way & 4 else x.flip(mirrored)
            made = self.net(turned)
            total = total + (made.transpose(2, 3) if way & 4 else made).flip(mirrored)
        return total / 8


class Denoise(nn.Module):
    """Luma and chroma together: two or three scales, the noise level as an input.

    y [N,1,H,W], uv [N,2,H/2,W/2] and sigma [N,2] (luma, chroma) on a 0..1
    scale; H and W multiples of 8.
    """

    def __init__(self, widths=(16, 32, 64), down=(0, 1, 4), up=(1, 1), window=4):
        """`window`: side of the layers that halve the size, 2 or 4."""
        super().__init__()
        a, b, c = (*widths, 0)[:3]
        self.config = {"widths": list(widths), "down": list(down), "up": list(up), "window": window}
        self.head_y = Collapsible(1, a, 6, stride=2, pad=2, wide=64)
        self.head_c = Collapsible(4, a, 3, wide=64)
        self.d1 = nn.ModuleList(Collapsible(a, a, 3) for _ in range(down[0]))
        self.to2 = Collapsible(a, b, window, stride=2, pad=window // 2 - 1)
        self.d2 = nn.ModuleList(Collapsible(b, b, 3) for _ in range(down[1]))
        if c:
            self.to3 = Collapsible(b, c, window, stride=2, pad=window // 2 - 1)
            self.d3 = nn.ModuleList(Collapsible(c, c, 3) for _ in range(down[2]))
            self.from3 = Collapsible(c, b, 1)
        self.u2 = nn.ModuleList(Collapsible(b, b, 3) for _ in range(up[1]))
        self.from2 = Collapsible(b, a, 1)
        self.u1 = nn.ModuleList(Collapsible(a, a, 3) for _ in range(up[0]))
        self.tail = Collapsible(a, 6, 3, gain=0.1)

    def forward(self, y, uv, sigma):
        level = sigma[:, :, None, None].expand(-1, -1, uv.shape[2], uv.shape[3])
        s1 = act(self.head_y(y) + self.head_c(torch.cat([uv, level], 1)))
        for layer in self.d1:
            s1 = act(layer(s1))
        s2 = act(self.to2(s1))
        for layer in self.d2:
            s2 = act(layer(s2))
        x = s2
        if len(self.config["widths"]) > 2:
            s3 = act(self.to3(s2))
            for layer in self.d3:
                s3 = act(layer(s3))
            x = s2 + F.interpolate(self.from3(s3), scale_factor=2, mode="nearest")
        for layer in self.u2:
            x = act(layer(x))
        x = s1 + F.interpolate(self.from2(x), scale_factor=2, mode="nearest")
        for layer in self.u1:
            x = act(layer(x))
        with torch.autocast("cpu", enabled=False):
            r = self.tail(x.float())
        return y + F.pixel_shuffle(r[:, :4], 2), uv + r[:, 4:]


def make(task, **config):
    return {"upscale": Upscale2, "denoise": Denoise}[task](**config)
