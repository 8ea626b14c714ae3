// SPDX-License-Identifier: Apache-2.0
// The codec's residual: levels of 8x8 cosine transforms, made differences and added to their squares. Few levels are
// not zero, so they cross the bus as a list.

typedef struct {
  const u32 *squares; // of each: the place of its first sample, and the number of its first level
  const u32 *levels;  // place in the square in the upper half, two's complement in the lower
  void *to;           // planes one after the other
  u32 count, length;  // of squares and of levels
  u32 width, samples;
  i32 step;
} CodecAdd;

// HEVC's matrix; rows of even frequencies are alike in both halves, of odd ones their negatives.
DEVICE i32 codec_basis(u32 k, u32 x) {
  const i8 half[8][4] = {{64, 64, 64, 64},   {89, 75, 50, 18},   {83, 36, -36, -83}, {75, -18, -89, -50},
                         {64, -64, -64, 64}, {50, -89, 18, 75},  {36, -83, 83, -36}, {18, -50, 75, -89}};
  if (x < 4) return half[k][x];
  i32 v = half[k][7 - x];
  return k & 1 ? -v : v;
}

// A position is a row of a square.
#define CODEC_ADD(NAME, SAMPLE, TOP)                                           \
  KERNEL(NAME, CodecAdd) {                                                     \
    u32 i = AT_X >> 3, row = AT_X & 7;                                         \
    if (i >= a.count || AT_Y > 0) return;                                      \
    u64 at = (u64)a.squares[2 * (u64)i] + (u64)row * a.width;                  \
    u32 first = a.squares[2 * (u64)i + 1];                                     \
    u32 end = i + 1 < a.count ? a.squares[2 * (u64)i + 3] : a.length;          \
    if (at + 8 > a.samples || end > a.length) return;                          \
    i32 rows[8][8], sums[8];                                                   \
    for (u32 k = 0; k < 8; k++)                                                \
      for (u32 x = 0; x < 8; x++) rows[k][x] = 64;                             \
    for (u32 n = first; n < end; n++) {                                        \
      u32 place = a.levels[n] >> 16 & 63;                                      \
      i32 level = (i32)(i16)(a.levels[n] & 0xffffu);                           \
      i32 c = limit_int(level * a.step, -65536, 65536);                        \
      for (u32 x = 0; x < 8; x++)                                              \
        rows[place >> 3][x] += c * codec_basis(place & 7, x);                  \
    }                                                                          \
    for (u32 x = 0; x < 8; x++) {                                              \
      sums[x] = 512;                                                           \
      for (u32 k = 0; k < 8; k++)                                              \
        sums[x] += (rows[k][x] >> 7) * codec_basis(k, row);                    \
    }                                                                          \
    SAMPLE *to = (SAMPLE *)a.to + at;                                          \
    for (u32 x = 0; x < 8; x++)                                                \
      to[x] = (SAMPLE)limit_int((i32)to[x] + (sums[x] >> 10), 0, TOP);         \
  }

CODEC_ADD(codec_add_8, u8, 255)
CODEC_ADD(codec_add_10, u16, 1023)
