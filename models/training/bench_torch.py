# SPDX-License-Identifier: Apache-2.0
"""Times a shipped model in PyTorch, on the weights that its ONNX file was made of.

    python bench_torch.py --model denoise --device cuda:0 --width 3840 --height 2160 --runs 150 [--half]

Prints {"milliseconds": [...]}, one number a run, or {} for a model whose network has no eager form
here. Tensors lie on the device before the clock starts, and each run is synchronised. Products of
kernels, which training keeps apart, are multiplied out beforehand, as in the ONNX files. `aivideo bench
gpu --python` calls this.
"""

import argparse
import json
import os
import sys
import time

import torch

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = os.path.normpath(os.path.join(HERE, ".."))


def use(folder):
    """Lets the modules of one folder be imported; their names repeat among the folders."""
    sys.path.insert(0, os.path.join(HERE, folder))


def stored(*path):
    return torch.load(os.path.join(MODELS, *path), weights_only=True, map_location="cpu")


def multiplied_out(net, collapsible):
    """Every product of kernels as one kernel, in the network's own type."""
    for layer in net.modules():
        if isinstance(layer, collapsible):
            kernel = layer.kernel().detach()
            layer.register_buffer("whole", kernel, persistent=False)
            layer.kernel = lambda layer=layer: layer.whole
    return net


def enhance(kind, file):
    use("enhance")
    import nets

    state = stored("enhance", file)
    net = nets.make(kind, **state["config"])
    net.load_state_dict(state["net"])
    return multiplied_out(net, nets.Collapsible)


def denoise(w, h, file="denoise.pt"):
    w, h = -(-w // 8) * 8, -(-h // 8) * 8
    picture = (torch.rand(1, 1, h, w), torch.rand(1, 2, h // 2, w // 2), torch.full((1, 2), 15 / 255))
    return enhance("denoise", file), picture


def upscale(w, h, file="upscale-x2.pt"):
    return enhance("upscale", file), (torch.rand(1, 1, h // 2, w // 2),)


def restore(w, h):
    use("restore")
    import net as restoration

    w, h = -(-w // 8) * 8, -(-h // 8) * 8  # as the element pads
    state = stored("restore", "restore.pt")
    net = restoration.Restore(**state["config"])
    net.load_state_dict(state["net"])
    planes = lambda: torch.rand(1, 6, h // 2, w // 2)
    return net, (planes(), planes(), torch.rand(1, 4))


def classifier(_w, _h):
    use("vjepa2")
    from model import Config, MotionClassifier

    state = torch.load(os.path.join(HERE, "vjepa2", "checkpoints", "motion.pt"), weights_only=True, map_location="cpu")
    net = MotionClassifier(Config(**state["config"]))
    net.load_state_dict({k: v.float() for k, v in state["model"].items()})
    return net, (torch.rand(1, 16, 3, 64, 64),)


KNOWN = {
    "denoise": denoise,
    "denoise, large": lambda w, h: denoise(w, h, "denoise-large.pt"),
    "upscale to this size": upscale,
    "upscale to this size, large": lambda w, h: upscale(w, h, "upscale-x2-large.pt"),
    "restore": restore,
    "classifier (a clip, any size)": classifier,
}


@torch.inference_mode()
def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", required=True)
    p.add_argument("--device", default="cpu")
    p.add_argument("--width", type=int, required=True)
    p.add_argument("--height", type=int, required=True)
    p.add_argument("--runs", type=int, default=50)
    p.add_argument("--half", action="store_true", help="16 bit floating point, by autocast")
    a = p.parse_args()
    if a.model not in KNOWN:
        print("{}")
        return
    net, inputs = KNOWN[a.model](a.width, a.height)
    net = net.eval().to(a.device)
    inputs = [i.to(a.device) for i in inputs]
    cuda = a.device.startswith("cuda")
    times = []
    for i in range(a.runs + 3):
        start = time.perf_counter()
        with torch.autocast("cuda" if cuda else "cpu", dtype=torch.float16, enabled=a.half):
            net(*inputs)
        if cuda:
            torch.cuda.synchronize(a.device)
        if i >= 3:  # the first ones choose kernels and take memory
            times.append((time.perf_counter() - start) * 1e3)
    print(json.dumps({"milliseconds": times}))


if __name__ == "__main__":
    main()
