# SPDX-License-Identifier: Apache-2.0
"""Turns transformers' VJEPA2ForVideoClassification into ONNX files for vjepa2classify.

    python export.py facebook/vjepa2-vitl-fpc16-256-ssv2 --out /data/vjepa2
    python export.py /data/my-vjepa2 --out /data/vjepa2 --precision fp32 int8 --check

MODEL is a local folder or a name on the Hugging Face hub (needs transformers). Each precision
becomes NAME-PRECISION.onnx with its weights in NAME-PRECISION.onnx.data, and a sidecar
NAME-PRECISION.json with labels and preprocessing, which the element reads.

fp32   as trained. Computes what transformers computes.
fp16   weights and arithmetic in 16 bits, for GPUs. A CPU computes it in 32 bits.
int8   weights as 8-bit integers with a scale for each output; inputs of the products are quantised
       as they come, so no calibration data is needed. For CPUs with VNNI or AMX.

`--attention fused` (the default but for fp16) is ONNX Runtime's own operator, faster on CPUs;
`plain` is standard ONNX, which TensorRT needs.
"""

import argparse
import json
import pathlib
import sys

import numpy as np
import torch

import graph

# Of the published evaluation on Something-Something v2.
FRAME_STRIDE = 4
PRECISIONS = {
    "fp32": {"compute": "float32", "store": "float32"},
    "fp16": {"compute": "float16", "store": "float16"},
    "int8": {"compute": "float32", "store": "int8"},
}
LARGEST_ERROR = 1e-4


def processing(source, config):
    """Short side and normalisation, from the processor that came with the weights."""
    from transformers import AutoVideoProcessor

    try:
        p = AutoVideoProcessor.from_pretrained(source).to_dict()
    except (OSError, ValueError):
        print("no preprocessor configuration beside the weights: taking the family's", file=sys.stderr)
        from transformers import VJEPA2VideoProcessor

        p = VJEPA2VideoProcessor(crop_size={"height": config.crop_size, "width": config.crop_size}).to_dict()
    crop = p["crop_size"]
    crop = (crop["height"], crop["width"]) if isinstance(crop, dict) else (crop, crop)
    size = p["size"].get("shortest_edge")
    resample = p.get("resample", 2)
    wrong = [
        why
        for why, bad in [
            (f"it crops {crop} where the model takes {config.crop_size}", crop != (config.crop_size,) * 2),
            (f"its size {p['size']} is not a shortest edge", not size),
            (f"its resample {resample} is not bilinear (2)", int(resample) != 2),
            ("it does not rescale by 1/255", abs(p.get("rescale_factor", 1 / 255) * 255 - 1) > 1e-3),
        ]
        if bad
    ]
    if wrong:
        raise SystemExit(f"the element cannot do this preprocessing: {'; '.join(wrong)}")
    return {"resize-short-side": size, "mean": list(p["image_mean"]), "std": list(p["image_std"])}


def sidecar(name, config, source, stride):
    labels = [config.id2label[i] for i in range(config.num_labels)]
    return {
        "name": name, "labels": labels, "frames-per-clip": config.frames_per_clip, "size": config.crop_size,
        **processing(source, config), "frame-stride": stride,
    }


def clips(config, count=2):
    """Noise, and waves that move, on the scale of the model's inputs."""
    t, s = config.frames_per_clip, config.crop_size
    noise = torch.randn(t, 3, s, s, generator=torch.Generator().manual_seed(7))
    i, c, y, x = torch.meshgrid(torch.arange(t), torch.arange(3), torch.arange(s), torch.arange(s), indexing="ij")
    waves = 1.5 * torch.sin((x + 3 * i) * 0.11 + c) * torch.cos((y - 2 * i) * 0.07)
    return torch.stack([noise, waves][:count])


def run(path, video, threads=0):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"pixel_values_videos": v[None].numpy()})[0] for v in video])


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def export(model, path, about, precision, attention):
    # The predictor, a third of the file, plays no part in classification.
    weights = {k: v for k, v in model.state_dict().items() if ".predictor." not in k}
    fused = attention == "fused" or (attention is None and precision != "fp16")
    graph.build(
        graph.Family.of(model.config), weights, graph.metadata(about), path,
        fused_attention=fused, external=True, **PRECISIONS[precision],
    )
    graph.write_sidecar(path, about)


def compare(path, video, want):
    """Largest differences of a logit and of a probability, and of the latter between two clips."""
    got = run(path, video)
    return np.abs(got - want).max(), np.abs(softmax(got) - softmax(want)).max(), (got.argmax(1) == want.argmax(1)).all()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", help="local folder or hub name")
    p.add_argument("--out", default=".")
    p.add_argument("--name", help="default: the last part of MODEL")
    p.add_argument("--precision", nargs="+", choices=list(PRECISIONS), default=["fp32"])
    p.add_argument("--attention", choices=["fused", "plain"])
    p.add_argument("--frame-stride", type=int, default=FRAME_STRIDE)
    p.add_argument("--labels", help="JSON file id -> label, instead of the configuration's")
    p.add_argument("--check", action="store_true", help="compare the files with transformers in ONNX Runtime")
    a = p.parse_args()

    from transformers import VJEPA2ForVideoClassification

    model = VJEPA2ForVideoClassification.from_pretrained(a.model, dtype=torch.float32).eval()
    config = model.config
    if a.labels:
        config.id2label = {int(k): v for k, v in json.loads(pathlib.Path(a.labels).read_text()).items()}
    out = pathlib.Path(a.out)
    out.mkdir(parents=True, exist_ok=True)
    base = a.name or pathlib.Path(a.model).name
    if a.check:
        video = clips(config)
        with torch.no_grad():
            want = torch.cat([model(pixel_values_videos=v[None]).logits for v in video]).numpy()
        print(f"{base}: logits of deviation {want.std():.3f}, {np.abs(want[0] - want[1]).max():.3f} apart for two clips")
        print("| file | MB | largest difference of a logit | of a probability | same answers |\n|---|---|---|---|---|")
    worst = 0.0
    for precision in a.precision:
        name = f"{base}-{precision}"
        path = out / f"{name}.onnx"
        export(model, path, sidecar(base, config, a.model, a.frame_stride), precision, a.attention)
        megabytes = path.with_name(path.name + ".data").stat().st_size / 1e6
        if a.check:
            logit, probability, same = compare(path, video, want)
            print(f"| {path.name} | {megabytes:.0f} | {logit:.1e} | {probability:.1e} | {'yes' if same else 'no'} |", flush=True)
            worst = max(worst, logit if precision == "fp32" else 0.0)
        else:
            print(f"{path}: {megabytes:.0f} MB")
    if worst > LARGEST_ERROR:
        raise SystemExit(f"the exported graph does not compute what transformers computes: {worst:.1e} > {LARGEST_ERROR:.0e}")


if __name__ == "__main__":
    main()
