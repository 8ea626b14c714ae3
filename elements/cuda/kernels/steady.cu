// SPDX-License-Identifier: Apache-2.0
// What stabilisation does to samples: luma reduced to means of blocks, in which the host looks for motion, and a
// component moved by a similarity with Catmull-Rom samples, as on the CPU (elements/enhance/src/stabilize/pyramid.rs
// and warp.rs), sample for sample.

typedef struct {
  const u8 *in; // the component's first sample
  u8 *out;      // out_width * out_height, tightly packed
  u32 stride, step;
  u32 out_width, out_height;
  u32 by; // side of a block
  u32 unused;
} SteadyReduce;

KERNEL(steady_reduce, SteadyReduce) {
  u32 x = AT_X, y = AT_Y;
  if (x >= a.out_width || y >= a.out_height) return;
  u32 sum = 0, area = a.by * a.by;
  for (u32 j = 0; j < a.by; j++)
    for (u32 i = 0; i < a.by; i++)
      sum += a.in[(u64)(y * a.by + j) * a.stride + (u64)(x * a.by + i) * a.step];
  a.out[(u64)y * a.out_width + x] = (u8)((sum + area / 2) / area);
}

typedef struct {
  const u8 *in;
  u8 *out;
  u32 width, height;
  u32 in_stride, in_step, out_stride, out_step;
  float c, s, x, y; // where a sample comes from, about the middle
  u32 weights[128]; // of four neighbours at each of 64 steps, two of 16 bits each
} SteadyWarp;

// 16 fractional bits, rounded to nearest, halves away from zero.
DEVICE i64 steady_fixed(float v) {
  double scaled = (double)v * 65536.0;
  return (i64)(scaled < 0.0 ? ceil(scaled - 0.5) : floor(scaled + 0.5));
}

DEVICE i32 steady_weight(const u32 *weights, u32 phase, u32 at) {
  u32 both = weights[2 * phase + (at >> 1)];
  return (i32)(i16)(at & 1u ? both >> 16 : both & 0xffffu);
}

KERNEL(steady_warp, SteadyWarp) {
  u32 column = AT_X, row = AT_Y;
  if (column >= a.width || row >= a.height) return;
  float mx = (float)(a.width - 1) / 2.0f, my = (float)(a.height - 1) / 2.0f;
  float qx = -mx, qy = (float)row - my;
  i64 half = 1 << 9;
  i64 x = steady_fixed(a.c * qx - a.s * qy + a.x + mx) + half + steady_fixed(a.c) * (i64)column;
  i64 y = steady_fixed(a.s * qx + a.c * qy + a.y + my) + half + steady_fixed(a.s) * (i64)column;
  i64 xi = x >> 16, yi = y >> 16;
  u32 px = (u32)(x & 0xffff) >> 10, py = (u32)(y & 0xffff) >> 10;
  i32 sum = 0;
  for (u32 k = 0; k < 4; k++) {
    i64 r = yi - 1 + (i64)k;
    r = r < 0 ? 0 : r >= (i64)a.height ? (i64)a.height - 1 : r;
    const u8 *line = a.in + (u64)r * a.in_stride;
    i32 part = 0;
    for (u32 n = 0; n < 4; n++) {
      i64 c = xi - 1 + (i64)n;
      c = c < 0 ? 0 : c >= (i64)a.width ? (i64)a.width - 1 : c;
      part += (i32)line[(u64)c * a.in_step] * steady_weight(a.weights, px, n);
    }
    sum += part * steady_weight(a.weights, py, k);
  }
  a.out[(u64)row * a.out_stride + (u64)column * a.out_step] = (u8)limit_int((sum + (1 << 13)) >> 14, 0, 255);
}
