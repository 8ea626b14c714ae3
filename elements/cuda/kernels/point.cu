// SPDX-License-Identifier: Apache-2.0
// Effects on single samples: a table for each component, in place. The samples of a row belong to
// components in a repeating order (U V U V, R G B A).

typedef struct {
  u8 *samples;
  const void *tables; // `period` tables one after the other, of 256 bytes or of 1024 words
  u32 width, height;  // width in samples
  u32 stride;         // bytes
  u32 period;
  u32 shift; // codes lie above so many bits (P010: 6)
  u32 unused;
} Point;

KERNEL(point_8, Point) {
  u32 x = AT_X, y = AT_Y;
  if (x >= a.width || y >= a.height) return;
  u8 *p = a.samples + (u64)y * a.stride + x;
  *p = ((const u8 *)a.tables)[x % a.period * 256 + *p];
}

KERNEL(point_10, Point) {
  u32 x = AT_X, y = AT_Y;
  if (x >= a.width || y >= a.height) return;
  u16 *p = (u16 *)(a.samples + (u64)y * a.stride) + x;
  u32 v = (u32)(*p >> a.shift) & 1023u;
  *p = (u16)(((const u16 *)a.tables)[x % a.period * 1024 + v] << a.shift);
}
