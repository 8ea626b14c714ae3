# SPDX-License-Identifier: Apache-2.0
"""Quick checks on synthetic data: `python -m unittest test_codec` in this folder."""

import json
import math
import os
import random
import subprocess
import sys
import tempfile
import unittest
from xml.etree import ElementTree

import cv2
import numpy as np
import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import complexity
import data
import export
import loop_filter
import model as codec
import plot
import real_encoder
import train
import widen
from int8 import Int8, rounded
from motion import CHROMA_LEAN, CHROMA_TAPS, LUMA_LEAN, LUMA_TAPS, Search, Warp, lean_reference

HERE = os.path.dirname(os.path.abspath(__file__))


def lively_net(seed=0):
    """The transform start with every layer disturbed, so that nothing is zero by luck."""
    torch.manual_seed(seed)
    net = codec.Codec("S")
    with torch.no_grad():
        for p in net.parameters():
            p.add_(torch.randn_like(p) * 0.02)
    export.half_weights(net)
    return net.eval()


def picture(rng, h, w):
    big = rng.integers(20, 235, (h // 16 + 1, w // 16 + 1)).astype(np.float32)
    y = np.kron(big, np.ones((16, 16), np.float32))[:h, :w] + rng.normal(0, 3, (h, w))
    uv = np.stack([y[::2, ::2] * 0.3 + 80, 170 - y[::2, ::2] * 0.3])
    return y.clip(0, 255).astype(np.uint8), uv.clip(0, 255).astype(np.uint8)


class Motion(unittest.TestCase):
    def test_warp_is_the_integer_filter(self):
        rng = np.random.default_rng(1)
        h, w = 64, 96
        y = rng.integers(0, 256, (h, w), dtype=np.uint8)
        uv = rng.integers(0, 256, (2, h // 2, w // 2), dtype=np.uint8)
        mv = rng.integers(-200, 200, (h // 8, w // 8, 2)).astype(np.int16)
        mv[0, 0], mv[0, 1] = (511, -511), (-3, 2)
        t = lambda a: torch.from_numpy(a.astype(np.float32))[None]
        py, puv = Warp()(t(y)[None], t(uv), torch.from_numpy(mv.astype(np.int64))[None])
        np.testing.assert_array_equal(py[0, 0].numpy(), lean_reference(y, mv, 8, LUMA_TAPS, LUMA_LEAN))
        for c in (0, 1):
            np.testing.assert_array_equal(puv[0, c].numpy(), lean_reference(uv[c], mv, 4, CHROMA_TAPS, CHROMA_LEAN))

    def test_taps_sum_to_64(self):
        self.assertTrue((LUMA_TAPS.sum(1) == 64).all() and (CHROMA_TAPS.sum(1) == 64).all())

    def test_search_finds_a_shift(self):
        rng = np.random.default_rng(2)
        y, _ = picture(rng, 128, 192)
        mv = search_or_skip(self)(np.stack([y, np.roll(y, (3, -5), (0, 1))]))[1]
        inner = mv[4:-4, 4:-4].reshape(-1, 2)
        self.assertGreater((inner == [20, -12]).all(1).mean(), 0.8)


def search_or_skip(test):
    """The encoder's search, where it has been compiled."""
    if not os.path.exists(Search.PROGRAM):
        test.skipTest(f"SKIP: {Search.PROGRAM} is missing")
    return Search()


class LoopFilter(unittest.TestCase):
    def test_torch_computes_what_numpy_does(self):
        rng = np.random.default_rng(4)
        weights = rng.integers(-25, 30, (loop_filter.CLASSES, loop_filter.TAPS))
        y, _ = picture(rng, 64, 96)
        y = (y + rng.normal(0, 3, y.shape)).clip(0, 255).astype(np.uint8)
        chroma = np.zeros((2, 32, 48), np.int32)
        want, _ = loop_filter.filtered(y.astype(np.int32), chroma, np.stack([weights, weights]), np.zeros((2, 4, 6), bool))
        got = loop_filter.Torch(weights)(torch.from_numpy(y)[None, None].float())[0, 0].numpy()
        np.testing.assert_array_equal(got, want)

    def test_weights_are_found_again(self):
        """Pictures whose error is what a filter makes are mended by the fit."""
        rng = np.random.default_rng(6)
        truth = np.zeros((2, loop_filter.CLASSES, loop_filter.TAPS), int)
        truth[0][:, [0, 5]] = 20
        truth[1][:, [1, 6]] = 16
        fit = loop_filter.Fit()
        still = np.zeros((2, 8, 8), bool)

        def noisy(side):
            return (np.kron(rng.integers(40, 200, (16, 16)), np.ones((side // 16,) * 2)) + rng.normal(0, 2, (side, side))).clip(0, 255).astype(np.int32)

        for _ in range(6):
            luma, chroma = noisy(128), np.stack([noisy(64), noisy(64)])
            source = loop_filter.filtered(luma, chroma, truth, still)
            fit.add(luma, chroma, *source, still)
        sets = fit.sets()
        *mended, number = loop_filter.choose(luma, chroma, source[0], sets, still)
        self.assertGreater(number, 0)
        for mended, before, source in zip(mended, (luma, chroma), source):
            self.assertLess(np.square(mended - source).sum(), 0.2 * np.square(before - source).sum())
        tail = loop_filter.numbers(sets)
        self.assertEqual(len(tail), 2 * (1 + loop_filter.SETS * loop_filter.CLASSES * loop_filter.TAPS))

    def test_untouched_blocks_stay(self):
        rng = np.random.default_rng(7)
        luma, chroma = rng.integers(0, 256, (32, 32)), rng.integers(0, 256, (2, 16, 16))
        skips = np.array([[[True, False], [False, True]], [[True, True], [False, False]]])
        weights = rng.integers(10, 30, (2, loop_filter.CLASSES, loop_filter.TAPS))
        for before, after, skip, side in zip((luma[None], chroma), loop_filter.filtered(luma, chroma, weights, skips), skips, (16, 8)):
            changed = (after != before).any(0).reshape(2, side, 2, side).any((1, 3))
            np.testing.assert_array_equal(changed, ~skip)


class Training(unittest.TestCase):
    def test_gradients_out_of_proportion_are_left_out(self):
        from train import Steady

        steady = Steady(6.0)
        for i in range(200):
            self.assertTrue(steady.takes(3.0 + i % 2))
        for wild in (30.0, math.nan, math.inf):
            self.assertFalse(steady.takes(wild))
        self.assertTrue(steady.takes(9.0))
        again = Steady(6.0)
        vars(again).update(steady.memory())
        self.assertFalse(again.takes(30.0))
        with self.assertRaisesRegex(SystemExit, "come apart"):
            for _ in range(300):
                again.takes(math.nan)


class Entropy(unittest.TestCase):
    def test_contexts(self):
        rng = np.random.default_rng(3)
        s, p = rng.integers(-3, 4, (2, 1, 16, 4, 2))
        got = codec.contexts(torch.from_numpy(s).float(), torch.from_numpy(p).float(), 8).numpy()
        for y in range(16):
            for x in range(4):
                for c in range(2):
                    at = lambda dy, dx: (
                        abs(s[0, y + dy, x + dx, c]) if 0 <= x + dx < 4 and y + dy >= y // 8 * 8 else 0
                    )
                    m = 2 * at(0, -1) + 2 * at(-1, 0) + at(-1, -1) + at(-1, 1) + at(0, -2) + at(-2, 0) + 2 * abs(p[0, y, x, c])
                    want = next((i for i, top in enumerate((0, 2, 4, 8, 16)) if m <= top), 5)
                    self.assertEqual(got[0, y, x, c], want)

    def test_activity_levels(self):
        rng = np.random.default_rng(7)
        s = rng.integers(-2, 3, (1, 2, 3, 32)) * rng.integers(0, 2, (1, 2, 3, 32))
        got = codec.activity_levels(torch.from_numpy(s).float()).numpy()
        for y, x, c in np.ndindex(2, 3, 32):
            first = c // 4 * 4
            total = np.abs(s[0, y, x, max(0, first - 16) : first]).sum()
            self.assertEqual(got[0, y, x, c], next((i for i, top in enumerate((0, 2, 6, 15)) if total <= top), 4))

    def test_z_contexts(self):
        z = np.random.default_rng(5).integers(-9, 10, (1, 4, 3, 5))
        got = codec.z_contexts(torch.from_numpy(z), 8).numpy()
        for y, x, c in np.ndindex(4, 3, 5):
            at = lambda dy, dx, dc: abs(z[0, y + dy, x + dx, c + dc]) if c + dc >= 0 else 0
            before = at(0, 0, -1) + at(0, 0, -2)
            around = [at(dy, dx, 0) for dy, dx, there in ((0, -1, x > 0), (-1, 0, y % 2 > 0)) if there]
            want = (2 * sum(around) // len(around) + 2 * before + 1) // 3 if around else before
            self.assertEqual(got[0, y, x, c], min(want, 15))

    def test_tables(self):
        counts = export.Counts(codec.TIERS["S"])
        # One channel's symbols at index 4 (3 here) are those of others at 6.
        k = np.abs(np.arange(-export.Y_MAX, export.Y_MAX + 2))
        for channel in range(128):
            for i in range(3, 8):
                strength = i + (2 if channel == 7 else 0)
                counts.y[channel, i, 1] = 1e4 * np.exp(-k / strength) / strength
        z, y, offsets = counts.tables()
        self.assertEqual(offsets[7], 2)
        self.assertEqual(np.count_nonzero(offsets), 1)
        raw = export.table_bytes(z, y, offsets)
        z2, y2, offsets2 = export.read_tables(raw)
        np.testing.assert_array_equal(z, z2)
        np.testing.assert_array_equal(y, y2)
        np.testing.assert_array_equal(offsets, offsets2[:128])
        for t in (z, y):
            self.assertTrue((t.astype(int).sum(-1) == 1 << export.PROB_BITS).all() and t.min() >= 1)


class RealEncoder(unittest.TestCase):
    def run_of(self, frames):
        y, uv = picture(np.random.default_rng(6), 128, 192)
        i420 = lambda shift: np.concatenate([np.roll(y, shift, 1).reshape(-1), np.roll(uv, shift // 2, 2).reshape(-1)]).reshape(192, 192)
        return np.stack([i420(2 * min(t, 2)) for t in range(frames)])

    def test_its_symbols_are_where_the_tables_expect_them(self):
        if not os.path.exists(os.path.join(real_encoder.PROGRAMS, "coded_symbols")) or "ORT_DYLIB_PATH" not in os.environ:
            self.skipTest("SKIP: . env.sh; cargo build --release -p aivideo-codec --example coded_symbols")
        tiers = codec.TIERS["S"], codec.TIERS["K"]
        encoder = real_encoder.Encoder(os.path.join(HERE, "../../codec"), *tiers)
        frames = encoder(self.run_of(5), 20)
        self.assertEqual([frame and frame[0] for frame in frames[:3]], [True, False, False])
        counts = export.Counts(tiers[0])
        net = codec.Codec("S")
        for (key, skip, z, y), last in zip(frames[1:3], (None, frames[1][3])):
            idx = z[..., : net.n_idx].abs().repeat_interleave(4, 1).repeat_interleave(4, 2).repeat_interleave(4, 3)
            self.assertEqual(y.shape, (1, 8, 12, 128))
            self.assertTrue((y[(idx == 0) | (skip.expand_as(y) > 0)] == 0).all())
            self.assertGreater(float(y.abs().sum()), 0)
            counts.add(net, z, y, skip, last, torch.tensor([20]), tile_rows=8)
        # What was not counted as an escape is what the encoder made.
        values = counts.y.sum((0, 1, 2))
        for value in (1, 2, 3):
            made = sum(int((y.abs() == value).sum()) for _, _, _, y in frames[1:3])
            self.assertEqual(values[export.Y_MAX + value] + values[export.Y_MAX - value], made)

    def test_predicted_frames_of_every_clip_are_counted(self):
        tiers = codec.TIERS["K"], codec.TIERS["S"]
        added, told = [], []

        class Fake:
            def __call__(self, pictures, quality):
                self.tiers = tiers
                assert pictures.shape == (real_encoder.FRAMES, 3 * 192 // 2, 256), pictures.shape
                blank = lambda *channels: [torch.full((1, 2, 3, n), float(quality)) for n in channels]
                return [(True, *blank(1, 1, 1)), (False, *blank(1, 1, 1)), None, (False, *blank(1, 1, 1))]

        class Kept:
            def add(self, net, z, y, skip, last, quality, tile_rows):
                added.append((int(quality), last is not None, tile_rows))

        fake = Fake()
        fake.tiers = tiers
        with tempfile.TemporaryDirectory() as root:
            os.mkdir(os.path.join(root, "video"))
            for name, frames in (("a.avi", 40), ("b.avi", real_encoder.FRAMES), ("short.avi", 5)):
                clip = cv2.VideoWriter(os.path.join(root, "video", name), cv2.VideoWriter_fourcc(*"MJPG"), 25, (256, 192))
                for t in range(frames):
                    clip.write(np.full((192, 256, 3), 4 * t, np.uint8))
                clip.release()
            real_encoder.count(Kept(), None, fake, root, log=lambda line, **_: told.append(line))
        self.assertEqual(added, [(q, later, 2) for _ in range(2) for q in real_encoder.QUALITIES for later in (False, True)])
        self.assertEqual(told[-1], "counted 3 of 3 clips")

    def test_an_encoder_that_ends_early_is_an_error(self):
        with tempfile.TemporaryDirectory() as folder:
            program = os.path.join(folder, "ends")
            with open(program, "w") as f:
                f.write("#!/bin/sh\necho no model >&2\nexit 3\n")
            os.chmod(program, 0o700)
            encoder = real_encoder.Encoder("nowhere", codec.TIERS["S"], codec.TIERS["K"], program=program)
            with self.assertRaisesRegex(RuntimeError, "status 3: no model"):
                encoder(self.run_of(1), 20)


class Graphs(unittest.TestCase):
    def test_encoder_decoder_and_torch_agree(self):
        try:
            import onnxruntime as ort
        except ImportError:
            self.skipTest("SKIP: onnxruntime is not installed")
        net = lively_net()
        sessions = [
            ort.InferenceSession(make(net, {"aicodec.version": "1"}).SerializeToString(), providers=["CPUExecutionProvider"])
            for make in (export.encode_graph, export.decode_graph)
        ]
        rng = np.random.default_rng(4)
        h, w = 128, 192
        y, uv = picture(rng, h, w)
        py, puv = picture(np.random.default_rng(4), h, w)
        feed = {
            "pred_y": np.roll(py, 2, 1)[None, None],
            "pred_uv": np.roll(puv, 1, 2)[None],
            "state": rng.integers(-20, 20, (1, 32, h // 8, w // 8)).astype(np.int8),
            "quality": np.array([37], np.int64),
        }
        skip = (rng.random((1, 1, h // 16, w // 16)) < 0.3).astype(np.uint8)
        z, sym, ry, ruv, state = sessions[0].run(
            ["z", "sym", "rec_y", "rec_uv", "new_state"], {**feed, "y": y[None, None], "uv": uv[None], "skip": skip}
        )
        self.assertGreater((sym != 0).mean(), 0.001)
        self.assertEqual(np.abs(sym * skip).max(), 0)
        idx = np.abs(z[:, : net.n_idx]).repeat(4, 1).repeat(4, 2).repeat(4, 3)
        self.assertEqual(np.abs(sym[idx == 0]).max(initial=0), 0)
        dy, duv, dstate = sessions[1].run(["rec_y", "rec_uv", "new_state"], {**feed, "z": z, "sym": sym})
        for a, b in ((ry, dy), (ruv, duv), (state, dstate)):
            self.assertLessEqual(np.abs(a.astype(int) - b).max(), 1)
        t = lambda a: torch.from_numpy(a)
        with torch.no_grad():
            out, s, tsym, _, _, tz = net.frame(
                codec.to_net(t(y)[None, None].float(), t(uv)[None].float()),
                codec.to_net(t(feed["pred_y"]).float(), t(feed["pred_uv"]).float()),
                t(feed["state"]).float().permute(0, 2, 3, 1) / codec.STATE_SCALE,
                t(feed["quality"]),
                skip=t(skip).float().permute(0, 2, 3, 1),
                hard=True,
            )
        self.assertLess((tsym.permute(0, 3, 1, 2).numpy() != sym).mean(), 1e-3)
        self.assertLess((tz.permute(0, 3, 1, 2).numpy() != z).mean(), 1e-2)
        got = np.floor(codec.from_net(out)[0].numpy() + 0.5).clip(0, 255)
        self.assertLess(np.abs(got - ry).mean(), 0.05)

    def test_ten_bits_are_quarters_of_the_same_levels(self):
        try:
            import onnxruntime as ort
        except ImportError:
            self.skipTest("SKIP: onnxruntime is not installed")
        net = lively_net()
        eight = [make(net, {"aicodec.version": "1"}) for make in (export.encode_graph, export.decode_graph)]
        before = [m.SerializeToString() for m in eight]
        ten = [export.ten_bits(m) for m in eight]
        self.assertEqual([m.SerializeToString() for m in eight], before)
        for m in ten:
            self.assertEqual({p.key: p.value for p in m.metadata_props}, {"aicodec.version": "1", "aicodec.bit-depth": "10"})

        def run(model, outputs, feed):
            session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
            return session.run(outputs, feed)

        rng = np.random.default_rng(6)
        h, w = 128, 192
        y, uv = picture(rng, h, w)
        source = {"y": y[None, None], "uv": uv[None]}
        pred = {"pred_y": np.roll(y, 2, 1)[None, None], "pred_uv": np.roll(uv, 1, 2)[None]}
        common = {
            "state": rng.integers(-20, 20, (1, 32, h // 8, w // 8)).astype(np.int8),
            "quality": np.array([37], np.int64),
        }
        skip = {"skip": np.zeros((1, 1, h // 16, w // 16), np.uint8)}
        deep = lambda feed: {k: 4 * v.astype(np.uint16) for k, v in feed.items()}
        z, sym = run(eight[0], ["z", "sym"], source | pred | common | skip)
        z10, sym10 = run(ten[0], ["z", "sym"], deep(source) | deep(pred) | common | skip)
        self.assertLess((sym != sym10).mean(), 3e-3)
        self.assertLess((z != z10).mean(), 1e-2)
        # The decoders are given the same symbols.
        symbols = {"z": z, "sym": sym}
        a = run(eight[1], ["rec_y", "rec_uv"], symbols | pred | common)
        b = run(ten[1], ["rec_y", "rec_uv"], symbols | deep(pred) | common)
        for a, b in zip(a, b):
            self.assertEqual(b.dtype, np.uint16)
            inside = (a > 0) & (a < 255)
            self.assertLessEqual(np.abs(a - b / 4)[inside].max(), 0.5)
            # Not only whole levels.
            self.assertGreater((b % 4 != 0).mean(), 0.3)


class Int8Simulation(unittest.TestCase):
    def test_values_are_rounded_and_gradients_pass(self):
        torch.manual_seed(1)
        x = torch.randn(5, 7, 16, requires_grad=True)
        layer = torch.nn.Linear(16, 4)
        with Int8():
            got = layer(x)
        self.assertLess((got - layer(x)).abs().max(), 0.05)
        self.assertGreater((got - layer(x)).abs().max(), 0)
        grid = rounded(layer.weight, (1,)) / (layer.weight.abs().amax(1, keepdim=True) / 127)
        self.assertLess((grid - grid.round()).abs().max(), 1e-3)
        got.sum().backward()
        self.assertTrue((x.grad != 0).all() and (layer.weight.grad != 0).all())

    def test_a_frame_survives(self):
        net, rng = lively_net(), np.random.default_rng(6)
        y, uv = (torch.from_numpy(a).float()[None] for a in picture(rng, 128, 192))
        x = codec.to_net(y[None], uv)
        blank = torch.zeros(1, 16, 24, 32), torch.tensor([30])
        with torch.no_grad():
            exact = net.frame(x, torch.zeros_like(x), *blank)[0]
            with Int8():
                close = net.frame(x, torch.zeros_like(x), *blank)[0]
        self.assertLess((exact - close).abs().mean(), 0.1)
        self.assertGreater((exact - close).abs().mean(), 0)


class Drift(unittest.TestCase):
    def test_moves_a_share_by_a_step(self):
        torch.manual_seed(2)
        moved = train.drift(torch.zeros(100_000), 1.0, 0.04)
        self.assertEqual(set(moved.unique().tolist()), {-1.0, 0.0, 1.0})
        self.assertAlmostEqual(moved.abs().mean().item(), 0.04, delta=0.005)


class Plot(unittest.TestCase):
    def test_log_becomes_curves(self):
        with tempfile.TemporaryDirectory() as root:
            rows = [
                {"step": i, "progress": i / 9, "frames": 2 + i // 3, "lr": 1e-4, "loss": -i, "norm": 1, "key_psnr": 30 + i,
                 "key_bpp": 1 / (i + 1), "psnr": 29 + i, "bpp": 0.1, "bpp_z": 0.01}
                for i in range(10)
            ]
            rows.append({"check": 9, "progress": 1, "rows": [{"q": 8, "key_psnr": 35, "key_bpp": 0.3, "psnr": 34, "bpp": 0.1, "loss": -2}]})
            path = os.path.join(root, "log.jsonl")
            with open(path, "w") as f:
                f.writelines(json.dumps(r) + "\n" for r in rows)
            svg = plot.draw(plot.read(path))
            self.assertEqual(ElementTree.fromstring(svg).tag, "{http://www.w3.org/2000/svg}svg")
            self.assertIn("held out, q 8", svg)
            self.assertIn("4 frames", svg)


class Tiers(unittest.TestCase):
    def test_every_tier_trains_and_exports(self):
        try:
            import onnxruntime  # noqa: F401
        except ImportError:
            self.skipTest("SKIP: onnxruntime is not installed")
        y, uv = (torch.from_numpy(a).float()[None] for a in picture(np.random.default_rng(8), 128, 128))
        x = codec.to_net(y[None], uv)
        cost = []
        for name, tier in codec.TIERS.items():
            torch.manual_seed(0)
            net = codec.Codec(name)
            state = torch.zeros(1, 16, 16, tier.m)
            out, _, _, by, bz, _ = net.frame(x, torch.zeros_like(x), state, torch.tensor([40]))
            mse = (codec.from_net(out)[0] - y).square().mean()
            # The start is a transform codec.
            self.assertLess(mse, 60, name)
            (mse + by.sum() + bz.sum()).backward()
            for graph in (export.encode_graph, export.decode_graph):
                with tempfile.NamedTemporaryFile(suffix=".onnx") as f:
                    f.write(graph(net, {"aicodec.version": "1"}).SerializeToString())
                    f.flush()
                    cost.append(complexity.kmac(f.name))
        self.assertTrue(all(a < b for a, b in zip(cost[:2], cost[2:4])) and all(a < b for a, b in zip(cost[2:4], cost[4:])))


class Widen(unittest.TestCase):
    def test_the_larger_network_begins_as_the_smaller_one(self):
        small = codec.Codec("S").eval()
        large = widen.widen(small, "K").eval()
        rng = np.random.default_rng(9)
        y, uv = picture(rng, 128, 192)
        t = lambda a: torch.from_numpy(a.astype(np.float32))[None]
        x = codec.to_net(t(y)[None], t(uv))
        state = torch.zeros(1, 16, 24, small.tier.m)
        results = []
        with torch.no_grad():
            for net in (small, large):
                out, new_state, _, bits, *_ = net.frame(x, torch.zeros_like(x), state, torch.tensor([40]), hard=True)
                results.append((out, new_state, bits))
        (a, sa, ba), (b, sb, bb) = results
        error = (a - x).square().mean()
        self.assertLess((a - b).square().mean(), 0.1 * error)
        self.assertLess((sa - sb).abs().mean(), 0.1 * sa.abs().mean())
        self.assertLess((bb / ba - 1).abs().item(), 0.2)


class Resume(unittest.TestCase):
    def test_a_stopped_run_ends_where_an_unbroken_one_does(self):
        with tempfile.TemporaryDirectory() as root:
            cache = os.path.join(root, "cache")
            os.mkdir(cache)
            rng = np.random.default_rng(5)
            search = search_or_skip(self)
            for i in range(2):
                base = rng.integers(0, 256, (16, 20, 3)).astype(np.uint8).repeat(16, 0).repeat(16, 1)
                frames = [np.roll(base, 2 * t, 1)[:208, :272] for t in range(data.FRAMES)]
                data.save_segment(os.path.join(cache, f"seg_{i}"), frames, search)

            def run_trainer(run, *more):
                command = [sys.executable, os.path.join(HERE, "train.py"), "--cache", cache, "--run", run]
                command += ["--steps", "9", "--batch-scale", "0.2", *more]
                subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
                return torch.load(os.path.join(run, "last.pt"), weights_only=False)

            whole = run_trainer(os.path.join(root, "a"))
            # The last step goes on from what the fifth, before the stop, has decoded.
            run_trainer(os.path.join(root, "b"), "--stop-after", "6")
            parts = run_trainer(os.path.join(root, "b"))
            self.assertEqual((whole["step"], parts["step"]), (9, 9))
            _, number, window = train.window_of(8)
            self.assertEqual(parts["decoded"][0][:2], (number, window + 1))
            for kind in ("net", "ema"):
                for k, v in whole[kind].items():
                    self.assertTrue(torch.equal(v, parts[kind][k]), f"{kind} {k}")


class LongRuns(unittest.TestCase):
    def test_lanes_pass_through_their_runs_in_order(self):
        for lane in range(train.LANES):
            places = [train.window_of(step) for step in range(200) if step % train.LANES == lane]
            self.assertTrue(all(place[0] == lane for place in places))
            flat = [number * train.WINDOWS + window for _, number, window in places]
            self.assertEqual(flat, list(range(flat[0], flat[0] + len(flat))))
        # At any time they are at different windows.
        self.assertEqual(len({train.window_of(lane)[2] for lane in range(train.LANES)}), train.LANES)

    def test_a_run_in_two_parts_is_the_run_in_one(self):
        rng = np.random.default_rng(12)
        y, uv = picture(rng, 64, 64)
        ys = np.stack([np.roll(y, 2 * t, 1) for t in range(7)])[None]
        uvs = np.stack([np.roll(uv, t, 2) for t in range(7)])[None]
        mvs = np.zeros((1, 7, 8, 8, 2), np.int64)
        seq = train.Sequence(lively_net(), torch.device("cpu"), bf16=False)
        part = lambda first, end: tuple(v[:, first:end] for v in (ys, uvs, mvs))
        with torch.no_grad():
            whole = seq(part(0, 7), [30], hard=True)
            head = seq(part(0, 4), [30], hard=True)
            tail = seq(part(3, 7), [30], hard=True, before=seq.decoded, first=3)
        self.assertEqual(len(head + tail), len(whole))
        for a, b in zip(whole, head + tail):
            self.assertEqual((a["key"], a["q"].tolist(), a["mse"].tolist(), a["bpp"].tolist()), (b["key"], b["q"].tolist(), b["mse"].tolist(), b["bpp"].tolist()))

    def test_what_is_predicted_well_is_skipped(self):
        y, uv = torch.full((1, 1, 32, 32), 100.0), torch.full((1, 2, 16, 16), 100.0)
        py, q = y.clone(), torch.tensor([30])
        py[..., :16, :16] += 40  # one bad block
        got = train.skipped(y, uv, py, uv, q, 1)
        self.assertEqual(got.reshape(-1).tolist(), [0, 1, 1, 1])
        worth = train.skipped_below(30) / codec.quality_lambda(30)
        py = y + (worth / 256) ** 0.5 * 0.99
        self.assertTrue(train.skipped(y, uv, py, uv, q, 1).all())
        self.assertFalse(train.skipped(y, uv, py, uv, q, 0.9).any())


class Segments(unittest.TestCase):
    def test_segments_that_are_too_short_are_an_error(self):
        with tempfile.TemporaryDirectory() as root:
            np.save(os.path.join(root, "seg_0_13x16x16.npy"), np.zeros(13 * 16 * 16 * 3 // 2 + 13 * 4 * 4, np.uint8))
            segments = data.Segments(root)
            self.assertEqual(segments.batch(random.Random(1), 1, 13, 16, 16)[0].shape, (1, 13, 16, 16))
            with self.assertRaisesRegex(ValueError, "25 frames of 16x16"):
                segments.batch(random.Random(1), 1, 25, 16, 16)


class Cycles(unittest.TestCase):
    def test_a_new_cycle_has_what_is_left_of_the_budget(self):
        whole = train.Schedule(0, 2)
        self.assertEqual(whole.place(0, 3600), 0.5)
        again = train.Schedule(0, 3, (0.4, 7200))
        self.assertAlmostEqual(again.place(0, 7200), 0.4)
        self.assertAlmostEqual(again.place(0, 9000), 0.7)
        self.assertAlmostEqual(again.place(0, 10800), 1.0)
        self.assertEqual(train.Schedule(10, 0, (0.4, 7200)).place(5, 7200), 0.5)


if __name__ == "__main__":
    unittest.main()
