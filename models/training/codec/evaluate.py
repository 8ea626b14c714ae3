# SPDX-License-Identifier: Apache-2.0
"""Rate and distortion of the exported files on validation clips, beside x265.

    python evaluate.py --data ../../../../shared/data/val --model ../../codec --json runs/eval.json

Bits: the exact cost under the static integer tables (contexts and escapes
included), an estimate for vectors and skip flags, and the bytes of headers.
Real files are measured by the project's bench; this is for choosing models.
Anchors need ffmpeg with libx265 (`pip install onnxruntime imageio-ffmpeg`).
"""

import argparse
import json
import os
import subprocess
import tempfile

import cv2
import numpy as np
import torch

import data
import export
import model as codec
from motion import BLOCK, Search, Warp, vector_bits

FRAMES, WIDTH, GOP = 48, 640, 30
ANCHORS = {
    "x265 ultrafast zerolatency, GOP 30": ["-preset", "ultrafast", "-tune", "zerolatency", "-x265-params", "keyint=30:min-keyint=30:scenecut=0:log-level=none"],
    "x265 medium": ["-preset", "medium", "-x265-params", "log-level=none"],
}
CRFS = (20, 25, 30, 35, 40)
HEADER_BITS, TILE_BITS = 8 * 16, 8 * 12


def read(path, frames=FRAMES):
    cap = cv2.VideoCapture(path)
    ys, uvs = [], []
    while len(ys) < frames:
        ok, f = cap.read()
        if not ok:
            break
        h, w = f.shape[:2]
        s = min(1.0, WIDTH / max(h, w))
        tw, th = int(w * s) // BLOCK * BLOCK, int(h * s) // 8 * 8
        f = cv2.resize(f, (tw, th), interpolation=cv2.INTER_AREA)
        i420 = cv2.cvtColor(f, cv2.COLOR_BGR2YUV_I420)
        ys.append(i420[:th])
        uvs.append(i420[th:].reshape(2, th // 2, tw // 2))
    return np.stack(ys), np.stack(uvs)


def anchor(ffmpeg, y, uv, crf, options):
    n, h, w = y.shape
    raw = b"".join(y[i].tobytes() + uv[i].tobytes() for i in range(n))
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, "a.265")
        form = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{w}x{h}", "-r", "25"]
        quiet = [ffmpeg, "-v", "error", "-y", "-threads", "1"]
        subprocess.run(quiet + form + ["-i", "-", "-c:v", "libx265", *options, "-crf", str(crf), path], input=raw, check=True)
        out = subprocess.run(quiet + ["-i", path, "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"], check=True, capture_output=True).stdout
        size = os.path.getsize(path)
    got = np.frombuffer(out, np.uint8).reshape(n, -1)[:, : h * w].reshape(n, h, w)
    mse = ((got.astype(np.float32) - y) ** 2).mean((1, 2))
    return {"crf": crf, "bpp": size * 8 / (n * h * w), "psnr": float(np.mean(10 * np.log10(65025 / np.maximum(mse, 1e-3))))}


class TableCost:
    def __init__(self, tier, z, y):
        total = float(1 << export.PROB_BITS)
        self.z = torch.from_numpy(-np.log2(z.astype(np.float64) / total)).float()
        self.y = torch.from_numpy(-np.log2(y.astype(np.float64) / total)).float()
        self.tier = tier

    def bits(self, z, sym, skip, last, q):
        """Bits of y and of z, and how many symbols were coded. Arrays as the graph gives them."""
        z, sym, skip = (torch.from_numpy(v.astype(np.int64)).permute(0, 2, 3, 1) for v in (z, sym, skip))
        last = None if last is None else torch.from_numpy(last.astype(np.int64)).permute(0, 2, 3, 1)
        idx = z[..., : self.tier.y // 4].abs()
        idx = idx.repeat_interleave(4, 1).repeat_interleave(4, 2).repeat_interleave(4, 3)
        coded = (idx > 0) & (skip == 0)
        ctx = codec.contexts(sym.float(), None if last is None else last.float(), 8)
        ctx = ctx + codec.CTX * codec.activity_levels(sym.float())
        top = (self.y.shape[-1] - 2) // 2
        beyond = (sym.abs() - top - 1).clamp(min=0)
        escape = sym.abs() > top
        cost = self.y[(idx - 1).clamp(min=0), ctx, torch.where(escape, top + 1, sym) + top]
        cost = cost + escape * (2 + 2 * torch.floor(torch.log2(beyond.float() + 1)))
        zi = (z + codec.Z_MAX).reshape(-1, z.shape[-1])
        zc = self.z[int(q) // codec.GROUPS][torch.arange(z.shape[-1])[None], zi]
        return float((cost * coded).sum()), float(zc.sum()), int(coded.sum())


def skip_bits(skip):
    """Adaptive binary coding of skip flags by two neighbours, as empirical entropy."""
    s = skip.astype(int)
    pad = np.pad(s, ((1, 0), (1, 0)))
    ctx = pad[1:, :-1] + pad[:-1, 1:]
    bits = 0.0
    for c in range(3):
        v = s[ctx == c]
        if len(v):
            p = (v.sum() + 0.4) / (len(v) + 0.8)
            bits += -(v.sum() * np.log2(p) + (len(v) - v.sum()) * np.log2(1 - p)) + 1.5
    return bits


class Model:
    """The shipped files: the encoder graph in ONNX Runtime and the tables."""

    def __init__(self, folder, tier="s"):
        import onnxruntime as ort

        o = ort.SessionOptions()
        o.intra_op_num_threads = 1
        self.session = ort.InferenceSession(os.path.join(folder, f"{tier}-encode.onnx"), o, providers=["CPUExecutionProvider"])
        self.props = self.session.get_modelmeta().custom_metadata_map
        self.tier = codec.TIERS[self.props["aicodec.tier"]]
        with open(os.path.join(folder, f"{tier}-tables.bin"), "rb") as f:
            self.cost = TableCost(self.tier, *export.read_tables(f.read()))


def ours(model, y, uv, quality, cycle=(0,), key_boost=6, skip_scale=1.0, dump=None):
    n, h, w = y.shape
    ph, pw = -h % 64, -w % 64
    y = np.pad(y, ((0, 0), (0, ph), (0, pw)), mode="edge")
    uv = np.pad(uv, ((0, 0), (0, 0), (0, ph // 2), (0, pw // 2)), mode="edge")
    gh, gw = h + ph, w + pw
    warp = Warp()
    rec = state = last = None
    parts = {"y": 0.0, "z": 0.0, "motion": 0.0, "header": 0.0}
    psnrs, key_bits, skipped, coded = [], 0.0, 0.0, 0
    for t in range(n):
        key = t % GOP == 0
        q = min(63, quality + key_boost) if key else max(0, min(63, quality + cycle[t % GOP % len(cycle)]))
        skip = np.zeros((1, 1, gh // BLOCK, gw // BLOCK), np.uint8)
        if key:
            py, puv = np.full((1, 1, gh, gw), 128, np.uint8), np.full((1, 2, gh // 2, gw // 2), 128, np.uint8)
            state = np.zeros((1, model.tier.m, gh // 8, gw // 8), np.int8)
            last = None
        else:
            field = Search(penalty=codec.start_step(q) / 3.0)(y[t], rec[0][0, 0])
            with torch.no_grad():
                mv = torch.from_numpy(field.astype(np.int64))[None]
                py, puv = (v.numpy().astype(np.uint8) for v in warp(torch.from_numpy(rec[0]), torch.from_numpy(rec[1]), mv))
            parts["motion"] += vector_bits(field)
            sad = np.abs(y[t].astype(np.int16) - py[0, 0]).reshape(gh // BLOCK, BLOCK, gw // BLOCK, BLOCK).mean((1, 3))
            skip[0, 0] = sad < export.SKIP * skip_scale * codec.start_step(q)
            parts["motion"] += skip_bits(skip[0, 0])
            skipped += skip.mean()
        feed = {"y": y[t][None, None], "uv": uv[t][None], "pred_y": py, "pred_uv": puv, "state": state}
        feed.update(quality=np.array([q], np.int64), skip=skip)
        z, sym, ry, ruv, state = model.session.run(["z", "sym", "rec_y", "rec_uv", "new_state"], feed)
        big = skip.repeat(BLOCK, 2).repeat(BLOCK, 3)
        rec = (np.where(big, py, ry), np.where(big[..., ::2, ::2], puv, ruv))
        by, bz, some = model.cost.bits(z, sym, skip, last, q)
        last = sym
        coded += some
        parts["y"] += by
        parts["z"] += bz
        parts["header"] += HEADER_BITS + TILE_BITS * ((gh + 127) // 128)
        if key:
            key_bits += by + bz
        got = rec[0][0, 0, :h, :w]
        mse = ((got.astype(np.float32) - y[t, :h, :w]) ** 2).mean()
        psnrs.append(10 * np.log10(65025 / max(mse, 1e-3)))
        if dump and t in (0, 1, 8, 29, 47):
            cv2.imwrite(f"{dump}-q{quality}-{t:02d}.png", np.concatenate([y[t, :h, :w], got], 1))
    total = float(sum(parts.values()))
    return {
        "q": quality,
        "bpp": round(total / (n * h * w), 5),
        "psnr": round(float(np.mean(psnrs)), 3),
        "share": {k: round(float(v) / total, 3) for k, v in parts.items()},
        "key_share": round(float(key_bits) / total, 3),
        "skipped": round(float(skipped) / n, 3),
        "coded_per_px": round(coded / (n * h * w), 4),
        "key_psnr": round(float(psnrs[0]), 2),
        "last_psnr": round(float(psnrs[min(n, GOP) - 1]), 2),
    }


def pchip(x, y, at):
    """Monotone cubic interpolation (Fritsch-Carlson)."""
    h, d = np.diff(x), np.diff(y) / np.diff(x)
    m = np.zeros_like(y)
    m[0], m[-1] = d[0], d[-1]
    for i in range(1, len(y) - 1):
        if d[i - 1] * d[i] > 0:
            w1, w2 = 2 * h[i] + h[i - 1], h[i] + 2 * h[i - 1]
            m[i] = (w1 + w2) / (w1 / d[i - 1] + w2 / d[i])
    k = np.clip(np.searchsorted(x, at) - 1, 0, len(h) - 1)
    t = (at - x[k]) / h[k]
    return (
        y[k] * (1 + 2 * t) * (1 - t) ** 2 + m[k] * h[k] * t * (1 - t) ** 2 + y[k + 1] * t * t * (3 - 2 * t) + m[k + 1] * h[k] * t * t * (t - 1)
    )


def bd_rate(ref, test):
    """Mean change of rate in percent at equal PSNR, over the shared range; None if it is under 1 dB."""

    def curve(points):
        best = []
        for p in sorted(points, key=lambda p: p["psnr"]):
            while best and best[-1]["bpp"] >= p["bpp"]:
                best.pop()
            best.append(p)
        return np.array([p["psnr"] for p in best]), np.log(np.array([p["bpp"] for p in best]))

    (xa, ya), (xb, yb) = curve(ref), curve(test)
    if len(xa) < 3 or len(xb) < 3:
        return None
    low, high = max(xa[0], xb[0]), min(xa[-1], xb[-1])
    if high - low < 1.0:
        return None
    at = np.linspace(low, high, 200)
    return float((np.exp((pchip(xb, yb, at) - pchip(xa, ya, at)).mean()) - 1) * 100)


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", default=os.path.join(here, "..", "..", "codec"), help="folder of the exported files")
    parser.add_argument("--cache", default=os.path.join(here, "..", ".cache", "codec"), help="where anchors are kept")
    parser.add_argument("--clips", help="comma separated parts of names")
    parser.add_argument("--qualities", default="2,17,32,47,62")
    parser.add_argument("--cycle", default="0")
    parser.add_argument("--key-boost", type=int, default=6)
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--skip-scale", type=float, default=1.0, help="against the default threshold of copied blocks; 0: none")
    parser.add_argument("--dump", help="folder for PNGs")
    parser.add_argument("--json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    model = Model(args.model)
    import imageio_ffmpeg

    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    clips = data.find_files(args.data, data.VIDEO)
    if args.clips:
        clips = [c for c in clips if any(k in c for k in args.clips.split(","))]
    kept = os.path.join(args.cache, "anchors.json")
    anchors = json.load(open(kept)) if os.path.exists(kept) else {}
    report = {"steps": int(model.props["aicodec.steps"]), "weights": model.props["aicodec.weights-sha256"], "frames": args.frames, "gop": GOP, "clips": {}}
    for path in clips:
        name = os.path.basename(path)
        fy, fuv = read(path, args.frames)
        row = {"size": f"{fy.shape[2]}x{fy.shape[1]}", "frames": len(fy), "curves": {}, "bd_rate": {}}
        for label, options in ANCHORS.items():
            key = f"{name}|{label}|{len(fy)}|{fy.shape[1:]}|{CRFS}"
            if key not in anchors:
                anchors[key] = [anchor(ffmpeg, fy, fuv, crf, options) for crf in CRFS]
                with open(kept, "w") as f:
                    json.dump(anchors, f)
            row["curves"][label] = anchors[key]
        cycle = tuple(int(v) for v in args.cycle.split(","))
        dump = os.path.join(args.dump, name) if args.dump else None
        mine = [ours(model, fy, fuv, int(q), cycle, args.key_boost, args.skip_scale, dump) for q in args.qualities.split(",")]
        row["curves"]["aicodec S"] = mine
        for label in ANCHORS:
            row["bd_rate"][label] = bd_rate(row["curves"][label], mine)
        report["clips"][name] = row
        print(name, row["size"], {k: v and round(v, 1) for k, v in row["bd_rate"].items()}, flush=True)
        for p in mine:
            print("   ", {k: round(v, 4) if isinstance(v, float) else v for k, v in p.items()}, flush=True)
    for label in ANCHORS:
        values = [r["bd_rate"][label] for r in report["clips"].values() if r["bd_rate"][label] is not None]
        report.setdefault("mean", {})[label] = float(np.mean(values)) if values else None
        report.setdefault("median", {})[label] = float(np.median(values)) if values else None
    print("mean", report.get("mean"), "median", report.get("median"))
    if args.json:
        with open(args.json, "w") as f:
            json.dump(report, f, indent=1)


if __name__ == "__main__":
    main()
