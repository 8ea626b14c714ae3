// SPDX-License-Identifier: Apache-2.0
// Pictures to and from nets of other people's, of one channel (luma) or three (red, green and blue), in
// tiles: elements/enhance/src/operations/image_net.rs, operation for operation, which computes colours in
// double precision.

typedef struct {
  double black, span, grey, chroma; // codes of luma and of differences of colour
  double kr, kg, kb;                // shares of the colours in luma
  double to_red, to_blue;           // 2 (1 - kr), 2 (1 - kb)
} ImageColour;

DEVICE double image_share(double v) { return v < 0.0 ? 0.0 : v > 1.0 ? 1.0 : v; }

DEVICE u8 image_byte(float v) { return (u8)limit(roundf(v * 255.0f), 0.0f, 255.0f); }

typedef struct {
  const u8 *y, *u, *v; // first samples
  void *out;
  u32 width, height;
  u32 y_stride, u_stride, v_stride, c_step; // bytes, also between the samples of a component
  u32 left, top;       // where the tile begins; what lies beyond the picture repeats its edge
  u32 tile_width, tile_height;
  u32 channels, last;  // 1 or 3; channels of a pixel lie together
  float white;         // what 1 is as a float
  u32 unused;
  ImageColour colour;
} ImageCut;

DEVICE void image_put_f32(void *to, u64 at, float v, float white) { ((float *)to)[at] = v * white; }
DEVICE void image_put_u8(void *to, u64 at, float v, float white) {
  (void)white;
  ((u8 *)to)[at] = image_byte(v);
}

#define IMAGE_CUT(TYPE)                                                        \
  KERNEL(image_cut_##TYPE, ImageCut) {                                         \
    u32 x = AT_X, y = AT_Y;                                                    \
    if (x >= a.tile_width || y >= a.tile_height) return;                       \
    u32 in_x = a.left + x < a.width ? a.left + x : a.width - 1;                \
    u32 in_y = a.top + y < a.height ? a.top + y : a.height - 1;                \
    u8 l = a.y[(u64)in_y * a.y_stride + in_x];                                 \
    u64 at = (u64)y * a.tile_width + x;                                        \
    if (a.channels == 1) {                                                     \
      image_put_##TYPE(a.out, at, (float)l / 255.0f, a.white);                 \
      return;                                                                  \
    }                                                                          \
    ImageColour k = a.colour;                                                  \
    u64 c = (u64)(in_x / 2) * a.c_step;                                        \
    double cb = (double)a.u[(u64)(in_y / 2) * a.u_stride + c] / 255.0 * 255.0; \
    double cr = (double)a.v[(u64)(in_y / 2) * a.v_stride + c] / 255.0 * 255.0; \
    double light = ((double)l / 255.0 * 255.0 - k.black) / k.span;             \
    cb = (cb - k.grey) / k.chroma;                                             \
    cr = (cr - k.grey) / k.chroma;                                             \
    double red = light + k.to_red * cr, blue = light + k.to_blue * cb;         \
    double green = (light - k.kr * red - k.kb * blue) / k.kg;                  \
    u64 plane = (u64)a.tile_width * a.tile_height;                             \
    u64 step = a.last ? 1 : plane, first = a.last ? 3 * at : at;               \
    image_put_##TYPE(a.out, first, (float)image_share(red), a.white);          \
    image_put_##TYPE(a.out, first + step, (float)image_share(green), a.white); \
    image_put_##TYPE(a.out, first + 2 * step, (float)image_share(blue), a.white); \
  }

IMAGE_CUT(f32)
IMAGE_CUT(u8)

typedef struct {
  const void *in; // a net's result
  float *out;     // channel planes of values of 0 to 1
  u32 in_width, in_height;
  u32 left, top;     // of what is taken of the result
  u32 width, height; // of it
  u32 out_left, out_top;
  u32 out_width, out_height;
  u32 channels, last;
  float scale; // from the net's floats
  u32 unused;
} ImagePaste;

DEVICE float image_get_f32(const void *from, u64 at, float scale) { return ((const float *)from)[at] * scale; }
DEVICE float image_get_u8(const void *from, u64 at, float scale) {
  (void)scale;
  return (float)((const u8 *)from)[at] / 255.0f;
}

#define IMAGE_PASTE(TYPE)                                                      \
  KERNEL(image_paste_##TYPE, ImagePaste) {                                     \
    u32 x = AT_X, y = AT_Y;                                                    \
    if (x >= a.width || y >= a.height) return;                                 \
    u64 from = (u64)(a.top + y) * a.in_width + a.left + x;                     \
    u64 to = (u64)(a.out_top + y) * a.out_width + a.out_left + x;              \
    u64 in_plane = (u64)a.in_width * a.in_height;                              \
    u64 out_plane = (u64)a.out_width * a.out_height;                           \
    for (u32 c = 0; c < a.channels; c++) {                                     \
      u64 at = a.last ? from * a.channels + c : from + c * in_plane;           \
      a.out[to + c * out_plane] = image_get_##TYPE(a.in, at, a.scale);         \
    }                                                                          \
  }

IMAGE_PASTE(f32)
IMAGE_PASTE(u8)

typedef struct {
  const float *in; // width * height, tightly packed
  u8 *luma;
  u32 width, height, stride;
  u32 unused;
} ImageLuma;

KERNEL(image_luma, ImageLuma) {
  u32 x = AT_X, y = AT_Y;
  if (x >= a.width || y >= a.height) return;
  a.luma[(u64)y * a.stride + x] = image_byte(a.in[(u64)y * a.width + x]);
}

typedef struct {
  const float *in; // three planes of width * height
  u8 *y, *u, *v;   // first samples
  u32 width, height;
  u32 y_stride, u_stride, v_stride, c_step;
  ImageColour colour;
} ImageColours;

// A position is two by two pixels, whose mean chroma is theirs.
KERNEL(image_colours, ImageColours) {
  u32 bx = AT_X, by = AT_Y;
  if (bx >= (a.width + 1) / 2 || by >= (a.height + 1) / 2) return;
  ImageColour k = a.colour;
  u64 plane = (u64)a.width * a.height;
  double u = 0.0, v = 0.0, n = 0.0;
  for (u32 i = 0; i < 4; i++) {
    u32 x = bx * 2 + (i & 1), y = by * 2 + (i >> 1);
    if (x >= a.width || y >= a.height) continue;
    u64 at = (u64)y * a.width + x;
    double red = image_share(a.in[at]), green = image_share(a.in[at + plane]);
    double blue = image_share(a.in[at + 2 * plane]);
    double light = k.kr * red + k.kg * green + k.kb * blue;
    double cb = (blue - light) / k.to_blue, cr = (red - light) / k.to_red;
    a.y[(u64)y * a.y_stride + x] = image_byte((float)((k.black + k.span * light) / 255.0));
    u = u + (k.grey + k.chroma * cb) / 255.0;
    v = v + (k.grey + k.chroma * cr) / 255.0;
    n = n + 1.0;
  }
  u64 to = (u64)bx * a.c_step;
  a.u[(u64)by * a.u_stride + to] = image_byte((float)(u / n));
  a.v[(u64)by * a.v_stride + to] = image_byte((float)(v / n));
}

// The four samples around a place, and their weights.
typedef struct {
  u32 at[4];
  float weight[4];
} ImageTaps;

typedef struct {
  const u8 *in; // first samples of a component
  u8 *out;
  const ImageTaps *rows, *columns; // of what comes out
  u32 stride, step;
  u32 out_width, out_height, out_stride, out_step;
} ImageEnlarge;

KERNEL(image_enlarge, ImageEnlarge) {
  u32 x = AT_X, y = AT_Y;
  if (x >= a.out_width || y >= a.out_height) return;
  ImageTaps rows = a.rows[y], columns = a.columns[x];
  float sum = 0.0f;
  for (u32 j = 0; j < 4; j++) {
    const u8 *row = a.in + (u64)rows.at[j] * a.stride;
    for (u32 i = 0; i < 4; i++)
      sum = sum + rows.weight[j] * columns.weight[i] * (float)row[(u64)columns.at[i] * a.step];
  }
  a.out[(u64)y * a.out_stride + (u64)x * a.out_step] = (u8)limit(roundf(sum), 0.0f, 255.0f);
}
