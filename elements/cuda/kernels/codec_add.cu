// SPDX-License-Identifier: Apache-2.0
// The codec's residual: levels, in half steps, of cosine transforms of 4x4, 8x8 or 16x16, made differences and added to their squares. Few levels are
// not zero, so they cross the bus as a list.

typedef struct {
  const u32 *squares; // of each: the place of its first sample, and the number of its first level
  const u32 *levels;  // place in the square in the upper half, two's complement in the lower
  void *to;           // planes one after the other
  u32 count, length;  // of squares and of levels
  u32 width, samples;
  i32 half;           // of a step, in eighths of a sample's
} CodecAdd;

// The left halves of the rows of HEVC's matrix of 16, in which those of 8 and 4 are: right halves mirror them, of odd rows negative.
DEVICE i32 codec_basis(u32 k, u32 x) {
  const i8 half[16][8] = {
      {64, 64, 64, 64, 64, 64, 64, 64},     {90, 87, 80, 70, 57, 43, 25, 9},
      {89, 75, 50, 18, -18, -50, -75, -89}, {87, 57, 9, -43, -80, -90, -70, -25},
      {83, 36, -36, -83, -83, -36, 36, 83}, {80, 9, -70, -87, -25, 57, 90, 43},
      {75, -18, -89, -50, 50, 89, 18, -75}, {70, -43, -87, 9, 90, 25, -80, -57},
      {64, -64, -64, 64, 64, -64, -64, 64}, {57, -80, -25, 90, -9, -87, 43, 70},
      {50, -89, 18, 75, -75, -18, 89, -50}, {43, -90, 57, 25, -87, 70, 9, -80},
      {36, -83, 83, -36, -36, 83, -83, 36}, {25, -70, 90, -80, 43, 9, -57, 87},
      {18, -50, 75, -89, 89, -75, 50, -18}, {9, -25, 43, -57, 70, -80, 87, -90}};
  if (x < 8) return half[k][x];
  i32 v = half[k][15 - x];
  return k & 1 ? -v : v;
}

// A position is a row of a square of SIDE = 1 << LOG samples, whose matrix has every STEP-th row of that of 16.
#define CODEC_ADD(NAME, SAMPLE, TOP, LOG, SIDE, STEP)                          \
  KERNEL(NAME, CodecAdd) {                                                     \
    u32 i = AT_X >> LOG, row = AT_X & (SIDE - 1);                              \
    if (i >= a.count || AT_Y > 0) return;                                      \
    u64 at = (u64)a.squares[2 * (u64)i] + (u64)row * a.width;                  \
    u32 first = a.squares[2 * (u64)i + 1];                                     \
    u32 end = i + 1 < a.count ? a.squares[2 * (u64)i + 3] : a.length;          \
    if (at + SIDE > a.samples || end > a.length) return;                       \
    i32 rows[SIDE][SIDE], sums[SIDE];                                          \
    for (u32 k = 0; k < SIDE; k++)                                             \
      for (u32 x = 0; x < SIDE; x++) rows[k][x] = 64;                          \
    for (u32 n = first; n < end; n++) {                                        \
      u32 place = a.levels[n] >> 16 & (SIDE * SIDE - 1);                       \
      i32 level = (i32)(i16)(a.levels[n] & 0xffffu);                           \
      i32 c = limit_int(level * a.half, -131072, 131072);                      \
      for (u32 x = 0; x < SIDE; x++)                                           \
        rows[place >> LOG][x] += c * codec_basis(STEP * (place & (SIDE - 1)), x); \
    }                                                                          \
    for (u32 x = 0; x < SIDE; x++) {                                           \
      sums[x] = 1 << (LOG + 7);                                                \
      for (u32 k = 0; k < SIDE; k++)                                           \
        sums[x] += (rows[k][x] >> 7) * codec_basis(STEP * k, row);             \
    }                                                                          \
    SAMPLE *to = (SAMPLE *)a.to + at;                                          \
    for (u32 x = 0; x < SIDE; x++)                                             \
      to[x] = (SAMPLE)limit_int((i32)to[x] + (sums[x] >> (LOG + 8)), 0, TOP);  \
  }

CODEC_ADD(codec_add_fine_8, u8, 255, 2, 4, 4)
CODEC_ADD(codec_add_fine_10, u16, 1023, 2, 4, 4)
CODEC_ADD(codec_add_8, u8, 255, 3, 8, 2)
CODEC_ADD(codec_add_10, u16, 1023, 3, 8, 2)
CODEC_ADD(codec_add_large_8, u8, 255, 4, 16, 1)
CODEC_ADD(codec_add_large_10, u16, 1023, 4, 16, 1)
