# SPDX-License-Identifier: Apache-2.0
"""transformers' processor and model over one clip of raw RGB frames, again and again: the other
side of `aivideo bench classify`.

    python reference.py FOLDER clip.rgb WIDTH HEIGHT --threads 2
    python reference.py FOLDER clip.rgb WIDTH HEIGHT --device cuda:0 --half

On a GPU frames go there first and are preprocessed there, and what is timed is waited for. Prints a line "ready" when the model is loaded, then for each line on the standard input one JSON
line: seconds of the whole clip and of its preprocessing, processor seconds, probabilities.
"""

import argparse
import json
import sys
import time

import numpy as np
import torch
from transformers import AutoVideoProcessor, VJEPA2ForVideoClassification


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("clip")
    p.add_argument("width", type=int)
    p.add_argument("height", type=int)
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--device", default="cpu")
    p.add_argument("--half", action="store_true", help="weights and arithmetic in 16 bits")
    a = p.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)
    device = torch.device(a.device)
    dtype = torch.float16 if a.half else torch.float32
    processor = AutoVideoProcessor.from_pretrained(a.model)
    model = VJEPA2ForVideoClassification.from_pretrained(a.model, dtype=dtype).eval().to(device)
    frames = np.fromfile(a.clip, np.uint8).reshape(-1, a.height, a.width, 3)
    video = torch.from_numpy(frames).permute(0, 3, 1, 2)

    def now():
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    print("ready", flush=True)
    for _ in sys.stdin:
        began, cpu = now(), time.process_time()
        with torch.no_grad():
            inputs = processor(video.to(device), return_tensors="pt").to(device, dtype)
            prepared = now()
            logits = model(**inputs).logits.float()
        report = {
            "seconds": now() - began,
            "preprocessing": prepared - began,
            "cpu_seconds": time.process_time() - cpu,
            "probabilities": logits.softmax(-1)[0].tolist(),
        }
        print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
