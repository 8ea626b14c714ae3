// SPDX-License-Identifier: Apache-2.0
// A component blurred where a mask says so: reduced to means of blocks, convolved along both axes, enlarged
// again, and merged with what was sharp. And a picture as the input of the model that makes the mask.
// Operation for operation as on the CPU (elements/fx/src/effects/gaussian.rs, large.rs, and
// background/mask.rs).

// The right half of the widest kernel, with its centre.
#define TAPS 10

typedef struct {
  const u8 *samples; // the component's first
  u32 *out;          // width * rows, tightly packed
  u32 width, height;
  u32 stride, step; // bytes to the next row, and to the next sample of the component
  u32 factor, rows; // rows of a block, and of blocks
} BlurSum;

KERNEL(blur_sum, BlurSum) {
  u32 x = AT_X, y = AT_Y, sum = 0;
  if (x >= a.width || y >= a.rows) return;
  for (u32 i = 0; i < a.factor; i++) {
    u32 row = y * a.factor + i < a.height ? y * a.factor + i : a.height - 1;
    sum += a.samples[(u64)row * a.stride + (u64)x * a.step];
  }
  a.out[(u64)y * a.width + x] = sum;
}

typedef struct {
  const u32 *sums;
  float *out; // columns * rows, tightly packed
  u32 width;  // of the sums
  u32 factor; // columns of a block
  u32 columns, rows;
  float scale; // of a block's sum
  u32 unused;
} BlurMean;

KERNEL(blur_mean, BlurMean) {
  u32 x = AT_X, y = AT_Y, sum = 0;
  if (x >= a.columns || y >= a.rows) return;
  for (u32 i = 0; i < a.factor; i++) {
    u32 column = x * a.factor + i < a.width ? x * a.factor + i : a.width - 1;
    sum += a.sums[(u64)y * a.width + column];
  }
  a.out[(u64)y * a.columns + x] = (float)sum * a.scale;
}

typedef struct {
  const float *in; // width * height, as is `out`
  float *out;
  u32 width, height;
  u32 down;   // along columns instead of rows
  u32 radius;
  float weights[TAPS]; // the centre and the right half
} BlurConvolve;

KERNEL(blur_convolve, BlurConvolve) {
  u32 x = AT_X, y = AT_Y;
  if (x >= a.width || y >= a.height) return;
  u32 at = a.down ? y : x, last = (a.down ? a.height : a.width) - 1;
  u64 step = a.down ? a.width : 1;
  const float *line = a.in + (a.down ? x : (u64)y * a.width);
  float sum = line[at * step] * a.weights[0];
  for (u32 k = 1; k <= a.radius; k++) {
    u32 before = at > k ? at - k : 0, after = last - at > k ? at + k : last;
    sum = sum + (line[before * step] + line[after * step]) * a.weights[k];
  }
  a.out[(u64)y * a.width + x] = sum;
}

typedef struct {
  const float *soft; // columns * rows
  const float *mask; // mask_width * mask_height, of 0 (blurred) to 1
  u8 *samples;       // changed in place
  u32 width, height;
  u32 stride, step;
  u32 columns, rows;
  u32 factor_x, factor_y;
  u32 mask_width, mask_height;
  u32 invert;
  u32 unused;
} BlurMerge;

// A sample of the reduced picture; the first and the last are next to it, too.
DEVICE float blur_soft(const float *soft, u32 columns, u32 rows, i32 x, i32 y) {
  x = limit_int(x, 0, (i32)columns - 1);
  y = limit_int(y, 0, (i32)rows - 1);
  return soft[(u64)y * columns + (u64)x];
}

typedef struct {
  u32 low, high;
  float part;
} BlurPlace;

DEVICE BlurPlace blur_place(float at, u32 size) {
  BlurPlace p;
  at = limit(at * (float)size - 0.5f, 0.0f, (float)(size - 1));
  p.low = (u32)at;
  if (size < 2)
    p.low = 0;
  else if (p.low > size - 2)
    p.low = size - 2;
  p.high = p.low + 1 < size ? p.low + 1 : size - 1;
  p.part = at - (float)p.low;
  return p;
}

DEVICE float blur_between(float from, float to, float part) { return from + (to - from) * part; }

KERNEL(blur_merge, BlurMerge) {
  u32 x = AT_X, y = AT_Y;
  if (x >= a.width || y >= a.height) return;
  float soft;
  if (a.factor_x == 1 && a.factor_y == 1) {
    soft = a.soft[(u64)y * a.columns + x];
  } else {
    // Centres of the reduced picture's rows are a factor apart, the first at (factor - 1) / 2.
    u32 down = y + a.factor_y / 2, across = x + a.factor_x / 2;
    float part = ((float)(down % a.factor_y) + (a.factor_y > 1 ? 0.5f : 1.0f)) / (float)a.factor_y;
    i32 row = (i32)(down / a.factor_y) - 1, column = (i32)(across / a.factor_x) - 1;
    if (a.factor_x == 1) column = (i32)x - 1;
    float ends[2];
    for (i32 i = 0; i < 2; i++)
      ends[i] = blur_between(blur_soft(a.soft, a.columns, a.rows, column + i, row),
                             blur_soft(a.soft, a.columns, a.rows, column + i, row + 1), part);
    if (a.factor_x == 1) {
      soft = ends[1];
    } else {
      float slope = (ends[1] - ends[0]) * (1.0f / (float)a.factor_x);
      soft = ends[0] + slope * ((float)(across % a.factor_x) + 0.5f);
    }
  }
  i32 blurred = (i32)rintf(limit(soft, 0.0f, 255.0f));
  BlurPlace v = blur_place(((float)y + 0.5f) / (float)a.height, a.mask_height);
  BlurPlace h = blur_place(((float)x + 0.5f) / (float)a.width, a.mask_width);
  const float *top = a.mask + (u64)v.low * a.mask_width, *low = a.mask + (u64)v.high * a.mask_width;
  float value = blur_between(blur_between(top[h.low], top[h.high], h.part),
                             blur_between(low[h.low], low[h.high], h.part), v.part);
  i32 gain = (i32)roundf(value * 32768.0f);
  if (a.invert) gain = 32768 - gain;
  u8 *p = a.samples + (u64)y * a.stride + (u64)x * a.step;
  i32 scaled = (((i32)*p - blurred) * gain + 16384) >> 15;
  *p = (u8)limit_int(blurred + scaled, 0, 255);
}

typedef struct {
  const u8 *y, *u, *v; // first samples
  float *out;
  u32 width, height;
  u32 y_stride, u_stride, v_stride, c_step; // bytes, also between the samples of a component
  u32 out_width, out_height;
  u32 last; // channels of a pixel lie together
  float black, range, chroma;
  float kr, kg, kb;
  float to_red, to_blue; // 2 (1 - kr), 2 (1 - kb)
  float mean[3], scale[3];
  u32 unused;
} BlurInput;

// Each value is the mean of four points of the picture.
KERNEL(blur_input, BlurInput) {
  u32 x = AT_X, y = AT_Y;
  if (x >= a.out_width || y >= a.out_height) return;
  float code[3] = {0.0f, 0.0f, 0.0f};
  for (u32 i = 0; i < 4; i++) {
    u32 row = (4 * y + (i & 2 ? 3 : 1)) * a.height / (4 * a.out_height);
    u32 column = (4 * x + (i & 1 ? 3 : 1)) * a.width / (4 * a.out_width);
    if (row > a.height - 1) row = a.height - 1;
    if (column > a.width - 1) column = a.width - 1;
    u64 c = (u64)(column >> 1) * a.c_step;
    code[0] = code[0] + 0.25f * (float)a.y[(u64)row * a.y_stride + column];
    code[1] = code[1] + 0.25f * (float)a.u[(u64)(row >> 1) * a.u_stride + c];
    code[2] = code[2] + 0.25f * (float)a.v[(u64)(row >> 1) * a.v_stride + c];
  }
  float light = (code[0] - a.black) / a.range;
  float u = (code[1] - 128.0f) / a.chroma, v = (code[2] - 128.0f) / a.chroma;
  float red = light + a.to_red * v, blue = light + a.to_blue * u;
  float colours[3] = {red, (light - a.kr * red - a.kb * blue) / a.kg, blue};
  u64 plane = (u64)a.out_width * a.out_height, at = (u64)y * a.out_width + x;
  for (u32 c = 0; c < 3; c++)
    a.out[a.last ? at * 3 + c : at + c * plane] =
        (limit(colours[c], 0.0f, 1.0f) - a.mean[c]) * a.scale[c];
}
