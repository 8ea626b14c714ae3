# SPDX-License-Identifier: Apache-2.0
"""Exports a run into the folder of shipped models: graphs, tables, log, manifest, card.

    python release.py --run ../runs/codec-s --out ../../codec [--evaluation eval.json]
    python release.py --bench rd-out/results.json     # the card anew, with what `aivideo rd` measured
    python release.py --checkpoint checkpoints/s.pt    # the graphs anew, after a change of export.py
    python release.py --ten-bits                       # the graphs of ten bits anew, from those of eight
"""

import argparse
import csv
import json
import os

import torch

import complexity
import export

DATA = "train/ of the project's data set: 60 clips and 50 photos, downscaled; see models/training/README.md"
SHAPES = {
    "y": ["u8", [1, 1, "H", "W"]],
    "uv": ["u8", [1, 2, "H/2", "W/2"]],
    "pred_y": ["u8", [1, 1, "H", "W"]],
    "pred_uv": ["u8", [1, 2, "H/2", "W/2"]],
    "rec_y": ["u8", [1, 1, "H", "W"]],
    "rec_uv": ["u8", [1, 2, "H/2", "W/2"]],
    "quality": ["i64", [1]],
    "skip": ["u8", [1, 1, "H/16", "W/16"]],
}


def tensors(names, tier):
    own = {
        "state": ["i8", [1, tier.m, "H/8", "W/8"]],
        "new_state": ["i8", [1, tier.m, "H/8", "W/8"]],
        "z": ["i8", [1, tier.z, "H/64", "W/64"]],
        "sym": ["i16", [1, tier.y, "H/16", "W/16"]],
    }
    return [{"name": n, "type": (SHAPES | own)[n][0], "shape": (SHAPES | own)[n][1]} for n in names.split()]


def with_ten_bits(files, hashes):
    """The manifest's entries, those of the graphs of ten bits after the ones that they were made of."""
    out = []
    for entry in files:
        if entry["path"].endswith("10.onnx"):
            continue
        out.append(entry)
        name = entry["path"].replace(".onnx", "10.onnx")
        if name in hashes:
            deep = json.loads(json.dumps(entry)) | {"path": name, "sha256": hashes[name]}
            for port in deep["inputs"] + deep["outputs"]:
                if port["name"] in export.PICTURES:
                    port["type"] = "u16"
            out.append(deep)
    return out


def log_csv(run, path):
    """Training rows, and the checks on held-out sources, as one table."""
    keys = ["step", "progress", "frames", "lr", "loss", "key_psnr", "key_bpp", "psnr", "bpp", "bpp_z", "norm", "mpx_s", "held_out_q"]
    with open(os.path.join(run, "log.jsonl")) as f, open(path, "w", newline="") as out:
        w = csv.DictWriter(out, keys, restval="", extrasaction="ignore", lineterminator="\n")
        w.writeheader()
        for line in f:
            row = json.loads(line)
            if "check" in row:
                for r in row["rows"]:
                    w.writerow({**r, "step": row["check"], "progress": row["progress"], "held_out_q": r["q"]})
            else:
                w.writerow(row)


def table(report):
    """The evaluation as markdown."""
    anchors = list(next(iter(report["clips"].values()))["bd_rate"])
    lines = ["| clip | size | " + " | ".join(f"BD-rate against {a}" for a in anchors) + " | bpp / Y-PSNR by quality |"]
    lines.append("|---" * (len(anchors) + 3) + "|")
    show = lambda v: "no shared range" if v is None else f"{v:+.0f} %"
    for name, row in report["clips"].items():
        points = ", ".join(f"q{p['q']}: {p['bpp']:.3f} / {p['psnr']:.1f}" for p in row["curves"]["aicodec S"])
        lines.append(f"| {name} | {row['size']} | " + " | ".join(show(row["bd_rate"][a]) for a in anchors) + f" | {points} |")
    lines.append("| **median** | | " + " | ".join(show(report["median"][a]) for a in anchors) + " | |")
    lines.append("| **mean** | | " + " | ".join(show(report["mean"][a]) for a in anchors) + " | |")
    return "\n".join(lines)


METRICS = {"psnr_y": "Y-PSNR", "psnr_y_cut": "0.95 x Y-PSNR", "ssim": "SSIM", "vmaf": "VMAF"}


def compact(results, known, out):
    """What the card shows of a bench's results.json, tied to the weights that it was of."""
    size = sum(os.path.getsize(os.path.join(out, f"s-{part}")) for part in ("decode.onnx", "tables.bin"))
    if results["codec_model"] or results["decoder_model_bytes"] != size:
        raise SystemExit("the bench ran with other weights than the files here: build, and run it without --codec-model")
    names = {c["id"]: c["name"] for c in results["codecs"]}
    medians = [
        {k: m[k] for k in ("metric", "class", "clips", "median", "best", "worst", "wins")} | {"anchor": names[m["anchor"]]}
        for m in results["medians"]
        if m["ours"] == "aicodec"
    ]
    curves = {}
    for point in results["points_of_curves"]:
        if point["codec"] == "aicodec" and not point["matched"]:
            row = {"quality": point["value"], **{k: round(point[k], 3) for k in ("kbps", "psnr_y", "ssim", "vmaf")}}
            curves.setdefault(point["clip"], []).append(row)
    return {
        "weights": known["props"]["aicodec.weights-sha256"],
        "shape": results["shape"],
        "gop_seconds": results["gop_seconds"],
        "medians": medians,
        "curves": curves,
    }


def bench_section(bench):
    rows = [m for m in bench["medians"] if m["class"] is None]
    anchors = list(dict.fromkeys(m["anchor"] for m in rows))
    share = lambda v: "-" if v is None else f"{v:+.0f} %"
    lines = ["| anchor | " + " | ".join(f"equal {n}" if "x" not in n else n for n in METRICS.values()) + " |", "|---" * (len(METRICS) + 1) + "|"]
    for anchor in anchors:
        cells = []
        for metric in METRICS:
            m = next((m for m in rows if m["anchor"] == anchor and m["metric"] == metric), None)
            cells.append("-" if m is None else f"{share(m['median'])} ({share(m['best'])} to {share(m['worst'])})")
        lines.append(f"| {anchor} | " + " | ".join(cells) + " |")
    kinds = [m for m in bench["medians"] if m["class"] and m["metric"] == "psnr_y"]
    by_class = "; ".join(
        f"{kind} ({next(m['clips'] for m in kinds if m['class'] == kind)}): "
        + ", ".join(f"{share(m['median'])} against {m['anchor']}" for m in kinds if m["class"] == kind)
        for kind in dict.fromkeys(m["class"] for m in kinds)
    )
    points = ["| clip | quality: kbit/s, Y-PSNR |", "|---|---|"]
    for clip, curve in bench["curves"].items():
        points.append(f"| {clip} | " + "; ".join(f"{p['quality']:.0f}: {p['kbps']:.0f}, {p['psnr_y']:.2f}" for p in curve) + " |")
    table_of_medians, table_of_points = "\n".join(lines), "\n".join(points)
    return f"""
## Rate and distortion

`aivideo rd`, whole streams of the real elements: {len(bench['curves'])} validation clips (not trained on),
{bench['shape']['frames']} frames each, at most 640x360, key frames every {bench['gop_seconds']:g} s. BD-rate, median of the clips
(best to worst); positive: more bits than the anchor.

{table_of_medians}

At equal Y-PSNR by content (clips): {by_class}.

{table_of_points}
"""


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", default=os.path.join(here, "..", "runs", "codec-s"))
    parser.add_argument("--cache", default=os.path.join(here, "..", ".cache", "codec"))
    parser.add_argument("--out", default=os.path.join(here, "..", "..", "codec"))
    parser.add_argument("--batches", type=int, default=24)
    parser.add_argument("--checkpoint", help="graphs only, of this checkpoint: tables and log stay as they are")
    parser.add_argument("--ten-bits", action="store_true", help="only the graphs of ten bits, from those of eight in --out")
    parser.add_argument("--evaluation", help="only write the card anew, with this report of evaluate.py")
    parser.add_argument("--bench", help="only write the card anew, with this results.json of `aivideo rd`")
    args = parser.parse_args()
    torch.set_num_threads(1)
    os.makedirs(args.out, exist_ok=True)
    facts = os.path.join(args.out, "verify.json")
    manifest = os.path.join(args.out, "manifest.json")
    if args.ten_bits:
        with open(facts) as f:
            known = json.load(f)
        tier = known["props"]["aicodec.tier"]
        known["files"] |= export.write_ten_bits(args.out, tier)
        known["verify"]["ten_bits"] = export.verify_ten_bits(args.out, tier)
        with open(facts, "w") as f:
            json.dump(known, f, indent=1)
        with open(manifest) as f:
            files = json.load(f)["files"]
        with open(manifest, "w") as f:
            json.dump({"files": with_ten_bits(files, known["files"])}, f, indent=2)
            f.write("\n")
    elif args.bench:
        with open(args.bench) as f:
            results = json.load(f)
        with open(facts) as f:
            known = json.load(f)
        with open(os.path.join(args.out, "bench.json"), "w") as f:
            json.dump(compact(results, known, args.out), f, indent=1)
            f.write("\n")
    elif args.evaluation:
        with open(args.evaluation) as f:
            report = json.load(f)
        with open(facts) as f:
            known = json.load(f)
        if known["props"]["aicodec.weights-sha256"] != report["weights"]:
            raise SystemExit("the report is of other weights than the files here: run evaluate.py on them first")
        with open(os.path.join(args.out, "evaluation.json"), "w") as f:
            json.dump(report, f, indent=1)
    else:
        net, saved = export.load_net(args.checkpoint or os.path.join(args.run, "last.pt"))
        hashes, props = export.write(net, saved, args.out, None if args.checkpoint else args.cache, args.batches)
        export.verify.net = (net, saved)
        known = {
            "props": props,
            "files": hashes,
            "minutes": round(saved["spent"] / 60, 1),
            "parameters": sum(p.numel() for p in net.parameters()),
            "verify": export.verify(args.out, saved["tier"]),
        }
        with open(facts, "w") as f:
            json.dump(known, f, indent=1)
        if not args.checkpoint:
            log_csv(args.run, os.path.join(args.out, "s.log.csv"))
        tier = net.tier
        training = {"steps": saved["step"], "minutes": round(saved["spent"] / 60, 1), "data": DATA, "log": "s.log.csv"}
        common = "pred_y pred_uv state quality"
        parts = {
            "s-encode.onnx": ("codec-encode", f"y uv {common} skip", "z sym rec_y rec_uv new_state"),
            "s-decode.onnx": ("codec-decode", f"z sym {common}", "rec_y rec_uv new_state"),
            "s-tables.bin": ("codec-tables", "", ""),
        }
        files = [
            {
                "path": name,
                "sha256": hashes[name],
                "kind": kind,
                "inputs": tensors(inputs, tier),
                "outputs": tensors(outputs, tier),
                "licence": "Apache-2.0",
                "training": training,
            }
            for name, (kind, inputs, outputs) in parts.items()
        ]
        with open(manifest, "w") as f:
            json.dump({"files": with_ten_bits(files, hashes)}, f, indent=2)
            f.write("\n")
    result = verdict = ""
    costs = {part: complexity.kmac(os.path.join(args.out, f"s-{part}.onnx")) for part in ("encode", "decode")}
    work = ", ".join(f"{part} {k:.2f} ({100 * complexity.share_of_40_tops(k):.0f} %)" for part, k in costs.items())
    kept = os.path.join(args.out, "evaluation.json")
    if os.path.exists(kept):
        with open(kept) as f:
            report = json.load(f)
        if report["weights"] == known["props"]["aicodec.weights-sha256"]:
            result = f"""
## Rate and distortion

{len(report['clips'])} validation clips (not trained on), first {report['frames']} frames, at most 640 wide, key frame each
{report['gop']} frames, this encoder's symbols at their exact cost under the tables, vectors and skip
flags estimated (`evaluate.py`); the bench of the project measures whole files. Positive: more bits
than the anchor at the same Y-PSNR.

{table(report)}
"""
            shares = [v for row in report["clips"].values() for v in row["bd_rate"].values() if v is not None]
            lost = sum(v > 0 for v in shares)
            verdict = f"It needs more bits than its anchors in {lost} of {len(shares)} comparisons above. "
    kept = os.path.join(args.out, "bench.json")
    if os.path.exists(kept):
        with open(kept) as f:
            bench = json.load(f)
        if bench["weights"] == known["props"]["aicodec.weights-sha256"]:
            result += bench_section(bench)
            equal = [m for m in bench["medians"] if m["class"] is None and m["metric"] == "psnr_y"]
            won, all_clips = sum(m["wins"] for m in equal), sum(m["clips"] for m in equal)
            verdict = f"At equal Y-PSNR it needs more bits than its anchors in {all_clips - won} of {all_clips} comparisons. "
    v = known["verify"]
    frames = [v[k] for k in v if k.startswith("frame")]
    ten = v["ten_bits"]
    text = f"""# aicodec, tier S

A learned video codec of {known['parameters'] / 1e6:.2f} M parameters; `docs/bitstream.md` says how its streams are made.

| file | what | SHA-256 |
|---|---|---|
| `s-encode.onnx` | picture, prediction and state to symbols and the decoded picture | `{known['files']['s-encode.onnx']}` |
| `s-decode.onnx` | symbols to the decoded picture | `{known['files']['s-decode.onnx']}` |
| `s-encode10.onnx` | `s-encode.onnx` for samples of ten bits | `{known['files']['s-encode10.onnx']}` |
| `s-decode10.onnx` | `s-decode.onnx` for samples of ten bits | `{known['files']['s-decode10.onnx']}` |
| `s-tables.bin` | entropy tables, counted on training clips | `{known['files']['s-tables.bin']}` |

- Trained for {known['props']['aicodec.steps']} steps; log: `s.log.csv`; weights SHA-256 `{known['props']['aicodec.weights-sha256']}`.
- Data: {DATA}.
- Licence: Apache-2.0.
- Encoder against decoder in ONNX Runtime (graph optimisation on and off, 1 and 2 threads): the largest
  difference of a pixel is {max(f['encoder_decoder_max'] for f in frames)}, of a state value {max(f['state_max'] for f in frames)}; symbols are data and cannot differ.
- A picture of eight bits coded in ten: {100 * ten['symbols_differ']:.2f} % other symbols, at most {ten['from_eight_bits_max']:g} levels (of eight bits) between the pictures.
- Multiplications a pixel, thousands, and the part of 40 TOPS at its peak that 4K60 needs: {work}
  (`complexity.py`; real graphs reach a third of the peak).
- 1280x768, 2 threads, CPU time of a frame in ONNX Runtime when exported (the elements have faster kernels on CPUs): encode {v['encode_cpu_ms']} ms, decode {v['decode_cpu_ms']} ms.
{result}
## Known limits

- {verdict}It was trained for {float(known.get('minutes', 0)):.0f} minutes on a share of two busy CPU cores: a start. Training goes
  on from `models/training/codec/checkpoints/s.pt` (see `models/training/README.md`).
- 64 features and 128 latents for the 384 samples of a 16x16 block cap the quality of finely textured
  pictures: a higher quality setting then costs bits for little.
"""
    with open(os.path.join(args.out, "README.md"), "w") as f:
        f.write(text)
    print(json.dumps(known, indent=1))


if __name__ == "__main__":
    main()
