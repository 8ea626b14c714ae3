// SPDX-License-Identifier: Apache-2.0
// What the codec's search for motion sees: luma of ten bits rounded to eight, and luma at half the size.

typedef struct {
  const void *from;
  u8 *to;
  u32 width, height; // of `to`
} CodecHalf;

KERNEL(codec_eight, CodecHalf) {
  u32 x = AT_X, y = AT_Y;
  if (x >= a.width || y >= a.height) return;
  u64 at = (u64)y * a.width + x;
  u32 v = (((const u16 *)a.from)[at] + 2u) >> 2;
  a.to[at] = (u8)(v < 255u ? v : 255u);
}

KERNEL(codec_half, CodecHalf) {
  u32 x = AT_X, y = AT_Y;
  if (x >= a.width || y >= a.height) return;
  const u8 *from = (const u8 *)a.from + (u64)y * 4 * a.width + 2 * x;
  u32 below = 2 * a.width;
  a.to[(u64)y * a.width + x] = (u8)((from[0] + from[1] + from[below] + from[below + 1] + 2u) >> 2);
}
