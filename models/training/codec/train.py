# SPDX-License-Identifier: Apache-2.0
"""Trains the codec. Resumes by itself from RUN/last.pt after a kill at any moment.

    python data.py --data ../../../../shared/data/train     # may keep running
    python train.py --hours 2 --workers 2

The network of key frames starts from the other, and is trained beside it:

    python data.py --stills --data ../../../../shared/data/train
    python widen.py ../runs/codec-s/last.pt ../runs/codec-k/last.pt
    python train.py --tier K --run ../runs/codec-k --partner ../runs/codec-s/last.pt --muon 10 --lr 4e-4 --hours 2

Each worker is one process with its own CPU threads; gradients meet once a
step, which is kinder to a busy machine than a barrier in each layer. Every
random choice depends on (seed, step, worker) alone.
"""

import argparse
import contextlib
import json
import math
import os
import random
import shutil
import sys
import time

import numpy as np
import torch
import torch.distributed as dist

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import data
import loop_filter
import model as codec
from int8 import Int8
from muon import Muon
from motion import Warp, round_through

WIDTH, HEIGHT = 256, 192
# In so many of its steps the network is given pictures and a state that are a little off.
DRIFTING = 0.5
# Of predicted frames: those in which blocks are skipped, those with a lost tile, those whose prediction has
# nothing to do with them, and those that are key frames instead.
SKIPPING, LOSING, STRANGE, ANEW = 0.9, 0.03, 0.01, 0.01


def stage(progress, tier, follow=False):
    """(frames, batch a worker) by position in the schedule; pixels a step stay alike. `follow`: key frames
    with one that is predicted from them."""
    if tier == "K":
        return (2, 4) if follow else (1, 8)
    if progress < 0.12:
        return 2, 6
    if progress < 0.35:
        return 3, 4
    return WINDOW + 1, 2


# Frames of a step in the last stage, which go on from what an earlier step has decoded: gradients pass through
# a window, and the network sees what its own frames become over a whole run.
WINDOW = 4
WINDOWS = (data.FRAMES - 1) // WINDOW
# So many runs take turns: steps that follow each other see different clips.
LANES = 4


def window_of(step):
    """(lane, number of the run in it, number of the window in the run). Lanes are at different places of their runs."""
    lane = step % LANES
    turn = step // LANES + lane * WINDOWS // LANES
    return lane, turn // WINDOWS, turn % WINDOWS


def learning_rate(progress, step, peak):
    warm = min(1.0, (step + 1) / 200)
    fall = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return peak * warm * (0.03 + 0.97 * fall)


class Schedule:
    """The place between 0 and 1: by steps, or by the seconds spent. A cycle that begins `again` has what is left of
    the budget from that place on."""

    def __init__(self, steps, hours, begin=(0.0, 0.0)):
        self.steps, self.seconds, self.begin = steps, hours * 3600, begin

    def place(self, step, spent):
        if self.steps:
            return step / self.steps
        at, from_spent = self.begin
        return at + (1 - at) * (spent - from_spent) / max(self.seconds - from_spent, 1e-9)


def draw_quality(rng, batch, progress, tier):
    """A few qualities first, then all 64; for key frames one for the whole batch."""
    if tier == "K":
        return [rng.randrange(codec.QUALITIES)] * batch
    if progress < 0.1:
        return [rng.randrange(codec.KNOTS) * 9 for _ in range(batch)]
    return [rng.randrange(codec.QUALITIES) for _ in range(batch)]


def drift(x, step, share):
    """x, a share of its values moved up or down by a step: what two runtimes may disagree by."""
    r = torch.rand_like(x)
    return x + step * ((r < share / 2).to(x.dtype) - (r > 1 - share / 2).to(x.dtype))


def skipped_below(q):
    """Squared error of a block, in bits' worth, below which the encoder skips it. It follows there from what coding is
    seen to bring; over clips it was 16 to 45 bits at quality 0, 60 to 130 at 30, 90 to 250 at 46."""
    return 32 * 2 ** (q / 26)


def skipped(y, uv, py, puv, q, factor):
    """[B,h/16,w/16,1]: the blocks that an encoder would leave as predicted."""
    sums = lambda v, size: size**2 * torch.nn.functional.avg_pool2d(v.square().sum(1, keepdim=True), size)
    error = sums(y - py.detach().float(), 16) + sums(uv - puv.detach().float(), 8)
    limit = [factor * skipped_below(v) / codec.quality_lambda(v) for v in q.tolist()]
    limit = torch.tensor(limit, device=error.device)[:, None, None, None]
    return (error < limit).float().permute(0, 2, 3, 1)


class Sequence:
    """Codes a batch of short runs, each frame from the decoded one before it. Of key frames or of all
    others `partner` may be the network: a tier K trained beside it, or the one that K is trained beside.
    After a call `decoded` is where its runs have come to; another call may go on from there. It is None, and frames
    are missing, where the network came apart."""

    def __init__(self, net, device, bf16=True, partner=None, filters=(None, None)):
        """`filters`: the loop filter of key frames and of the others."""
        self.net, self.device, self.bf16, self.partner = net, device, bf16, partner
        self.warp = Warp(device)
        self.filters = filters
        self.decoded = None

    def network(self, key):
        own = self.partner is None or key == (self.net.tier.name == "K")
        return self.net if own else self.partner

    def __call__(self, *args, **kwargs):
        # One autocast region: weights are cast once for all frames.
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            return self.run(*args, **kwargs)

    def run(self, batch, quality, rng=None, hard=False, key_boost=codec.KEY_BOOST, cycle=codec.CYCLE, before=None, first=0):
        """`before`: what an earlier call has `decoded` of the batch's first frame, which is `first` in its run."""
        ys, uvs, mvs = batch
        dev = self.device
        ys = torch.from_numpy(ys).to(dev).float()
        uvs = torch.from_numpy(uvs).to(dev).float()
        mvs = torch.from_numpy(mvs).to(dev)
        b, t, h, w = ys.shape
        base = torch.tensor(quality, device=dev)
        state = torch.zeros(b, h // 8, w // 8, self.net.tier.m, device=dev)
        ry = ruv = last = None
        if before is not None:
            ry, ruv, state, last = before
        drifting = rng is not None and rng.random() < DRIFTING
        share = rng.choice([0.04, 0.15]) if drifting else 0
        frames = []
        for i in range(0 if before is None else 1, t):
            y, uv = ys[:, i : i + 1], uvs[:, i]
            x = codec.to_net(y, uv)
            skip = None
            key = i == 0 or (rng is not None and i > 1 and rng.random() < ANEW)
            offset = key_boost if key else (cycle[(first + i) % len(cycle)] if cycle else 0)
            q = (base + offset).clamp(0, codec.QUALITIES - 1)
            if key:
                pred = torch.zeros_like(x)
                state = torch.zeros_like(state)
                last = None
            else:
                py, puv = self.warp(ry, ruv, mvs[:, i])
                pred = codec.to_net(py, puv)
                if rng is not None and rng.random() < STRANGE:
                    # What follows a cut is predicted from another scene.
                    py, puv, pred = (v.roll(1, 0) for v in (py, puv, pred))
                if rng is None or rng.random() < SKIPPING:
                    factor = 1 if rng is None else math.exp(rng.gauss(0, 0.5))
                    skip = skipped(y, uv, py, puv, q, factor)
                if rng is not None and rng.random() < LOSING:
                    # A lost tile decodes as all zeros.
                    if skip is None:
                        skip = torch.zeros(b, h // 16, w // 16, 1, device=dev)
                    r = rng.randrange(skip.shape[1] // 4) * 4
                    skip[:, r : r + 4] = 1
            net = self.network(key)
            alike = key and len(set(quality)) == 1
            # A key frame of the partner has nothing to learn.
            try:
                with torch.set_grad_enabled(torch.is_grad_enabled() and not (key and net is self.partner)):
                    out, state, sym, by, bz, z = net.frame(x, pred, state, q, skip=skip, last=last, hard=hard, alike=alike)
            except codec.CameApart:
                self.decoded = None
                return frames
            # Gradients reach samples out of range, too, where the clamped ones are wrong.
            ry, ruv = (v + (round_through(v.clamp(0, 255)) - v).detach() for v in codec.from_net(out))
            loop = self.filters[0 if key else 1]
            if loop is not None:
                with torch.autocast(self.device.type, enabled=False):
                    ry = loop(ry.float())
            if skip is not None:
                big = skip.permute(0, 3, 1, 2)
                ky = big.repeat_interleave(16, 2).repeat_interleave(16, 3)
                kc = big.repeat_interleave(8, 2).repeat_interleave(8, 3)
                ry = ry * (1 - ky) + py * ky
                ruv = ruv * (1 - kc) + puv * kc
            distorted = ry, ruv
            if drifting:
                # The next frame starts from a picture and a state that are a little off.
                ry, ruv = (drift(v, 1.0, share).clamp(0, 255) for v in (ry, ruv))
                state = drift(state, 1 / codec.STATE_SCALE, share)
            # Symbols of a network of their own are no context.
            last = None if key and self.partner is not None else sym.detach()
            mse_y = (distorted[0] - y).square().mean((1, 2, 3))
            mse_uv = (distorted[1] - uv).square().mean((2, 3))
            frames.append(
                {
                    "key": key,
                    "mse": mse_y,
                    "distortion": (10 * mse_y + mse_uv[:, 0] + mse_uv[:, 1]) / 12,
                    "bpp": (by + bz) / (h * w),
                    "bpp_z": bz / (h * w),
                    "lambda": torch.tensor([codec.quality_lambda(float(v)) for v in q], device=dev),
                    "q": q,
                    "z": z,
                }
            )
        self.decoded = tuple(None if v is None else v.detach() for v in (ry, ruv, state, last))
        return frames


# In so many of its steps tier K sees what the network of other frames makes of its frames.
FOLLOW = 0.4
# What key frames weigh in the loss: about their share of the bits at one a second.
KEY_WEIGHT = 0.4


def loss_of(frames):
    """Mean log of the Lagrangian: every clip and quality counts by its relative gain."""
    kinds = {True: [], False: []}
    for f in frames:
        kinds[f["key"]].append(torch.log(f["bpp"] + f["lambda"] * f["distortion"] + 0.01).mean())
    means = {key: torch.stack(parts).mean() for key, parts in kinds.items() if parts}
    if len(means) == 1:
        return next(iter(means.values()))
    return KEY_WEIGHT * means[True] + (1 - KEY_WEIGHT) * means[False]


def psnr(mse):
    return 10 * torch.log10(255**2 / mse.clamp(min=1e-3))


def save(path, payload):
    temp = f"{path}.{os.getpid()}.part"
    torch.save(payload, temp)
    os.replace(temp, path)


class Steady:
    """Tells steps whose gradient is out of all proportion. One network came apart within 200 steps after
    its gradients had grown from 3 to 50, and no clipping helps where each step has one size."""

    MEMORY, START, PATIENCE = 0.98, 50, 200

    def __init__(self, limit):
        self.limit, self.usual, self.seen, self.refused = limit, 0.0, 0, 0

    def memory(self):
        """What a later start needs to know."""
        return {"usual": self.usual, "seen": self.seen, "refused": self.refused}

    def takes(self, norm):
        """Whether the step may be made: there is a gradient, and it is in proportion. Ends training where hardly any may."""
        if 0 < norm < math.inf and (self.seen < self.START or norm < self.limit * math.exp(self.usual)):
            level = math.log(max(norm, 1e-12))
            self.usual = level if self.seen == 0 else self.MEMORY * self.usual + (1 - self.MEMORY) * level
            self.seen += 1
            self.refused = 0
            return True
        self.refused += 1
        if self.refused >= self.PATIENCE:
            raise SystemExit(
                f"{self.PATIENCE} gradients in a row were not finite or {self.limit:g} times the usual: training has come "
                "apart. Go on from best.pt (copy it to last.pt) with a smaller --lr"
            )
        return False


def check(seq, held):
    """Held-out sources, fixed crops: [q, psnr, bpp] with hard symbols, key frames apart."""
    rows = []
    with torch.no_grad():
        for q in (8, 24, 40, 56):
            frames = seq(held, [q] * held[0].shape[0], hard=True)
            row = {"q": q, "loss": loss_of(frames).item(), **summary(frames)}
            rows.append({k: round(v, 5) for k, v in row.items()})
    return rows


def summary(frames):
    """Means over a batch: the key frame's, and those of the frames after it."""
    keys, rest = [f for f in frames if f["key"]], [f for f in frames if not f["key"]]
    row = {}
    if keys:
        row["key_psnr"] = psnr(keys[0]["mse"]).mean().item()
        row["key_bpp"] = keys[0]["bpp"].mean().item()
    if rest:
        row["psnr"] = torch.stack([psnr(f["mse"]) for f in rest]).mean().item()
        row["bpp"] = torch.stack([f["bpp"] for f in rest]).mean().item()
        row["bpp_z"] = torch.stack([f["bpp_z"] for f in rest]).mean().item()
    return row


class Optimiser:
    """AdamW, and with `muon` that for the matrices: all but those that start as a transform."""

    def __init__(self, net, lr, muon):
        # The transform start is precise: steps that suit a random layer would scramble it.
        layers = (net.embed, net.enc_in, net.down, net.up, net.dec_in, net.out)
        start = {id(p) for layer in layers for p in layer.parameters()}
        quick = {id(net.z_logits)}
        matrices = [m.weight for m in net.modules() if isinstance(m, torch.nn.Linear) and muon]
        matrices = [p for p in matrices if id(p) not in start]
        other = start | quick | {id(p) for p in matrices}
        groups = [
            {"params": [p for p in net.parameters() if id(p) not in other], "scale": 1.0},
            {"params": [p for p in net.parameters() if id(p) in start], "scale": 0.2, "weight_decay": 0.0},
            {"params": [net.z_logits], "scale": 10.0, "weight_decay": 0.0},
        ]
        self.parts = [torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), weight_decay=1e-3)]
        if muon:
            self.parts.append(Muon([{"params": matrices, "scale": muon}], lr=lr, dtype=torch.float32))

    def zero_grad(self):
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def step(self, lr):
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = lr * group["scale"]
            part.step()

    def state_dict(self):
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, saved):
        if saved is None:
            return
        saved = saved if isinstance(saved, list) else [saved]  # AdamW alone was saved by itself
        if len(saved) != len(self.parts):
            print("another optimiser was used before: it starts anew", flush=True)
            return
        for part, state in zip(self.parts, saved):
            part.load_state_dict(state)


def worker(rank, args):
    torch.set_num_threads(args.threads)
    if args.workers > 1:
        import datetime

        dist.init_process_group(
            "gloo",
            init_method=f"file://{args.run}/meet-{os.getppid() if rank else os.getpid()}",
            rank=rank,
            world_size=args.workers,
            timeout=datetime.timedelta(hours=12),
        )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(args.seed)
    net = codec.Codec(args.tier).to(device)
    ema = {k: v.detach().clone() for k, v in net.state_dict().items()}
    optimiser = Optimiser(net, args.lr, args.muon)
    step, progress, spent = 0, 0.0, 0.0
    schedule = Schedule(args.steps, args.hours)
    # By lane: the number of the run and of the window that is next, and what is decoded before it.
    decoded = {}
    steady, best = Steady(args.spike), math.inf
    path = os.path.join(args.run, "last.pt")
    if os.path.exists(path):
        saved = torch.load(path, map_location=device, weights_only=False)
        net.load_state_dict(saved["net"])
        ema = saved["ema"]
        optimiser.load_state_dict(saved["optimiser"])
        step, spent = saved["step"], saved["spent"]
        vars(steady).update(saved.get("steady", {}))
        best = saved.get("best", best)
        # Other workers' runs begin anew.
        decoded = saved.get("decoded", {}) if rank == 0 else {}
        # A larger budget than last time goes on from a place further back in the schedule.
        schedule.begin = saved.get("cycle", schedule.begin)
        if args.again is not None and not (schedule.begin[0] == args.again and spent > schedule.begin[1]):
            schedule.begin = (args.again, spent)
        progress = schedule.place(step, spent)
        if rank == 0:
            print(f"resumed at step {step}, progress {progress:.3f}", flush=True)
    single = args.tier == "K"
    segments = data.Segments(args.cache, "still" if single else "seg")
    runs = data.Segments(args.cache) if single and args.partner else None
    if step == 0 and not args.steps:
        from export import calibrate

        calibrate(net, segments)
        ema = {k: v.detach().clone() for k, v in net.state_dict().items()}
    held = None
    if rank == 0:
        try:
            kind, size, length = ("heldstill", 24, 1) if single else ("held", 6, data.FRAMES)
            held = data.Segments(args.cache, kind).batch(random.Random(5), size, length, WIDTH, HEIGHT)
        except SystemExit:
            print("no held-out segments: no check during training", flush=True)
    flat = torch.zeros(sum(p.numel() for p in net.parameters()) + 1)
    shape = {"progress": progress}

    def make(at):
        if at % 200 == 0 and at != step:
            segments.refresh()
        rng = random.Random(f"{args.seed}-{at}-{rank}")
        # The stage of a batch prepared ahead may lag a step or two behind the schedule.
        p = schedule.place(at, 0) if args.steps else shape["progress"]
        follow = runs is not None and rng.random() < FOLLOW
        t, b = stage(p, args.tier, follow)
        b = max(1, round(b * args.batch_scale))
        place, frames = None, t
        if t > WINDOW:
            place, frames = window_of(at), 1 + WINDOW * WINDOWS
            rng = random.Random(f"{args.seed}-run-{place[:2]}-{rank}")
        batch = (runs if follow else segments).batch(rng, b, frames, WIDTH, HEIGHT)
        if place:
            first = WINDOW * place[2]
            batch = tuple(v[:, first : first + t] for v in batch)
        quality = draw_quality(rng, b, p, args.tier)
        # Mostly the encoder's own.
        cycle = rng.choice([None, codec.CYCLE, codec.CYCLE, [0, -5, -2, -5]])
        boost = 0 if single else rng.choice([0, 12, 18, codec.KEY_BOOST])
        return batch, place, {"quality": quality, "cycle": cycle, "key_boost": boost}

    ahead = data.Ahead(make, step)
    partner = None
    if args.partner:
        from export import load_net

        partner = load_net(args.partner)[0].to(device).requires_grad_(False)
    filters = (None, None)
    if args.filters:
        names = ("s-key-tables.bin" if args.partner or single else "s-tables.bin", "s-tables.bin")
        sets = [loop_filter.read(os.path.join(args.filters, name)) for name in names]
        filters = tuple(loop_filter.Torch(s[0, 1], device) if s is not None else None for s in sets)
    seq = Sequence(net, device, not args.fp32, partner, filters)
    log = open(os.path.join(args.run, "log.jsonl"), "a") if rank == 0 else None
    began, saved_at, checked_at, pixels = time.time(), time.time(), time.time() - 1e9 * (step == 0), 0
    start_spent, mean = spent, {}
    if step == 0:
        checked_at = time.time() - args.check_every * 0.5
    while progress < 1.0 and not (args.stop_after and step >= args.stop_after):
        batch, place, choices = ahead.get(step)
        rng = random.Random(f"{args.seed}-step-{step}-{rank}")
        torch.manual_seed(rng.randrange(1 << 30))
        if place:
            lane, number, window = place
            *at, before = decoded.get(lane, (None, None, None))
            # Where nothing is decoded before it, a window begins with a key frame.
            choices |= {"first": window * WINDOW, "before": before if at == [number, window] else None}
        with Int8() if progress >= args.int8_from else contextlib.nullcontext():
            frames = seq(batch, rng=rng, **choices)
        if place:
            decoded[lane] = (number, window + 1, seq.decoded)
        optimiser.zero_grad()
        now = {"apart": float(seq.decoded is None)}
        if frames:
            loss = loss_of(frames)
            loss.backward()
            now |= {"loss": loss.item(), **summary(frames)}
        grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in net.parameters()]
        if not args.steps:
            spent = start_spent + time.time() - began
        progress = schedule.place(step + 1, spent)
        if args.workers > 1:
            torch.cat([g.reshape(-1).float() for g in grads], out=flat[:-1])
            flat[-1] = progress if rank == 0 else 0
            dist.all_reduce(flat)
            progress = flat[-1].item()
            at = 0
            for g in grads:
                g.copy_(flat[at : at + g.numel()].view_as(g) / args.workers)
                at += g.numel()
        shape["progress"] = progress
        for p, g in zip(net.parameters(), grads):
            p.grad = g
        norm = torch.nn.utils.clip_grad_norm_(net.parameters(), args.clip).item()
        lr = learning_rate(progress, step, args.lr)
        if steady.takes(norm):
            optimiser.step(lr)
        elif rank == 0:
            print(f"step {step}: a gradient of {norm:g}; skipped", flush=True)
        decay = min(args.ema, (step + 1) / (step + 10))
        with torch.no_grad():
            for k, v in net.state_dict().items():
                ema[k].lerp_(v, 1 - decay)
        step += 1
        if rank:
            continue
        pixels += batch[0].size * args.workers
        for k, v in (now | {"norm": norm}).items():
            mean.setdefault(k, []).append(v)
        if step % 50 == 0:
            row = {"step": step, "progress": round(progress, 4), "lr": lr, "frames": batch[0].shape[1]}
            row.update({k: round(float(np.mean(v)), 5) for k, v in mean.items()})
            row["mpx_s"] = round(pixels / (time.time() - began) / 1e6, 3)
            mean = {}
            log.write(json.dumps(row) + "\n")
            log.flush()
            print(row, flush=True)
        if held is not None and time.time() - checked_at > args.check_every:
            checked_at = time.time()
            current = {k: v.clone() for k, v in net.state_dict().items()}
            net.load_state_dict(ema)
            row = {"check": step, "progress": round(progress, 4), "rows": check(seq, held)}
            net.load_state_dict(current)
            log.write(json.dumps(row) + "\n")
            log.flush()
            print(row, flush=True)
            mean_loss = float(np.mean([r["loss"] for r in row["rows"]]))
            if mean_loss < best and os.path.exists(path):
                # The newest state on disk is at most --save-every older than what was checked.
                best = mean_loss
                shutil.copyfile(path, os.path.join(args.run, "best.pt"))
        if time.time() - saved_at > args.save_every or progress >= 1.0 or step == args.stop_after:
            saved_at = time.time()
            save(
                path,
                {
                    "net": net.state_dict(),
                    "ema": ema,
                    "optimiser": optimiser.state_dict(),
                    "step": step,
                    "progress": progress,
                    "spent": spent,
                    "cycle": schedule.begin,
                    "tier": args.tier,
                    "seed": args.seed,
                    "steady": steady.memory(),
                    "decoded": decoded,
                    "best": best,
                },
            )
    if args.workers > 1:
        dist.barrier()


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", default=os.path.join(here, "..", ".cache", "codec"))
    parser.add_argument("--run", default=os.path.join(here, "..", "runs", "codec-s"))
    parser.add_argument("--tier", default="S", choices=list(codec.TIERS))
    parser.add_argument("--partner", help="checkpoint of the network of the other frames: tier K, or the one beside it")
    parser.add_argument("--filters", help="folder of a model whose loop filters (the middle set) belong to the loop")
    parser.add_argument("--hours", type=float, default=2.0, help="time budget of the whole schedule")
    parser.add_argument("--again", type=float, help="a new cycle: what is left of the budget goes on from this place (0 to 1; another place than the last cycle's)")
    parser.add_argument("--steps", type=int, default=0, help="schedule by steps instead of time (deterministic)")
    parser.add_argument("--stop-after", type=int, default=0, help="end at this step; the next start goes on")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-scale", type=float, default=1.0)
    parser.add_argument("--lr", type=float, default=7e-4)
    parser.add_argument("--muon", type=float, default=0.0, help="matrices by Muon, at so many times the rate; 0: all by AdamW")
    parser.add_argument("--clip", type=float, default=0.5)
    parser.add_argument("--spike", type=float, default=6.0, help="gradients so many times the usual are left out")
    parser.add_argument("--ema", type=float, default=0.998)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--int8-from", type=float, default=1.0, help="simulate 8-bit integers from this part of the schedule on")
    parser.add_argument("--fp32", action="store_true")
    parser.add_argument("--save-every", type=float, default=120)
    parser.add_argument("--check-every", type=float, default=420)
    args = parser.parse_args()
    args.run = os.path.abspath(args.run)
    os.makedirs(args.run, exist_ok=True)
    children = []
    for rank in range(1, args.workers):
        pid = os.fork()
        if pid == 0:
            try:
                worker(rank, args)
            finally:
                sys.stdout.flush()
                os._exit(0)
        children.append(pid)
    worker(0, args)
    for pid in children:
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
