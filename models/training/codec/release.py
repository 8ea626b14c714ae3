# SPDX-License-Identifier: Apache-2.0
"""Exports runs into the folder of shipped models: graphs, tables, logs, manifest, card.

    python release.py --run ../runs/codec-s --key-run ../runs/codec-k --out ../../codec
    python release.py --run ../runs/codec-s --key-checkpoint checkpoints/k.pt    # where only the other network was trained
    python release.py --bench rd-out/results.json     # the card anew, with what `aivideo rd` measured
    python release.py --checkpoint checkpoints/s.pt --key-checkpoint checkpoints/k.pt   # the graphs anew
    python release.py --checkpoint checkpoints/s.pt --key-checkpoint checkpoints/k.pt --recount    # and the tables of predicted frames
    python release.py --ten-bits                       # the graphs of ten bits anew, from those of eight
    python release.py --tier M                         # tier M, behind the key frames of tier S that are shipped
"""

import argparse
import csv
import json
import os

import torch

import complexity
import export
import loop_filter
import model as codec
import real_encoder

# Files of a model: graphs for either depth, and tables.
PARTS = ("encode.onnx", "encode10.onnx", "decode.onnx", "decode10.onnx", "tables.bin")
# Folders of the models.
FOLDERS = {"S": "codec", "M": "codec-m"}
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
        if name != entry["path"] and name in hashes:
            deep = json.loads(json.dumps(entry)) | {"path": name, "sha256": hashes[name]}
            for port in deep["inputs"] + deep["outputs"]:
                if port["name"] in export.PICTURES:
                    port["type"] = "u16"
            out.append(deep)
    return out


LOG = ["step", "progress", "frames", "lr", "loss", "key_psnr", "key_bpp", "psnr", "bpp", "bpp_z", "norm", "mpx_s", "held_out_q"]


def log_csv(run, path):
    """Training rows, and the checks on held-out sources, as one table. A run that went on from published
    weights adds its rows to those that are there."""
    rows = []
    log = os.path.join(run, "log.jsonl")
    if os.path.exists(log):
        with open(log) as f:
            for line in f:
                row = json.loads(line)
                if "check" in row:
                    rows += [{**r, "step": row["check"], "progress": row["progress"], "held_out_q": r["q"]} for r in row["rows"]]
                else:
                    rows.append(row)
    before = []
    if os.path.exists(path):
        first = rows[0]["step"] if rows else float("inf")
        with open(path, newline="") as f:
            before = [row for row in csv.DictReader(f) if int(row["step"]) < first]
    with open(path, "w", newline="") as out:
        w = csv.DictWriter(out, LOG, restval="", extrasaction="ignore", lineterminator="\n")
        w.writeheader()
        w.writerows(before + rows)


# What the bench of a tier measures. The network of predicted frames, in which tiers differ, is one that the element must be told to use.
OURS = {"S": "aicodec", "M": "aicodec:inter-network=true"}


def weights(known):
    """What a bench is tied to: the network of key frames, and that of the others."""
    return [network["props"]["aicodec.weights-sha256"] for network in known.values()]


METRICS = {"psnr_y": "Y-PSNR", "psnr_y_cut": "0.95 x Y-PSNR", "ssim": "SSIM", "vmaf": "VMAF"}


def compact(results, known, out):
    """What the card shows of a bench's results.json, tied to the weights that it was of."""
    tier = list(known)[-1]
    stem, ours = export.stem(tier), OURS[tier]
    parts = [f"{stem}-{kind}{part}" for kind in ("", "key-") for part in ("decode.onnx", "tables.bin")]
    size = sum(os.path.getsize(os.path.join(out, part)) for part in parts)
    if results["decoder_model_bytes"] != size:
        raise SystemExit("the bench ran with other weights than the files here: build and run it again, tier M with --codec-model")
    names = {c["id"]: c["name"] for c in results["codecs"]}
    medians = [
        {k: m[k] for k in ("metric", "class", "clips", "median", "best", "worst", "wins")} | {"anchor": names[m["anchor"]]}
        for m in results["medians"]
        if m["ours"] == ours
    ]
    curves = {}
    for point in results["points_of_curves"]:
        if point["codec"] == ours and not point["matched"]:
            row = {"quality": point["value"], **{k: round(point[k], 3) for k in ("kbps", "psnr_y", "ssim", "vmaf")}}
            curves.setdefault(point["clip"], []).append(row)
    return {
        "codec": ours,
        "weights": weights(known),
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

`aivideo rd`, `{bench['codec']}`, whole streams of the real elements: {len(bench['curves'])} validation clips (not trained on),
{bench['shape']['frames']} frames each, at most 640x360, key frames every {bench['gop_seconds']:g} s. BD-rate, median of the clips
(best to worst); positive: more bits than the anchor.

{table_of_medians}

At equal Y-PSNR by content (clips): {by_class}.

{table_of_points}
"""


def manifest_entries(known, stem):
    """What the manifest says of one network's files, whose names begin with `stem`."""
    name = known["props"]["aicodec.tier"]
    tier, hashes = codec.TIERS[name], {f"{stem}{k.removeprefix(export.stem(name))}": v for k, v in known["files"].items()}
    training = {"steps": int(known["props"]["aicodec.steps"]), "minutes": known["minutes"], "data": DATA, "log": f"{export.stem(name)}.log.csv"}
    common = "pred_y pred_uv state quality"
    parts = {
        f"{stem}-encode.onnx": ("codec-encode", f"y uv {common} skip", "z sym rec_y rec_uv new_state"),
        f"{stem}-decode.onnx": ("codec-decode", f"z sym {common}", "rec_y rec_uv new_state"),
        f"{stem}-tables.bin": ("codec-tables", "", ""),
    }
    files = [
        {
            "path": file,
            "sha256": hashes[file],
            "kind": kind,
            "inputs": tensors(inputs, tier),
            "outputs": tensors(outputs, tier),
            "licence": "Apache-2.0",
            "training": training,
        }
        for file, (kind, inputs, outputs) in parts.items()
    ]
    return with_ten_bits(files, hashes)


def export_runs(args):
    """Both networks, that of key frames first: the other's tables and filters are fitted behind it. Tier M has the one
    that tier S ships."""
    known, key = {}, None
    recount = args.recount or not args.checkpoint
    if recount:
        # Before minutes of work and half of the files, not after.
        real_encoder.Encoder.find()
        real_encoder.clips_in(args.data)
    sources = {"K": args.key_checkpoint or os.path.join(args.key_run, "last.pt"), args.tier: args.checkpoint or os.path.join(args.run, "last.pt")}
    if args.tier != "S":
        shipped = os.path.join(args.out, "..", FOLDERS["S"])
        with open(os.path.join(shipped, "verify.json")) as f:
            known["K"] = json.load(f)["K"]
        net = export.load_net(sources.pop("K"))[0]
        if export.weights_hash(net) != known["K"]["props"]["aicodec.weights-sha256"]:
            raise SystemExit("the run of key frames has other weights than those that are shipped: release tier S first")
        key = net, loop_filter.read(os.path.join(shipped, f"{export.stem('K')}-tables.bin"))
        for part in PARTS:
            link = os.path.join(args.out, f"{export.stem(args.tier)}-key-{part}")
            if not os.path.islink(link):
                os.symlink(os.path.join("..", FOLDERS["S"], f"{export.stem('K')}-{part}"), link)
    for tier, source in sources.items():
        net, saved = export.load_net(source)
        as_it_is = args.key_checkpoint if tier == "K" else args.checkpoint
        cache = None if as_it_is else args.cache
        # Key frames are counted on single pictures, of which there are more.
        clips = args.data if recount and tier != "K" else None
        hashes, props, sets = export.write(net, saved, args.out, cache, args.batches, key, clips)
        key = net, sets
        export.verify.net = (net, saved)
        known[tier] = {
            "props": props,
            "files": hashes,
            "minutes": round(saved["spent"] / 60, 1),
            "parameters": sum(p.numel() for p in net.parameters()),
            "verify": export.verify(args.out, tier),
        }
        if not as_it_is:
            run = args.key_run if tier == "K" else args.run
            log_csv(run, os.path.join(args.out, f"{export.stem(tier)}.log.csv"))
    return known


def network_section(known, out):
    """The card's lines on one network."""
    tier = known["props"]["aicodec.tier"]
    stem = export.stem(tier)
    costs = {part: complexity.kmac(os.path.join(out, f"{stem}-{part}.onnx")) for part in ("encode", "decode")}
    work = ", ".join(f"{part} {k:.2f} ({100 * complexity.share_of_40_tops(k):.0f} %)" for part, k in costs.items())
    v = known["verify"]
    frames = [v[k] for k in v if k.startswith("frame")]
    ten = v["ten_bits"]
    rows = {
        f"{stem}-encode.onnx": "picture, prediction and state to symbols and the decoded picture",
        f"{stem}-decode.onnx": "symbols to the decoded picture",
        f"{stem}-encode10.onnx": f"`{stem}-encode.onnx` for samples of ten bits",
        f"{stem}-decode10.onnx": f"`{stem}-decode.onnx` for samples of ten bits",
        f"{stem}-tables.bin": "entropy tables and loop filters, counted and fitted on training clips",
    }
    table = "\n".join(f"| `{name}` | {what} | `{known['files'][name]}` |" for name, what in rows.items())
    return f"""| file | what | SHA-256 |
|---|---|---|
{table}

- {known['parameters'] / 1e6:.2f} M parameters, trained for {known['props']['aicodec.steps']} steps in {float(known['minutes']):.0f} minutes; log: `{stem}.log.csv`;
  weights SHA-256 `{known['props']['aicodec.weights-sha256']}`.
- Encoder against decoder in ONNX Runtime (graph optimisation on and off, 1 and 2 threads): the largest
  difference of a pixel is {max(f['encoder_decoder_max'] for f in frames)}, of a state value {max(f['state_max'] for f in frames)}; symbols are data and cannot differ.
- A picture of eight bits coded in ten: {100 * ten['symbols_differ']:.2f} % other symbols, at most {ten['from_eight_bits_max']:g} levels (of eight bits) between the pictures.
- Multiplications a pixel, thousands, and the part of 40 TOPS at its peak that 4K60 needs: {work}
  (`complexity.py`; real graphs reach a third of the peak).
- 1280x768, 2 threads, CPU time of a frame in ONNX Runtime when exported (the elements have faster kernels on CPUs): encode {v['encode_cpu_ms']} ms, decode {v['decode_cpu_ms']} ms.
"""


def card(known, out, result, verdict):
    """The README of a model."""
    own = list(known)[-1]
    minutes = sum(float(network["minutes"]) for network in known.values())
    if own == "S":
        about = (
            "A video codec with two networks: one for key frames, and one for predicted frames, which runs where there is no residual, on a GPU,\n"
            "and with `inter-network=true`. `docs/codec.md` says what else there is, `docs/bitstream.md` how its streams are made."
        )
        keys = f"Started from the other network (`widen.py`), and trained on single pictures and beside it.\n\n{network_section(known['K'], out)}"
    else:
        about = (
            "The larger sibling of the codec in `../codec`: it began as a copy of tier S with room for more (`widen.py`), and shares its\n"
            "network of key frames, so that it differs only where the network of predicted frames runs: `inter-network=true`, which costs bits with\n"
            "either tier. It is not built in: `model-location=models/codec-m` on `aicodecenc` and `aicodecdec`."
        )
        keys = "Those of tier S; the files here are links to them.\n"
    tier = codec.TIERS[own]
    return f"""# aicodec, tier {own}

{about}

- Data: {DATA}.
- Licence: Apache-2.0.

## Frames that are predicted

{network_section(known[own], out)}
## Key frames

{keys}{result}
## Known limits

- {verdict}It was trained for {minutes:.0f} minutes on a share of two busy CPU cores: a start. Training goes
  on from `models/training/codec/checkpoints/` (see `models/training/README.md`).
- {tier.c} features and {tier.y} latents for the 384 samples of a 16x16 block (key frames: 96 and 192) cap what the networks can
  say of finely textured pictures; the rest is the residual's, a transform's levels, which no network has learnt with yet.
"""


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tier", default="S", choices=list(FOLDERS))
    parser.add_argument("--run", help="default: ../runs/codec-s, or that of the tier")
    parser.add_argument("--key-run", default=os.path.join(here, "..", "runs", "codec-k"))
    parser.add_argument("--cache", default=os.path.join(here, "..", ".cache", "codec"))
    parser.add_argument("--data", default=os.path.join(here, "..", "..", "..", "..", "shared", "data", "train"), help="training clips, for the tables")
    parser.add_argument("--out", help="default: ../../codec, or the folder of the tier")
    parser.add_argument("--batches", type=int, default=24)
    parser.add_argument("--checkpoint", help="graphs only, of this checkpoint: tables and logs stay as they are")
    parser.add_argument("--key-checkpoint", help="the same for key frames; may stand without the other")
    parser.add_argument("--recount", action="store_true", help="with --checkpoint: the tables of predicted frames, too")
    parser.add_argument("--ten-bits", action="store_true", help="only the graphs of ten bits, from those of eight in --out")
    parser.add_argument("--bench", help="only write the card anew, with this results.json of `aivideo rd`")
    args = parser.parse_args()
    args.run = args.run or os.path.join(here, "..", "runs", f"codec-{args.tier.lower()}")
    args.out = args.out or os.path.join(here, "..", "..", FOLDERS[args.tier])
    if args.checkpoint and args.tier == "S" and not args.key_checkpoint:
        parser.error("--checkpoint needs --key-checkpoint: frames are predicted behind key frames")
    torch.set_num_threads(1)
    os.makedirs(args.out, exist_ok=True)
    facts = os.path.join(args.out, "verify.json")
    if args.ten_bits or args.bench:
        with open(facts) as f:
            known = json.load(f)
    if args.ten_bits:
        for tier in known if args.tier == "S" else [args.tier]:
            known[tier]["files"] |= export.write_ten_bits(args.out, tier)
            known[tier]["verify"]["ten_bits"] = export.verify_ten_bits(args.out, tier)
    elif args.bench:
        with open(args.bench) as f:
            results = json.load(f)
        with open(os.path.join(args.out, "bench.json"), "w") as f:
            json.dump(compact(results, known, args.out), f, indent=1)
            f.write("\n")
    else:
        known = export_runs(args)
    if not args.bench:
        with open(facts, "w") as f:
            json.dump(known, f, indent=1)
        with open(os.path.join(args.out, "manifest.json"), "w") as f:
            stem = export.stem(args.tier)
            stems = {args.tier: stem, "K": f"{stem}-key"}
            json.dump({"files": [entry for tier in reversed(known) for entry in manifest_entries(known[tier], stems[tier])]}, f, indent=2)
            f.write("\n")
    result = verdict = ""
    kept = os.path.join(args.out, "bench.json")
    if os.path.exists(kept):
        with open(kept) as f:
            bench = json.load(f)
        if bench["weights"] == weights(known):
            result = bench_section(bench)
            equal = [m for m in bench["medians"] if m["class"] is None and m["metric"] == "psnr_y"]
            won, all_clips = sum(m["wins"] for m in equal), sum(m["clips"] for m in equal)
            verdict = f"At equal Y-PSNR it needs more bits than its anchors in {all_clips - won} of {all_clips} comparisons. "
    with open(os.path.join(args.out, "README.md"), "w") as f:
        f.write(card(known, args.out, result, verdict))
    print(json.dumps(known, indent=1))


if __name__ == "__main__":
    main()
