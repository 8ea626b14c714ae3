// SPDX-License-Identifier: Apache-2.0
// A component of a frame to a plane of the codec's: the opposite of codec_show.cu. The plane is larger; what
// lies beyond the frame repeats its right and lower edge.

typedef struct {
  const u8 *samples; // the component's first
  void *plane;       // plane_width samples a row, plane_height rows; ten bits in the lower ones of two bytes
  u32 width, height;
  u32 plane_width, plane_height;
  u32 stride, step; // bytes to the next row, and to the next sample of the component
  u32 depth;        // 8; 10 in the lower bits of two bytes; 16: 10 in the upper bits
} CodecLoad;

KERNEL(codec_load, CodecLoad) {
  u32 x = AT_X, y = AT_Y;
  if (x >= a.plane_width || y >= a.plane_height) return;
  u32 from_x = x < a.width ? x : a.width - 1, from_y = y < a.height ? y : a.height - 1;
  const u8 *from = a.samples + (u64)from_y * a.stride + (u64)from_x * a.step;
  u64 to = (u64)y * a.plane_width + x;
  if (a.depth == 8) {
    ((u8 *)a.plane)[to] = *from;
    return;
  }
  u32 v = *(const u16 *)from;
  ((u16 *)a.plane)[to] = (u16)(a.depth == 16 ? v >> 6 : v & 1023u);
}
