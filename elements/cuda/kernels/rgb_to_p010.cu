// SPDX-License-Identifier: Apache-2.0
// Planes of red, green and blue to P010 (ten bits in the upper bits of sixteen). A position is two by two
// pixels; chroma is that of their mean, where pixels beyond an odd edge repeat it.

typedef struct {
  const void *in; // three planes of width * height, tightly packed
  u8 *y, *uv;
  u32 width, height, y_stride, uv_stride;
  Codes codes;
  float scale; // 255 for colours of 0 to 1
} RgbToP010;

#define RGB_TO_P010(TYPE)                                                      \
  KERNEL(rgb_to_p010_##TYPE, RgbToP010) {                                      \
    u32 bx = AT_X, by = AT_Y;                                                  \
    if (bx * 2 >= a.width || by * 2 >= a.height) return;                       \
    u64 plane = (u64)a.width * a.height;                                       \
    Codes c = a.codes;                                                         \
    Rgb sum = {0.0f, 0.0f, 0.0f};                                              \
    for (u32 i = 0; i < 4; i++) {                                              \
      u32 x = bx * 2 + (i & 1), y = by * 2 + (i >> 1);                         \
      u32 in_x = x < a.width ? x : x - 1, in_y = y < a.height ? y : y - 1;     \
      u64 at = (u64)in_y * a.width + in_x;                                     \
      Rgb p;                                                                   \
      p.r = get_##TYPE(a.in, at) * a.scale;                                    \
      p.g = get_##TYPE(a.in, at + plane) * a.scale;                            \
      p.b = get_##TYPE(a.in, at + 2 * plane) * a.scale;                        \
      sum.r = sum.r + p.r;                                                     \
      sum.g = sum.g + p.g;                                                     \
      sum.b = sum.b + p.b;                                                     \
      if (x < a.width && y < a.height)                                         \
        ((u16 *)(a.y + (u64)y * a.y_stride))[x] =                              \
            (u16)(code(luma(c, p) * c.y_gain + c.y_offset, c.top) << 6);       \
    }                                                                          \
    Rgb mean = {sum.r * 0.25f, sum.g * 0.25f, sum.b * 0.25f};                  \
    float l = luma(c, mean);                                                   \
    u16 *uv = (u16 *)(a.uv + (u64)by * a.uv_stride) + bx * 2;                  \
    uv[0] = (u16)(code((mean.b - l) * c.u_gain + c.c_middle, c.top) << 6);     \
    uv[1] = (u16)(code((mean.r - l) * c.v_gain + c.c_middle, c.top) << 6);     \
  }

RGB_TO_P010(f32)
RGB_TO_P010(f16)
