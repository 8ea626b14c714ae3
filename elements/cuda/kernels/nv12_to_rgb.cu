// SPDX-License-Identifier: Apache-2.0
// NV12 to planes of red, green and blue. A chroma sample serves its four pixels.

typedef struct {
  const u8 *y, *uv;
  void *out; // three planes of width * height, tightly packed
  u32 width, height, y_stride, uv_stride;
  Colour colour;
  float scale; // 1/255 for colours of 0 to 1
} Nv12ToRgb;

#define NV12_TO_RGB(TYPE)                                                      \
  KERNEL(nv12_to_rgb_##TYPE, Nv12ToRgb) {                                      \
    u32 x = AT_X, y = AT_Y;                                                    \
    if (x >= a.width || y >= a.height) return;                                 \
    const u8 *uv = a.uv + (u64)(y >> 1) * a.uv_stride + (x >> 1) * 2;          \
    Rgb p = to_rgb(a.colour, (float)a.y[(u64)y * a.y_stride + x],              \
                   (float)uv[0], (float)uv[1]);                                \
    u64 plane = (u64)a.width * a.height, at = (u64)y * a.width + x;            \
    put_##TYPE(a.out, at, limit(p.r, 0.0f, 255.0f) * a.scale);                 \
    put_##TYPE(a.out, at + plane, limit(p.g, 0.0f, 255.0f) * a.scale);         \
    put_##TYPE(a.out, at + 2 * plane, limit(p.b, 0.0f, 255.0f) * a.scale);     \
  }

NV12_TO_RGB(f32)
NV12_TO_RGB(f16)
