// SPDX-License-Identifier: Apache-2.0
// Packed pixels of four bytes (RGBA, BGRx and so on) to planes of red, green and blue.

typedef struct {
  const u8 *in;
  void *out; // three planes of width * height, tightly packed
  u32 width, height, stride;
  u32 red, green, blue; // place of each in the four bytes
  float scale;          // 1/255 for colours of 0 to 1
  u32 unused;
} RgbaToRgb;

#define RGBA_TO_RGB(TYPE)                                                      \
  KERNEL(rgba_to_rgb_##TYPE, RgbaToRgb) {                                      \
    u32 x = AT_X, y = AT_Y;                                                    \
    if (x >= a.width || y >= a.height) return;                                 \
    const u8 *p = a.in + (u64)y * a.stride + (u64)x * 4;                       \
    u64 plane = (u64)a.width * a.height, at = (u64)y * a.width + x;            \
    put_##TYPE(a.out, at, (float)p[a.red] * a.scale);                          \
    put_##TYPE(a.out, at + plane, (float)p[a.green] * a.scale);                \
    put_##TYPE(a.out, at + 2 * plane, (float)p[a.blue] * a.scale);             \
  }

RGBA_TO_RGB(f32)
RGBA_TO_RGB(f16)
