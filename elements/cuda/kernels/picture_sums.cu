// SPDX-License-Identifier: Apache-2.0
// A thumbnail of a component of eight bits: for each of side x side fields the sum of a few samples. A
// field has `parts` places along a side, of which every so many-th is taken.

typedef struct {
  const u8 *samples; // the component's first
  u16 *out;
  u32 width, height;
  u32 stride, step; // bytes to the next row, and to the next sample of the component
  u32 side, parts;
  u32 first, every, count; // places of a field that are taken, along a side
  u32 unused;
} PictureSums;

KERNEL(picture_sums, PictureSums) {
  u32 x = AT_X, y = AT_Y;
  if (x >= a.side || y >= a.side) return;
  u32 all = a.side * a.parts, sum = 0;
  for (u32 j = 0; j < a.count; j++) {
    u32 row = (y * a.parts + a.first + j * a.every) * a.height / all;
    for (u32 i = 0; i < a.count; i++) {
      u32 column = (x * a.parts + a.first + i * a.every) * a.width / all;
      sum += a.samples[(u64)row * a.stride + (u64)column * a.step];
    }
  }
  a.out[y * a.side + x] = (u16)sum;
}
