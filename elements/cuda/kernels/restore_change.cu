// SPDX-License-Identifier: Apache-2.0
// Moves a component of a picture, in place, by what the restoration net changed in its eight bits, times
// a share of 256. Ten bits keep what eight do not have.

typedef struct {
  u8 *samples;               // the component's first
  const u8 *before, *after; // planes of bytes as wide as the net's
  u32 width, height;
  u32 stride, step;
  u32 plane_width;
  u32 depth; // as in restore_read
  i32 share;
  u32 unused;
} RestoreChange;

KERNEL(restore_change, RestoreChange) {
  u32 x = AT_X, y = AT_Y;
  if (x >= a.width || y >= a.height) return;
  u8 *p = a.samples + (u64)y * a.stride + (u64)x * a.step;
  u64 at = (u64)y * a.plane_width + x;
  i32 moved = ((i32)a.after[at] - (i32)a.before[at]) * a.share;
  if (a.depth == 8) {
    *p = (u8)limit_int((i32)a.before[at] + ((moved + 128) >> 8), 0, 255);
    return;
  }
  u32 v = *(const u16 *)p;
  v = a.depth == 16 ? v >> 6 : v & 1023u;
  i32 value = limit_int((i32)v + ((moved + 32) >> 6), 0, 1023);
  *(u16 *)p = (u16)(a.depth == 16 ? value << 6 : value);
}
