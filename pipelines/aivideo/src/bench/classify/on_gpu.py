# SPDX-License-Identifier: Apache-2.0
"""models/training/vjepa2/reference.py on a GPU, called by `aivideo bench classify --device cuda --python`.

    python on_gpu.py FOLDER clip.rgb WIDTH HEIGHT --device cuda:0 [--half]

The same lines come out. The frames go to the GPU first and are preprocessed there; what is timed is waited for.
"""

import argparse
import json
import sys
import time

import numpy as np
import torch
from transformers import AutoVideoProcessor, VJEPA2ForVideoClassification


@torch.inference_mode()
def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("clip")
    p.add_argument("width", type=int)
    p.add_argument("height", type=int)
    p.add_argument("--device", default="cuda:0")
    p.add_argument("--half", action="store_true", help="weights and arithmetic in 16 bits")
    a = p.parse_args()
    dtype = torch.float16 if a.half else torch.float32
    processor = AutoVideoProcessor.from_pretrained(a.model)
    model = VJEPA2ForVideoClassification.from_pretrained(a.model, dtype=dtype).eval().to(a.device)
    frames = torch.from_numpy(np.fromfile(a.clip, np.uint8).reshape(-1, a.height, a.width, 3))
    print("ready", flush=True)
    for _ in sys.stdin:
        began, cpu = time.perf_counter(), time.process_time()
        video = frames.to(a.device).permute(0, 3, 1, 2)
        pixels = processor(video, return_tensors="pt")["pixel_values_videos"].to(a.device, dtype)
        torch.cuda.synchronize(a.device)
        prepared = time.perf_counter()
        logits = model(pixel_values_videos=pixels).logits.float()
        torch.cuda.synchronize(a.device)
        ended = time.perf_counter()
        report = {
            "seconds": ended - began,
            "preprocessing": prepared - began,
            "cpu_seconds": time.process_time() - cpu,
            "probabilities": logits.softmax(-1)[0].tolist(),
        }
        print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
