// SPDX-License-Identifier: Apache-2.0
// A picture as a detection model's input: scaled bilinearly without a filter in front, converted to red,
// green and blue, normalised, the rest filled. The operations are those of the CPU
// (elements/enhance/src/detect/prepare.rs), in its order.

typedef struct {
  const u8 *y, *u, *v; // first samples
  void *out;           // three planes of out_width * out_height
  u32 width, height, y_stride, c_stride;
  u32 c_step;          // bytes from a sample of chroma to the next
  u32 out_width, out_height;
  u32 inner_width, inner_height; // of the picture in the input
  u32 swap;                      // the model's order is blue, green, red
  float black, luma, chroma;     // light = (code - black) * luma, chroma likewise
  float to_red, to_blue;
  float kr, kb, kg;
  float pad;
  float mean[3], deviation[3]; // in the model's order
  u32 unused;
} Detect;

typedef struct {
  u32 low, high;
  float share; // of the second
} DetectTap;

DEVICE DetectTap detect_tap(u32 n, u32 from, u32 to) {
  float scale = (float)from / (float)to;
  float at = limit(((float)n + 0.5f) * scale - 0.5f, 0.0f, (float)(from - 1));
  DetectTap t;
  t.low = (u32)at;
  t.high = t.low + 1 < from ? t.low + 1 : from - 1;
  t.share = at - (float)t.low;
  return t;
}

DEVICE float detect_sample(const u8 *plane, u32 stride, u32 step, DetectTap x, DetectTap y) {
  const u8 *above = plane + (u64)y.low * stride, *below = plane + (u64)y.high * stride;
  u64 x0 = (u64)x.low * step, x1 = (u64)x.high * step;
  float top = (float)above[x0] * (1.0f - x.share) + (float)above[x1] * x.share;
  float low = (float)below[x0] * (1.0f - x.share) + (float)below[x1] * x.share;
  return top * (1.0f - y.share) + low * y.share;
}

DEVICE void put_u8(void *to, u64 at, float v) { ((u8 *)to)[at] = (u8)limit(roundf(v), 0.0f, 255.0f); }

#define DETECT(TYPE)                                                           \
  KERNEL(detect_##TYPE, Detect) {                                              \
    u32 x = AT_X, y = AT_Y;                                                    \
    if (x >= a.out_width || y >= a.out_height) return;                         \
    float colours[3] = {a.pad, a.pad, a.pad};                                  \
    if (x < a.inner_width && y < a.inner_height) {                             \
      u32 cw = (a.width + 1) / 2, ch = (a.height + 1) / 2;                     \
      DetectTap cx = detect_tap(x, cw, a.inner_width);                         \
      DetectTap cy = detect_tap(y, ch, a.inner_height);                        \
      float light = (detect_sample(a.y, a.y_stride, 1,                         \
                                   detect_tap(x, a.width, a.inner_width),      \
                                   detect_tap(y, a.height, a.inner_height)) -  \
                     a.black) * a.luma;                                        \
      float cb = (detect_sample(a.u, a.c_stride, a.c_step, cx, cy) - 128.0f) * a.chroma; \
      float cr = (detect_sample(a.v, a.c_stride, a.c_step, cx, cy) - 128.0f) * a.chroma; \
      float red = light + a.to_red * cr;                                       \
      float blue = light + a.to_blue * cb;                                     \
      float green = (light - a.kr * red - a.kb * blue) / a.kg;                 \
      colours[0] = limit(a.swap ? blue : red, 0.0f, 255.0f);                   \
      colours[1] = limit(green, 0.0f, 255.0f);                                 \
      colours[2] = limit(a.swap ? red : blue, 0.0f, 255.0f);                   \
    }                                                                          \
    u64 plane = (u64)a.out_width * a.out_height;                               \
    u64 at = (u64)y * a.out_width + x;                                         \
    for (u32 c = 0; c < 3; c++)                                                \
      put_##TYPE(a.out, at + c * plane, (colours[c] - a.mean[c]) / a.deviation[c]); \
  }

DETECT(f32)
DETECT(u8)
