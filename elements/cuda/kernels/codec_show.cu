// SPDX-License-Identifier: Apache-2.0
// A component of a decoded picture to a frame: the part that is shown, at the frame's strides, alone or
// interleaved, in its form of ten bits.

typedef struct {
  const void *plane; // plane_width samples a row; ten bits in the lower ones of two bytes
  u8 *samples;       // the component's first
  u32 width, height;
  u32 plane_width;
  u32 stride, step; // bytes to the next row, and to the next sample of the component
  u32 depth;        // 8; 10 in the lower bits of two bytes; 16: 10 in the upper bits
} CodecShow;

KERNEL(codec_show, CodecShow) {
  u32 x = AT_X, y = AT_Y;
  if (x >= a.width || y >= a.height) return;
  u64 from = (u64)y * a.plane_width + x;
  u8 *to = a.samples + (u64)y * a.stride + (u64)x * a.step;
  if (a.depth == 8) {
    *to = ((const u8 *)a.plane)[from];
    return;
  }
  u32 v = ((const u16 *)a.plane)[from];
  *(u16 *)to = (u16)(a.depth == 16 ? v << 6 : v);
}
