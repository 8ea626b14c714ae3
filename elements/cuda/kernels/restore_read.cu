// SPDX-License-Identifier: Apache-2.0
// A component of a picture (luma, or one of chroma, interleaved or not) to a plane of bytes for the
// restoration net: ten bits become eight, and the last sample of a row and the last row are repeated
// up to the net's size.

typedef struct {
  const u8 *samples; // the component's first
  u8 *out;           // out_width * out_height, tightly packed
  u32 width, height;
  u32 stride, step;  // bytes to the next row, and to the next sample of the component
  u32 out_width, out_height;
  u32 depth;         // 8; 10 in the lower bits of two bytes; 16: 10 in the upper bits
  u32 unused;
} RestoreRead;

KERNEL(restore_read, RestoreRead) {
  u32 x = AT_X, y = AT_Y;
  if (x >= a.out_width || y >= a.out_height) return;
  u32 in_x = x < a.width ? x : a.width - 1, in_y = y < a.height ? y : a.height - 1;
  const u8 *p = a.samples + (u64)in_y * a.stride + (u64)in_x * a.step;
  u32 v = p[0];
  if (a.depth != 8) {
    v = *(const u16 *)p;
    v = ((a.depth == 16 ? v >> 6 : v & 1023u) + 2u) >> 2;
    v = v < 255u ? v : 255u;
  }
  a.out[(u64)y * a.out_width + x] = (u8)v;
}
