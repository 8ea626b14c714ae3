// SPDX-License-Identifier: Apache-2.0
// How many samples of a PQ picture of ten bits and narrow range have each code of their brightest
// channel: elements/enhance/src/hdr/light.rs. Every second row is looked at; a position is a pair of
// its samples.

typedef struct {
  const u8 *y, *u, *v; // first samples
  u32 *counts;         // 1024
  u32 width, height;
  u32 y_stride, u_stride, v_stride, c_step; // bytes, also between the samples of a component
  u32 depth;           // as get_sample has it
  u32 unused;
} Light;

KERNEL(light, Light) {
  u32 cx = AT_X, cy = AT_Y;
  if (cx >= (a.width + 1) / 2 || cy >= (a.height + 1) / 2) return;
  u64 at = (u64)cx * a.c_step;
  i32 u = get_sample(a.u + (u64)cy * a.u_stride + at, a.depth) - 512;
  i32 v = get_sample(a.v + (u64)cy * a.v_stride + at, a.depth) - 512;
  // Codes of a channel above luma's, in 16 bits behind the point.
  i32 red = 94482 * v, green = -10543 * u - 36608 * v, blue = 120547 * u;
  i32 above = red > green ? red : green;
  above = (blue > above ? blue : above) >> 16;
  const u8 *row = a.y + (u64)(2 * cy) * a.y_stride;
  for (u32 x = 2 * cx; x < 2 * cx + 2 && x < a.width; x++)
    add_to(a.counts + limit_int(get_sample(row + 2 * (u64)x, a.depth) + above, 0, 1023), 1);
}
