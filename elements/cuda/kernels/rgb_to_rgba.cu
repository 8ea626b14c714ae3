// SPDX-License-Identifier: Apache-2.0
// Planes of red, green and blue to packed pixels of four bytes; the fourth byte is 255.

typedef struct {
  const void *in; // three planes of width * height, tightly packed
  u8 *out;
  u32 width, height, stride;
  u32 red, green, blue, alpha; // place of each in the four bytes
  float scale;                 // 255 for colours of 0 to 1
} RgbToRgba;

#define RGB_TO_RGBA(TYPE)                                                      \
  KERNEL(rgb_to_rgba_##TYPE, RgbToRgba) {                                      \
    u32 x = AT_X, y = AT_Y;                                                    \
    if (x >= a.width || y >= a.height) return;                                 \
    u8 *p = a.out + (u64)y * a.stride + (u64)x * 4;                            \
    u64 plane = (u64)a.width * a.height, at = (u64)y * a.width + x;            \
    p[a.red] = (u8)code(get_##TYPE(a.in, at) * a.scale, 255.0f);               \
    p[a.green] = (u8)code(get_##TYPE(a.in, at + plane) * a.scale, 255.0f);     \
    p[a.blue] = (u8)code(get_##TYPE(a.in, at + 2 * plane) * a.scale, 255.0f);  \
    p[a.alpha] = 255;                                                          \
  }

RGB_TO_RGBA(f32)
RGB_TO_RGBA(f16)
