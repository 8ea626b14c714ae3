# SPDX-License-Identifier: Apache-2.0
"""Boxes for the detector: what YOLOX-nano finds on frames and photos.

    python detect_data.py --teacher yolox_nano.onnx --data DIR/train --out runs/detect/train.npz
    python detect_data.py --teacher yolox_nano.onnx --data DIR/val   --out runs/detect/val.npz

A picture is kept as a JPEG of at most 640 pixels a side, with the boxes (x0, y0, x1, y1 in
pixels of that JPEG), scores and COCO class numbers of the teacher down to a score of 0.1.
Clips give every `--every`-th frame. Photos and every fourth of those frames also give two random
crops each, with boxes found on the crop, so that objects come in more than one size.
"""

import argparse
import glob
import os

import cv2
import numpy as np
import onnxruntime as ort

COCO = (
    "person bicycle car motorcycle airplane bus train truck boat traffic_light fire_hydrant stop_sign "
    "parking_meter bench bird cat dog horse sheep cow elephant bear zebra giraffe backpack umbrella handbag "
    "tie suitcase frisbee skis snowboard sports_ball kite baseball_bat baseball_glove skateboard surfboard "
    "tennis_racket bottle wine_glass cup fork knife spoon bowl banana apple sandwich orange broccoli carrot "
    "hot_dog pizza donut cake chair couch potted_plant bed dining_table toilet tv laptop mouse remote keyboard "
    "cell_phone microwave oven toaster sink refrigerator book clock vase scissors teddy_bear hair_drier toothbrush"
)
COCO = [name.replace("_", " ") for name in COCO.split()]


def letterbox(bgr, width, height, pad=114):
    """The picture at the top left, scaled evenly; and the scale."""
    scale = min(width / bgr.shape[1], height / bgr.shape[0])
    w, h = int(bgr.shape[1] * scale), int(bgr.shape[0] * scale)
    out = np.full((height, width, 3), pad, np.uint8)
    out[:h, :w] = cv2.resize(bgr, (w, h), interpolation=cv2.INTER_LINEAR)
    return out, scale


def decode_yolox(raw, width, height, strides=(8, 16, 32)):
    """[N,5+C] of the raw head to boxes (x0, y0, x1, y1) and scores [N,C]."""
    grids, steps = [], []
    for stride in strides:
        ys, xs = np.mgrid[: height // stride, : width // stride]
        grids.append(np.stack([xs, ys], 2).reshape(-1, 2))
        steps.append(np.full((grids[-1].shape[0], 1), stride))
    grid, step = np.concatenate(grids), np.concatenate(steps)
    centre = (raw[:, :2] + grid) * step
    size = np.exp(raw[:, 2:4]) * step
    boxes = np.concatenate([centre - size / 2, centre + size / 2], 1)
    return boxes, raw[:, 4:5] * raw[:, 5:]


def iou_of(box, boxes):
    lo, hi = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    inter = np.prod(np.clip(hi - lo, 0, None), 1)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], 1)
    return inter / np.maximum(np.prod(box[2:] - box[:2]) + area - inter, 1e-9)


def nms(boxes, scores, threshold=0.45, floor=0.1):
    """Per class. Rows [x0, y0, x1, y1, score, class], best first."""
    label = scores.argmax(1)
    best = scores.max(1)
    keep = []
    for cls in np.unique(label[best > floor]):
        index = np.flatnonzero((label == cls) & (best > floor))
        index = index[np.argsort(-best[index], kind="stable")]
        while index.size:
            keep.append(index[0])
            index = index[1:][iou_of(boxes[index[0]], boxes[index[1:]]) <= threshold]
    keep = np.array(sorted(keep, key=lambda i: -best[i]), dtype=int)
    return np.concatenate([boxes[keep], best[keep, None], label[keep, None]], 1) if keep.size else np.zeros((0, 6))


class Teacher:
    def __init__(self, path, threads=1):
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0]
        self.height, self.width = self.input.shape[2:]

    def __call__(self, bgr, floor=0.1):
        box, scale = letterbox(bgr, self.width, self.height)
        raw = self.session.run(None, {self.input.name: box.transpose(2, 0, 1)[None].astype(np.float32)})[0][0]
        boxes, scores = decode_yolox(raw, self.width, self.height)
        rows = nms(boxes, scores, floor=floor)
        rows[:, :4] /= scale
        rows[:, [0, 2]] = rows[:, [0, 2]].clip(0, bgr.shape[1])
        rows[:, [1, 3]] = rows[:, [1, 3]].clip(0, bgr.shape[0])
        return rows


def shrink(bgr, side=640):
    scale = side / max(bgr.shape[:2])
    return bgr if scale >= 1 else cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def pictures(root, every, photos_only=False):
    """(name, picture) of photos and of every `every`-th frame of clips."""
    for path in sorted(glob.glob(os.path.join(root, "images", "*"))):
        bgr = cv2.imread(path)
        if bgr is not None:
            yield os.path.basename(path), bgr
    for path in [] if photos_only else sorted(glob.glob(os.path.join(root, "video", "*"))):
        clip = cv2.VideoCapture(path)
        index = 0
        while clip.grab():
            if index % every == 0:
                ok, bgr = clip.retrieve()
                if ok:
                    yield f"{os.path.basename(path)}#{index}", bgr
            index += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", required=True, help="YOLOX-nano as ONNX")
    parser.add_argument("--data", required=True, help="folder with video/ and images/")
    parser.add_argument("--out", required=True)
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--no-crops", action="store_true")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    teacher, chance = Teacher(args.teacher), np.random.default_rng(1)
    names, jpegs, owners, boxes = [], [], [], []

    def add(name, bgr):
        bgr = shrink(bgr)
        rows = teacher(bgr)
        ok, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 92])
        if ok:
            owners.append(np.full(len(rows), len(names)))
            names.append(name)
            jpegs.append(jpeg)
            boxes.append(rows)

    for count, (name, bgr) in enumerate(pictures(args.data, args.every)):
        add(name, bgr)
        photo = "#" not in name
        if not args.no_crops and (photo or count % 4 == 0):
            for k in range(6 if photo else 2):
                part = chance.uniform(0.35, 0.8)
                h, w = int(bgr.shape[0] * part), int(bgr.shape[1] * part)
                y, x = chance.integers(0, bgr.shape[0] - h + 1), chance.integers(0, bgr.shape[1] - w + 1)
                add(f"{name}/{k}", bgr[y : y + h, x : x + w])
        if count % 200 == 0:
            print(f"{count}: {len(names)} pictures, {sum(len(b) for b in boxes)} boxes", flush=True)

    os.makedirs(os.path.dirname(args.out) or ".", exist_ok=True)
    sizes = np.array([len(j) for j in jpegs])
    np.savez(
        args.out,
        names=np.array(names),
        jpegs=np.concatenate(jpegs).ravel(),
        sizes=sizes,
        owners=np.concatenate(owners),
        boxes=np.concatenate(boxes).astype(np.float32),
    )
    rows = np.concatenate(boxes)
    for floor in (0.3, 0.5):
        found = np.bincount(rows[rows[:, 4] > floor, 5].astype(int), minlength=len(COCO))
        order = [i for i in np.argsort(-found) if found[i]]
        print(f"score > {floor}: " + ", ".join(f"{COCO[i]} {found[i]}" for i in order))


if __name__ == "__main__":
    main()
