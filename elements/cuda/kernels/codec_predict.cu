// SPDX-License-Identifier: Apache-2.0
// The codec's motion compensation (elements/codec/src/motion/interpolate.rs): samples of the picture before
// at a vector's whole part, weighed by the taps of its fractions, across, then down, with nothing rounded
// in between. Samples outside of the picture are those of its edge.

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
} CodecPredict;

#define CODEC_PREDICT(NAME, SAMPLE)                                            \
  KERNEL(NAME, CodecPredict) {                                                 \
    u32 x = AT_X, y = AT_Y;                                                    \
    if (x >= a.width || y >= a.rows * a.planes) return;                        \
    u32 row = y % a.rows;                                                      \
    const SAMPLE *plane = (const SAMPLE *)a.from + (u64)(y - row) * a.width;   \
    const i16 *vector =                                                        \
        a.vectors + 2 * ((u64)(row >> a.part) * (a.width >> a.part) +          \
                         (x >> a.part));                                       \
    i32 count = (i32)a.count, before = count / 2 - 1;                          \
    i32 mask = (1 << a.bits) - 1;                                              \
    i32 right = vector[0] & mask, down = vector[1] & mask;                     \
    i32 left = (i32)x + (vector[0] >> a.bits);                                 \
    i32 upper = (i32)row + (vector[1] >> a.bits);                              \
    i32 lines = down ? count : 1, sum = 0;                                     \
    if (down) upper -= before;                                                 \
    for (i32 i = 0; i < lines; i++) {                                          \
      const SAMPLE *line =                                                     \
          plane + (u64)limit_int(upper + i, 0, (i32)a.rows - 1) * a.width;     \
      i32 across = 0;                                                          \
      if (!right) across = (i32)line[limit_int(left, 0, (i32)a.width - 1)];    \
      for (i32 t = 0; right && t < count; t++)                                 \
        across +=                                                              \
            a.taps[right * count + t] *                                        \
            (i32)line[limit_int(left - before + t, 0, (i32)a.width - 1)];      \
      sum += down ? a.taps[down * count + i] * across : across;                \
    }                                                                          \
    i32 shift = (right ? 6 : 0) + (down ? 6 : 0);                              \
    if (shift) sum = (sum + (1 << (shift - 1))) >> shift;                      \
    ((SAMPLE *)a.to)[(u64)y * a.width + x] =                                   \
        (SAMPLE)limit_int(sum, 0, a.top);                                      \
  }

CODEC_PREDICT(codec_predict_8, u8)
CODEC_PREDICT(codec_predict_10, u16)
