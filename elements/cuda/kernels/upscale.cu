// SPDX-License-Identifier: Apache-2.0
// What the upscaler does around its net: luma with repeated samples around it to the net's input, and out
// of its result; chroma doubled by Catmull-Rom in whole numbers, as on the CPU
// (elements/enhance/src/operations/ports.rs and chroma.rs).

typedef struct {
  const u8 *luma;
  u8 *out; // out_width * out_height, tightly packed
  u32 width, height, stride;
  u32 margin; // above and to the left
  u32 out_width, out_height;
} UpscalePad;

KERNEL(upscale_pad, UpscalePad) {
  u32 x = AT_X, y = AT_Y;
  if (x >= a.out_width || y >= a.out_height) return;
  u32 from_x = x < a.margin ? 0 : x - a.margin, from_y = y < a.margin ? 0 : y - a.margin;
  if (from_x >= a.width) from_x = a.width - 1;
  if (from_y >= a.height) from_y = a.height - 1;
  a.out[(u64)y * a.out_width + x] = a.luma[(u64)from_y * a.stride + from_x];
}

typedef struct {
  const u8 *in; // in_width a row, tightly packed
  u8 *luma;
  u32 in_width;
  u32 margin; // above and to the left of what is taken
  u32 width, height, stride;
  u32 unused;
} UpscaleCrop;

KERNEL(upscale_crop, UpscaleCrop) {
  u32 x = AT_X, y = AT_Y;
  if (x >= a.width || y >= a.height) return;
  a.luma[(u64)y * a.stride + x] = a.in[(u64)(y + a.margin) * a.in_width + x + a.margin];
}

typedef struct {
  const u8 *in; // the component's first sample
  u8 *out;
  u32 width, height, stride, step; // of what is doubled
  u32 out_width, out_height, out_stride, out_step;
  i32 even[4], odd[4]; // weights of 128 in all, for even and odd columns
} UpscaleChroma;

// Four samples less 128 by weights of 128 in all; the answer is less 128, too.
DEVICE i32 upscale_weigh(i32 p, i32 q, i32 r, i32 s, const i32 *taps) {
  return limit_int((p * taps[0] + q * taps[1] + r * taps[2] + s * taps[3] + 64) >> 7, -128, 127);
}

KERNEL(upscale_chroma, UpscaleChroma) {
  u32 x = AT_X, y = AT_Y;
  if (x >= a.out_width || y >= a.out_height) return;
  const i32 three_quarters[4] = {-3, 29, 111, -9}, quarter[4] = {-9, 111, 29, -3};
  i32 base = (i32)(y >> 1) - (y & 1 ? 0 : 1);
  const i32 *rows = y & 1 ? quarter : three_quarters;
  // Left of the first of four columns: two for even ones, one for odd ones.
  i32 left = (i32)(x >> 1) - (x & 1 ? 1 : 2);
  i32 line[4];
  for (i32 k = 0; k < 4; k++) {
    i32 column = limit_int(left + k, 0, (i32)a.width - 1);
    i32 v[4];
    for (i32 r = 0; r < 4; r++) {
      i32 row = limit_int(base - 1 + r, 0, (i32)a.height - 1);
      v[r] = (i32)a.in[(u64)row * a.stride + (u64)column * a.step] - 128;
    }
    line[k] = upscale_weigh(v[0], v[1], v[2], v[3], rows);
  }
  i32 sum = upscale_weigh(line[0], line[1], line[2], line[3], x & 1 ? a.odd : a.even);
  a.out[(u64)y * a.out_stride + (u64)x * a.out_step] = (u8)(sum + 128);
}
