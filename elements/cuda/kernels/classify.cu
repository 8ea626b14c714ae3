// SPDX-License-Identifier: Apache-2.0
// The classifier's preprocessing: rows of the crop are scaled first, then columns, then the few pixels
// that are left become red, green and blue and are normalised. Sums have the order of the CPU's loops
// (elements/classify/src/preprocess/rows.rs), so the results are its results.

// Down: a position is a sample of a scaled row, channels as they lie in memory.
typedef struct {
  const u8 *data;       // the plane
  const u32 *first;     // first row of each output row
  const float *weights; // `taps` for each output row
  float *sums;          // `samples` for each output row
  u32 stride, height;
  u32 start;   // bytes from the beginning of a row to the first that is needed
  u32 samples; // bytes of a row that are needed
  u32 rows;    // output rows
  u32 taps;
} ClassifyRows;

KERNEL(classify_rows, ClassifyRows) {
  u32 x = AT_X, y = AT_Y;
  if (x >= a.samples || y >= a.rows) return;
  u32 first = a.first[y];
  u32 count = a.taps < a.height - first ? a.taps : a.height - first;
  const float *w = a.weights + (u64)y * a.taps;
  const u8 *p = a.data + (u64)first * a.stride + a.start + x;
  u64 s = a.stride;
  float sum = 0.0f;
  u32 r = 0;
  for (; r + 4 <= count; r += 4, p += 4 * s)
    sum = sum + ((float)p[0] * w[r] + (float)p[s] * w[r + 1] + (float)p[2 * s] * w[r + 2] +
                 (float)p[3 * s] * w[r + 3]);
  for (; r < count; r++, p += s) sum = sum + (float)p[0] * w[r];
  a.sums[(u64)y * a.samples + x] = sum;
}

// Across, and colours. The three components are luma and chroma, or red, green and blue.
typedef struct {
  const float *sums[3];       // a component's first sample of the first row
  const u32 *first[2];        // first sample of each output column: first component, the others
  const float *weights[2];
  void *out;                  // three planes of size * size
  u32 row[2], step[2], count[2]; // floats between rows and between samples, samples of a row
  u32 taps[2];                // a multiple of 8
  u32 size;
  u32 matrix;                 // 0: the components are red, green and blue already
  Colour colour;
  float mean[3], deviation[3];
  u32 unused;
} ClassifyFinish;

DEVICE float classify_dot(const float *line, u32 step, u32 count, u32 first, const float *w, u32 taps) {
  float sums[8] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
  for (u32 k = 0; k < taps; k += 8)
    for (u32 i = 0; i < 8; i++) {
      u32 at = first + k + i; // taps that weigh nothing may lie past the end
      float v = at < count ? line[(u64)at * step] : 0.0f;
      sums[i] = sums[i] + v * w[k + i];
    }
  float sum = 0.0f;
  for (u32 i = 0; i < 8; i++) sum = sum + sums[i];
  return sum;
}

#define CLASSIFY_FINISH(TYPE)                                                  \
  KERNEL(classify_finish_##TYPE, ClassifyFinish) {                             \
    u32 x = AT_X, y = AT_Y;                                                    \
    if (x >= a.size || y >= a.size) return;                                    \
    float v[3];                                                                \
    for (u32 c = 0; c < 3; c++) {                                              \
      u32 k = c == 0 ? 0 : 1;                                                  \
      v[c] = classify_dot(a.sums[c] + (u64)y * a.row[k], a.step[k],            \
                          a.count[k], a.first[k][x],                           \
                          a.weights[k] + (u64)x * a.taps[k], a.taps[k]);       \
    }                                                                          \
    if (a.matrix) {                                                            \
      Rgb p = to_rgb(a.colour, v[0], v[1], v[2]);                              \
      v[0] = p.r;                                                              \
      v[1] = p.g;                                                              \
      v[2] = p.b;                                                              \
    }                                                                          \
    u64 plane = (u64)a.size * a.size, at = (u64)y * a.size + x;                \
    for (u32 c = 0; c < 3; c++)                                                \
      put_##TYPE(a.out, at + c * plane,                                        \
                 (limit(v[c], 0.0f, 255.0f) / 255.0f - a.mean[c]) /            \
                     a.deviation[c]);                                          \
  }

CLASSIFY_FINISH(f32)
CLASSIFY_FINISH(f16)
