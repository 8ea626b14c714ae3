# SPDX-License-Identifier: Apache-2.0
"""Trains, measures and exports the detector. Boxes come from detect_data.py.

    python detect.py train --minutes 18     # resumes runs/detect/last.pt
    python detect.py eval                    # AP on val/ against the teacher's boxes
    python detect.py export                  # models/enhance/detect.onnx, its sidecar and manifest entry

Nothing but boxes of train/ is trained on; val/ only measures.
"""

import argparse
import csv
import hashlib
import json
import os
import time

import cv2
import numpy as np
import torch

import detect_net
from detect_data import COCO, letterbox, nms

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = os.path.normpath(os.path.join(HERE, "..", "..", "enhance"))
RUN = os.path.join(HERE, "runs", "detect")
WIDTH, HEIGHT = 320, 192
SURE = 0.35
# The classes of which YOLOX-nano found 24 or more boxes of score 0.5 in train/.
CLASSES = "person bottle cup chair bird dining_table bed sports_ball tie kite airplane car".replace(" ", ",").replace("_", " ").split(",")


class Boxes:
    """Pictures with the teacher's boxes; classes that are not learned are left out."""

    def __init__(self, path):
        data = np.load(path)
        ends = np.cumsum(data["sizes"])
        self.jpegs = np.split(data["jpegs"], ends[:-1])
        self.names = data["names"]
        index = {COCO.index(name): i for i, name in enumerate(CLASSES)}
        boxes, owners = data["boxes"], data["owners"]
        self.rows = []
        self.kept = [None] * len(self.jpegs)
        for n in range(len(self.jpegs)):
            rows = boxes[owners == n]
            known = np.array([index.get(int(c), -1) for c in rows[:, 5]], np.float32)
            rows = rows.copy()
            # An object of another class is no background: it is kept as one nobody is sure of.
            rows[:, 4] = np.where(known < 0, 0.2, rows[:, 4]) if len(rows) else rows[:, 4]
            rows[:, 5] = np.maximum(known, 0) if len(rows) else rows[:, 5]
            self.rows.append(rows)

    def __len__(self):
        return len(self.jpegs)

    def picture(self, n):
        return cv2.imdecode(self.jpegs[n], cv2.IMREAD_COLOR), self.rows[n].copy()

    def small(self, n, side=448):
        """The same, shrunk and kept: decoding would cost as much as the net."""
        if self.kept[n] is None:
            bgr, rows = self.picture(n)
            scale = min(1.0, side / max(bgr.shape[:2]))
            if scale < 1:
                bgr = cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
                rows[:, :4] *= scale
            self.kept[n] = bgr, rows
        bgr, rows = self.kept[n]
        return bgr, rows.copy()


def place(bgr, rows, canvas, out, x0, y0, w, h, scale, chance):
    """Puts a picture into the window of a canvas, cut where it is larger."""
    if chance.random() < 0.5:
        bgr = bgr[:, ::-1]
        rows[:, [0, 2]] = bgr.shape[1] - rows[:, [2, 0]]
    ratio = np.exp(chance.uniform(-0.15, 0.15))
    sx, sy = scale * ratio, scale / ratio
    nw, nh = max(int(bgr.shape[1] * sx), 8), max(int(bgr.shape[0] * sy), 8)
    bgr = cv2.resize(bgr, (nw, nh), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    dx = int(chance.integers(min(0, w - nw), max(0, w - nw) + 1))
    dy = int(chance.integers(min(0, h - nh), max(0, h - nh) + 1))
    cx0, cy0, cx1, cy1 = max(dx, 0), max(dy, 0), min(dx + nw, w), min(dy + nh, h)
    canvas[y0 + cy0 : y0 + cy1, x0 + cx0 : x0 + cx1] = bgr[cy0 - dy : cy1 - dy, cx0 - dx : cx1 - dx]
    if len(rows):
        rows[:, [0, 2]] = rows[:, [0, 2]] * (nw / (nw / sx)) + dx
        rows[:, [1, 3]] = rows[:, [1, 3]] * (nh / (nh / sy)) + dy
        area = (rows[:, 2] - rows[:, 0]) * (rows[:, 3] - rows[:, 1])
        rows[:, [0, 2]] = rows[:, [0, 2]].clip(cx0, cx1)
        rows[:, [1, 3]] = rows[:, [1, 3]].clip(cy0, cy1)
        left = (rows[:, 2] - rows[:, 0]) * (rows[:, 3] - rows[:, 1]) / np.maximum(area, 1)
        # Little of it is left: nobody is sure.
        rows[:, 4] = np.where(left < 0.35, 0.2, rows[:, 4])
        rows = rows[(rows[:, 2] - rows[:, 0] > 3) & (rows[:, 3] - rows[:, 1] > 3)]
        rows[:, [0, 2]] += x0
        rows[:, [1, 3]] += y0
        out.append(rows)


def sample(boxes, weights, chance):
    canvas = np.full((HEIGHT, WIDTH, 3), 114, np.uint8)
    out = []
    picks = chance.choice(len(boxes), 4, p=weights)
    if chance.random() < 0.4:
        x = int(chance.uniform(0.3, 0.7) * WIDTH)
        y = int(chance.uniform(0.3, 0.7) * HEIGHT)
        for n, (x0, y0, w, h) in zip(picks, [(0, 0, x, y), (x, 0, WIDTH - x, y), (0, y, x, HEIGHT - y), (x, y, WIDTH - x, HEIGHT - y)]):
            bgr, rows = boxes.small(n)
            fit = min(w / bgr.shape[1], h / bgr.shape[0])
            place(bgr, rows, canvas, out, x0, y0, w, h, fit * np.exp(chance.uniform(-0.1, 0.7)), chance)
    else:
        bgr, rows = boxes.small(picks[0])
        fit = min(WIDTH / bgr.shape[1], HEIGHT / bgr.shape[0])
        place(bgr, rows, canvas, out, 0, 0, WIDTH, HEIGHT, fit * np.exp(chance.uniform(-0.5, 0.6)), chance)
    x = canvas[..., ::-1].astype(np.float32)
    gain = np.exp(chance.uniform(-0.25, 0.25)) * np.exp(chance.uniform(-0.08, 0.08, 3))
    x = (x * gain + chance.uniform(-15, 15)).clip(0, 255)
    if chance.random() < 0.1:
        x = np.repeat(x.mean(2, keepdims=True), 3, 2)
    rows = np.concatenate(out) if out else np.zeros((0, 6), np.float32)
    target = np.concatenate(
        [(rows[:, :2] + rows[:, 2:4]) / 2, rows[:, 2:4] - rows[:, :2], rows[:, 5:6], (rows[:, 4:5] > SURE)], 1
    )
    return torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1), np.float32)), torch.from_numpy(target.astype(np.float32))


def detect(net, bgr, floor=0.05):
    box, scale = letterbox(bgr, WIDTH, HEIGHT)
    x = torch.from_numpy(np.ascontiguousarray(box[..., ::-1].transpose(2, 0, 1)).astype(np.float32))[None]
    with torch.no_grad():
        out = net(x)[0]
    out = torch.cat([out[:, :2] - out[:, 2:4] / 2, out[:, :2] + out[:, 2:4] / 2, out[:, 4:5].sigmoid() * out[:, 5:].sigmoid()], 1).numpy()
    rows = nms(out[:, :4], out[:, 4:], 0.5, floor)
    rows[:, :4] /= scale
    return rows


def average_precision(found, truth, threshold):
    """All-point interpolated AP. `found`: (picture, score, box); `truth`: {picture: boxes}."""
    total = sum(len(b) for b in truth.values())
    if total == 0:
        return None
    used = {n: np.zeros(len(b), bool) for n, b in truth.items()}
    hits = []
    for n, _, box in sorted(found, key=lambda f: -f[1]):
        boxes = truth.get(n, np.zeros((0, 4)))
        lo, hi = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
        inter = np.clip(hi - lo, 0, None).prod(1)
        iou = inter / np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(1) + (box[2:] - box[:2]).prod() - inter, 1e-9)
        best = int(iou.argmax()) if len(iou) else -1
        hit = best >= 0 and iou[best] >= threshold and not used[n][best]
        if hit:
            used[n][best] = True
        hits.append(hit)
    hits = np.array(hits, float)
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    recall = np.cumsum(hits) / total
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(np.concatenate([[0], recall])) * precision)) if len(hits) else 0.0


def evaluate(net, boxes, every=1):
    """AP at IoU 0.5 and mean over 0.5 to 0.95, by class, against the teacher's boxes of 0.35 up."""
    net.eval()
    found, truth = {}, {}
    for n in range(0, len(boxes), every):
        bgr, rows = boxes.picture(n)
        for cls in range(len(CLASSES)):
            truth.setdefault(cls, {})[n] = rows[(rows[:, 5] == cls) & (rows[:, 4] > SURE), :4]
        for row in detect(net, bgr):
            found.setdefault(int(row[5]), []).append((n, row[4], row[:4]))
    table = {}
    for cls, name in enumerate(CLASSES):
        aps = [average_precision(found.get(cls, []), truth[cls], t) for t in np.arange(0.5, 0.96, 0.05)]
        if aps[0] is not None:
            count = sum(len(b) for b in truth[cls].values())
            table[name] = (count, aps[0], float(np.mean(aps)))
    return table


def show(table):
    for name, (count, ap50, ap) in table.items():
        print(f"  {name}: {count} boxes, AP50 {ap50:.3f}, AP50:95 {ap:.3f}")
    print(f"  mean of {len(table)} classes: AP50 {np.mean([r[1] for r in table.values()]):.3f}, AP50:95 {np.mean([r[2] for r in table.values()]):.3f}", flush=True)


def train(args):
    os.makedirs(RUN, exist_ok=True)
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    boxes, val = Boxes(os.path.join(RUN, "train.npz")), Boxes(os.path.join(RUN, "val.npz"))
    # Pictures with objects are seen more often, those of rare classes most.
    counts = np.zeros(len(CLASSES))
    for rows in boxes.rows:
        for c in rows[rows[:, 4] > SURE, 5]:
            counts[int(c)] += 1
    weights = np.array(
        [0.3 + sum(min(3.0, (300 / max(counts[int(c)], 1)) ** 0.5) for c in set(r[r[:, 4] > SURE, 5])) for r in boxes.rows]
    )
    weights /= weights.sum()
    print(f"{len(boxes)} pictures; boxes: " + ", ".join(f"{n} {int(c)}" for n, c in zip(CLASSES, counts)), flush=True)
    net = detect_net.Detector(len(CLASSES))
    average = detect_net.Detector(len(CLASSES))
    average.load_state_dict(net.state_dict())
    optimiser = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=5e-3)
    step, minutes, earlier = 0, 0.0, [0, 0]
    last = os.path.join(RUN, "last.pt")
    if os.path.exists(last):
        state = torch.load(last, weights_only=True)
        net.load_state_dict(state["net"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        step, minutes, earlier = state["step"], state["minutes"], state.get("earlier", [0, 0])
        print(f"resumed at step {step}")
    elif args.init:
        first = torch.load(args.init, weights_only=True)
        net.load_state_dict(first["net"])
        average.load_state_dict(first["net"])
        earlier = [first.get("step", 0), first.get("minutes", 0)]
    cells = detect_net.centres(WIDTH, HEIGHT)
    start = time.monotonic()
    spent = lambda: (time.monotonic() - start) / 60
    chance = np.random.default_rng(step + 1)
    running = []

    def save():
        state = {"net": net.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict(), "step": step, "minutes": minutes + spent(), "earlier": earlier, "classes": CLASSES}
        torch.save(state, last + ".tmp")
        os.replace(last + ".tmp", last)

    while spent() < args.minutes and step < args.total_steps:
        # Warm-up, then a cosine over the steps that are planned in all.
        done = min(step / args.total_steps, 1.0)
        # A float of Python: the checkpoint, which the optimiser is part of, is read as weights only.
        rate = float(2e-3 * min(1.0, (step + 1) / 200) * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * done))))
        for group in optimiser.param_groups:
            group["lr"] = rate
        net.train()
        xs, ts = zip(*[sample(boxes, weights, chance) for _ in range(args.batch)])
        out = net(torch.stack(xs))
        value = detect_net.loss(out, cells, ts)
        optimiser.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 10.0)
        optimiser.step()
        step += 1
        decay = min(0.998, step / (step + 20.0))
        with torch.no_grad():
            for a, b in zip(average.state_dict().values(), net.state_dict().values()):
                a.lerp_(b, 1 - decay) if a.dtype.is_floating_point else a.copy_(b)
        running.append(value.item())
        if step % 50 == 0:
            print(f"step {step} loss {np.mean(running[-50:]):.3f} rate {rate:.5f} {spent():.1f} min", flush=True)
        if step % 400 == 0:
            save()
            table = evaluate(average, val, 2)
            show(table)
            with open(os.path.join(MODELS, "detect.log.csv"), "a", newline="") as f:
                csv.writer(f).writerow([step, round(minutes + spent(), 1), round(float(np.mean(running[-200:])), 4), round(float(np.mean([r[1] for r in table.values()])), 4)])
    save()
    show(evaluate(average, val))


def load():
    state = torch.load(os.path.join(RUN, "last.pt"), weights_only=True)
    net = detect_net.Detector(len(state["classes"]))
    net.load_state_dict(state["average"])
    return net.eval(), state


class Decoded(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, images):
        out = self.net(images)
        return torch.cat([out[..., :4], out[..., 4:].sigmoid()], 2)


def export(args):
    net, state = load()
    path = os.path.join(MODELS, "detect.onnx")
    decoded = Decoded(net).eval()
    torch.onnx.export(
        decoded, torch.zeros(1, 3, HEIGHT, WIDTH), path, input_names=["images"], output_names=["output"], opset_version=17, dynamo=False
    )
    # With those of the run whose weights this one began with.
    steps, minutes = (a + b for a, b in zip((state["step"], state["minutes"]), state.get("earlier", (0, 0))))
    torch.save({"net": state["average"], "classes": state["classes"], "step": steps, "minutes": minutes}, os.path.join(MODELS, "detect.pt"))
    sidecar = {
        "family": "yolox",
        "decoded": True,
        "input": {"width": WIDTH, "height": HEIGHT, "color": "RGB", "mean": [0, 0, 0], "std": [1, 1, 1], "resize": "letterbox", "pad": 114},
        "threshold": 0.4,
        "nms_threshold": 0.5,
        "labels": state["classes"],
    }
    with open(os.path.join(MODELS, "detect.json"), "w") as f:
        json.dump(sidecar, f, indent=2)
        f.write("\n")
    import onnxruntime as ort

    x = np.random.default_rng(0).uniform(0, 255, (1, 3, HEIGHT, WIDTH)).astype(np.float32)
    ours = decoded(torch.from_numpy(x)).detach().numpy()
    theirs = ort.InferenceSession(path).run(None, {"images": x})[0]
    worst = np.abs(ours - theirs).max()
    print(f"largest difference between PyTorch and ONNX Runtime: {worst:.2e}")
    if worst > 0.05:
        raise SystemExit("the exported file says something else than the net")
    manifest = os.path.join(MODELS, "manifest.json")
    entries = json.load(open(manifest))
    entries["files"] = [e for e in entries["files"] if e["path"] != "detect.onnx"]
    entries["files"].append(
        {
            "path": "detect.onnx",
            "sha256": hashlib.sha256(open(path, "rb").read()).hexdigest(),
            "kind": "detect",
            "inputs": [{"name": "images", "type": "f32", "shape": [1, 3, HEIGHT, WIDTH]}],
            "outputs": [{"name": "output", "type": "f32", "shape": list(ours.shape)}],
            "licence": "Apache-2.0",
            "training": {"steps": steps, "minutes": round(minutes, 1), "data": "train/ of the project's data set, with boxes that YOLOX-nano (Apache-2.0) finds", "log": "detect.log.csv"},
        }
    )
    entries["files"].sort(key=lambda e: e["path"])
    with open(manifest, "w") as f:
        json.dump(entries, f, indent=2)
        f.write("\n")
    print(f"{path}: {os.path.getsize(path)} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    t = commands.add_parser("train")
    t.add_argument("--minutes", type=float, default=18, help="of this call")
    t.add_argument("--total-steps", type=int, default=3000, help="that the learning rate falls over")
    t.add_argument("--batch", type=int, default=16)
    t.add_argument("--threads", type=int, default=2)
    t.add_argument("--init", help="weights to begin with, such as models/enhance/detect.pt")
    commands.add_parser("eval")
    commands.add_parser("export")
    args = parser.parse_args()
    if args.command == "train":
        train(args)
    elif args.command == "eval":
        show(evaluate(load()[0], Boxes(os.path.join(RUN, "val.npz"))))
    else:
        export(args)


if __name__ == "__main__":
    main()
