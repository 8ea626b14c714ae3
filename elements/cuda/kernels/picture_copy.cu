// SPDX-License-Identifier: Apache-2.0
// A component of a picture to another of its size and depth, whatever the strides, the place of chroma
// and the bits that ten of them lie in.

typedef struct {
  const u8 *from; // first samples
  u8 *to;
  u32 width, height;
  u32 stride, step; // bytes to the next row, and to the next sample of the component
  u32 stride_to, step_to;
  u32 depth, depth_to; // as get_sample has them
} PictureCopy;

KERNEL(picture_copy, PictureCopy) {
  u32 x = AT_X, y = AT_Y;
  if (x >= a.width || y >= a.height) return;
  i32 v = get_sample(a.from + (u64)y * a.stride + (u64)x * a.step, a.depth);
  put_sample(a.to + (u64)y * a.stride_to + (u64)x * a.step_to, a.depth_to, v);
}
