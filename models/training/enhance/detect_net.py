# SPDX-License-Identifier: Apache-2.0
"""The detector: a small one-stage, anchor-free net, and its loss.

Strided 3x3 convolutions with residual blocks down to 1/32, one top-down pass, and one head shared
by the three strides. The head is YOLOX's (centre offset and log size, objectness, classes), so one
decoder serves both; the assignment is YOLOX's as well (cells near the centre, the best k by cost).
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

STRIDES = (8, 16, 32)


class Conv(nn.Sequential):
    def __init__(self, cin, cout, kernel=3, stride=1):
        super().__init__(
            nn.Conv2d(cin, cout, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(cout, eps=1e-3, momentum=0.03),
            nn.LeakyReLU(0.1, inplace=True),
        )


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.body = nn.Sequential(Conv(channels, channels // 2, 1), Conv(channels // 2, channels))

    def forward(self, x):
        return x + self.body(x)


class Detector(nn.Module):
    def __init__(self, classes, widths=(16, 24, 48, 96, 128), neck=48):
        super().__init__()
        a, b, c, d, e = widths
        self.classes = classes
        self.stem = nn.Sequential(Conv(3, a, 3, 2), Conv(a, b, 3, 2), Block(b))
        self.s8 = nn.Sequential(Conv(b, c, 3, 2), Block(c), Block(c))
        self.s16 = nn.Sequential(Conv(c, d, 3, 2), Block(d), Block(d))
        self.s32 = nn.Sequential(Conv(d, e, 3, 2), Block(e), Block(e))
        self.side = nn.ModuleList([Conv(c, neck, 1), Conv(d, neck, 1), Conv(e, neck, 1)])
        self.mix = nn.ModuleList([Conv(neck, neck), Conv(neck, neck), Conv(neck, neck)])
        self.tower = Conv(neck, neck)
        self.box = nn.Conv2d(neck, 5, 1)
        self.cls = nn.Conv2d(neck, classes, 1)
        nn.init.constant_(self.box.bias[4:], -4.0)
        nn.init.constant_(self.cls.bias, -2.0)

    def forward(self, x):
        """RGB in 0..255 to [N, cells, 5+classes]: x, y, w, h in pixels and logits."""
        x = self.stem((x - 114.0) / 58.0)
        x8 = self.s8(x)
        x16 = self.s16(x8)
        x32 = self.s32(x16)
        p32 = self.mix[2](self.side[2](x32))
        p16 = self.mix[1](self.side[1](x16) + F.interpolate(p32, scale_factor=2.0, mode="nearest"))
        p8 = self.mix[0](self.side[0](x8) + F.interpolate(p16, scale_factor=2.0, mode="nearest"))
        out = []
        for stride, level in zip(STRIDES, (p8, p16, p32)):
            t = self.tower(level)
            box, cls = self.box(t), self.cls(t)
            h, w = level.shape[2:]
            grid = torch.stack(
                [torch.arange(w).view(1, w).expand(h, w), torch.arange(h).view(h, 1).expand(h, w)]
            ).to(box)[None]
            centre = (box[:, :2] + grid + 0.5) * stride
            size = box[:, 2:4].clamp(max=6.0).exp() * stride
            out.append(torch.cat([centre, size, box[:, 4:5], cls], 1).flatten(2))
        return torch.cat(out, 2).transpose(1, 2)


def centres(width, height):
    """Centre and stride of every cell: [cells, 3]."""
    rows = []
    for stride in STRIDES:
        ys, xs = torch.meshgrid(torch.arange(height // stride), torch.arange(width // stride), indexing="ij")
        xy = (torch.stack([xs, ys], -1).reshape(-1, 2).float() + 0.5) * stride
        rows.append(torch.cat([xy, torch.full((xy.shape[0], 1), float(stride))], 1))
    return torch.cat(rows)


def pairwise_iou(a, b):
    """[n,4] and [m,4] as x, y, w, h."""
    alo, ahi = a[:, None, :2] - a[:, None, 2:] / 2, a[:, None, :2] + a[:, None, 2:] / 2
    blo, bhi = b[None, :, :2] - b[None, :, 2:] / 2, b[None, :, :2] + b[None, :, 2:] / 2
    inter = (torch.minimum(ahi, bhi) - torch.maximum(alo, blo)).clamp(0).prod(2)
    return inter / (a[:, None, 2:].prod(2) + b[None, :, 2:].prod(2) - inter + 1e-9)


def giou(a, b):
    """Row by row."""
    alo, ahi, blo, bhi = a[:, :2] - a[:, 2:] / 2, a[:, :2] + a[:, 2:] / 2, b[:, :2] - b[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2
    inter = (torch.minimum(ahi, bhi) - torch.maximum(alo, blo)).clamp(0).prod(1)
    union = a[:, 2:].prod(1) + b[:, 2:].prod(1) - inter
    hull = (torch.maximum(ahi, bhi) - torch.minimum(alo, blo)).prod(1)
    return inter / (union + 1e-9) - (hull - union) / (hull + 1e-9)


@torch.no_grad()
def assign(out, cells, boxes, labels):
    """For one picture: cells that answer for a box, which box, and the IoU."""
    delta = (cells[:, None, :2] - boxes[None, :, :2]).abs()
    near = (delta <= 2.5 * cells[:, None, 2:]).all(2)
    inside = (delta <= boxes[None, :, 2:] / 2).all(2)
    candidates = (near & inside).any(1) | near.any(1)
    index = candidates.nonzero().squeeze(1)
    if index.numel() == 0:
        return index, index, out.new_zeros(0)
    iou = pairwise_iou(out[index, :4], boxes)
    score = (out[index, 5:].sigmoid() * out[index, 4:5].sigmoid()).sqrt()
    target = F.one_hot(labels, out.shape[1] - 5).float()
    cost = F.binary_cross_entropy(
        score[:, None].expand(-1, len(boxes), -1).clamp(1e-6, 1 - 1e-6),
        target[None].expand(len(index), -1, -1),
        reduction="none",
    ).sum(2)
    cost = cost - 3.0 * torch.log(iou + 1e-8) + 1e5 * (~(near & inside)[index]).float()
    taken = torch.zeros_like(cost, dtype=torch.bool)
    ks = iou.topk(min(10, len(index)), 0).values.sum(0).int().clamp(min=1)
    for j, k in enumerate(ks.tolist()):
        taken[cost[:, j].topk(min(k, len(index)), largest=False).indices, j] = True
    several = taken.sum(1) > 1
    if several.any():
        best = cost[several].argmin(1)
        taken[several] = False
        taken[several.nonzero().squeeze(1), best] = True
    rows, which = taken.nonzero(as_tuple=True)
    return index[rows], which, iou[rows, which]


def loss(out, cells, targets):
    """`targets`: for each picture [n, 6] of x, y, w, h, class, sure (1) or not (0)."""
    box_loss = obj_loss = cls_loss = 0.0
    count = 0
    for row, target in zip(out, targets):
        sure, vague = target[target[:, 5] > 0.5], target[target[:, 5] <= 0.5]
        objectness = torch.zeros(len(cells))
        weight = torch.ones(len(cells))
        if len(vague):
            # The teacher is not sure there: neither object nor background.
            delta = (cells[:, None, :2] - vague[None, :, :2]).abs()
            weight[(delta <= vague[None, :, 2:4] / 2).all(2).any(1)] = 0.0
        if len(sure):
            index, which, iou = assign(row, cells, sure[:, :4], sure[:, 4].long())
            if len(index):
                objectness[index] = 1.0
                weight[index] = 1.0
                box_loss = box_loss + (1 - giou(row[index, :4], sure[which, :4])).sum()
                goal = F.one_hot(sure[which, 4].long(), row.shape[1] - 5) * iou[:, None]
                cls_loss = cls_loss + F.binary_cross_entropy_with_logits(row[index, 5:], goal, reduction="sum")
                count += len(index)
        obj_loss = obj_loss + (F.binary_cross_entropy_with_logits(row[:, 4], objectness, reduction="none") * weight).sum()
    return (5 * box_loss + obj_loss + cls_loss) / max(count, 1)
