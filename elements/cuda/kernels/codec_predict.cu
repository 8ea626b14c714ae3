// SPDX-License-Identifier: Apache-2.0
// The codec's motion compensation (elements/codec/src/motion/interpolate.rs): samples of the picture before
// at a vector's whole part, weighed by the taps of its fractions, across, then down, with nothing rounded
// in between. Samples outside of the picture are those of its edge. Near the edges of a part the result leans
// towards what the neighbours' vectors give (elements/codec/src/motion/overlap.rs).

typedef struct {
  const void *from; // planes of `rows` rows, one after the other
  void *to;         // the same
  const i16 *vectors; // of each part, row by row: right, down
  u32 width, rows, planes;
  u32 part;     // a part has 2^part samples either way
  u32 bits;     // of a vector's number that are its fraction
  u32 count;    // taps of a fraction
  i32 top;      // the largest sample
  i32 taps[32]; // by fraction, of 64 in all
  i32 lean[4];  // 64ths of a neighbour by the distance to its edge
} CodecPredict;

#define CODEC_PREDICT(NAME, SAMPLE)                                            \
  DEVICE i32 NAME##_by(const CodecPredict *a, const SAMPLE *plane,             \
                       const i16 *vector, u32 x, u32 row) {                    \
    i32 count = (i32)a->count, before = count / 2 - 1;                         \
    i32 mask = (1 << a->bits) - 1;                                             \
    i32 right = vector[0] & mask, down = vector[1] & mask;                     \
    i32 left = (i32)x + (vector[0] >> a->bits);                                \
    i32 upper = (i32)row + (vector[1] >> a->bits);                             \
    i32 lines = down ? count : 1, sum = 0;                                     \
    if (down) upper -= before;                                                 \
    for (i32 i = 0; i < lines; i++) {                                          \
      const SAMPLE *line =                                                     \
          plane + (u64)limit_int(upper + i, 0, (i32)a->rows - 1) * a->width;   \
      i32 across = 0;                                                          \
      if (!right) across = (i32)line[limit_int(left, 0, (i32)a->width - 1)];   \
      for (i32 t = 0; right && t < count; t++)                                 \
        across +=                                                              \
            a->taps[right * count + t] *                                       \
            (i32)line[limit_int(left - before + t, 0, (i32)a->width - 1)];     \
      sum += down ? a->taps[down * count + i] * across : across;               \
    }                                                                          \
    i32 shift = (right ? 6 : 0) + (down ? 6 : 0);                              \
    if (shift) sum = (sum + (1 << (shift - 1))) >> shift;                      \
    return limit_int(sum, 0, a->top);                                          \
  }                                                                            \
  /* 64ths of the way from `own` to what a neighbour predicts. */              \
  DEVICE i32 NAME##_lean(const CodecPredict *a, const SAMPLE *plane,           \
                         const i16 *vector, const i16 *other, i32 weight,      \
                         i32 own, u32 x, u32 row) {                            \
    if (!weight || (vector[0] == other[0] && vector[1] == other[1])) return 0; \
    return weight * (NAME##_by(a, plane, other, x, row) - own);                \
  }                                                                            \
  KERNEL(NAME, CodecPredict) {                                                 \
    u32 x = AT_X, y = AT_Y;                                                    \
    if (x >= a.width || y >= a.rows * a.planes) return;                        \
    u32 row = y % a.rows;                                                      \
    const SAMPLE *plane = (const SAMPLE *)a.from + (u64)(y - row) * a.width;   \
    u32 columns = a.width >> a.part, lines = a.rows >> a.part;                 \
    u32 column = x >> a.part, line = row >> a.part;                            \
    u32 last = (1u << a.part) - 1, half = 1u << (a.part - 1);                  \
    const i16 *vector = a.vectors + 2 * ((u64)line * columns + column);        \
    i32 own = NAME##_by(&a, plane, vector, x, row);                            \
    i32 sum = 32;                                                              \
    u32 at = row & last;                                                       \
    if (at < half ? line > 0 : line + 1 < lines)                               \
      sum += NAME##_lean(                                                      \
          &a, plane, vector,                                                   \
          at < half ? vector - 2 * columns : vector + 2 * columns,             \
          a.lean[at < half ? at : last - at], own, x, row);                    \
    at = x & last;                                                             \
    if (at < half ? column > 0 : column + 1 < columns)                         \
      sum += NAME##_lean(&a, plane, vector,                                    \
                         at < half ? vector - 2 : vector + 2,                  \
                         a.lean[at < half ? at : last - at], own, x, row);     \
    ((SAMPLE *)a.to)[(u64)y * a.width + x] = (SAMPLE)(own + (sum >> 6));       \
  }

CODEC_PREDICT(codec_predict_8, u8)
CODEC_PREDICT(codec_predict_10, u16)
