// SPDX-License-Identifier: Apache-2.0
// The codec's loop filter (elements/codec/src/loop_filter.rs) in two kernels over cells of 2x2 samples of luma: how
// much luma bends in each, in four directions; then, by the sums around a cell, its class, whose
// weights move its samples, and the two of chroma. Samples outside of the picture are those of its edge, and so are cells.

typedef struct {
  const void *luma;
  u16 *bends; // four of each cell, row by row
  u32 width, height;
  u32 shift; // from the samples' depth to eight bits
  u32 unused;
} CodecBend;

#define CODEC_BEND(NAME, SAMPLE)                                               \
  DEVICE i32 NAME##_get(const SAMPLE *luma, i32 x, i32 y, u32 width,           \
                       u32 height) {                                           \
    return (i32)luma[(u64)limit_int(y, 0, (i32)height - 1) * width +           \
                     (u32)limit_int(x, 0, (i32)width - 1)];                    \
  }                                                                            \
  DEVICE i32 NAME##_of(const SAMPLE *luma, i32 x, i32 y, i32 right, i32 down,  \
                       u32 width, u32 height) {                                \
    i32 bend = 2 * NAME##_get(luma, x, y, width, height) -                     \
               NAME##_get(luma, x + right, y + down, width, height) -          \
               NAME##_get(luma, x - right, y - down, width, height);           \
    return bend < 0 ? -bend : bend;                                            \
  }                                                                            \
  KERNEL(NAME, CodecBend) {                                                    \
    u32 cell_x = AT_X, cell_y = AT_Y, cells = a.width / 2;                     \
    if (cell_x >= cells || cell_y >= a.height / 2) return;                     \
    const SAMPLE *luma = (const SAMPLE *)a.luma;                               \
    u16 *out = a.bends + 4 * ((u64)cell_y * cells + cell_x);                   \
    i32 h = 0, v = 0, d = 0, e = 0;                                            \
    for (i32 i = 0; i < 4; i++) {                                              \
      i32 x = 2 * (i32)cell_x + (i & 1), y = 2 * (i32)cell_y + (i >> 1);       \
      h += NAME##_of(luma, x, y, 1, 0, a.width, a.height);                     \
      v += NAME##_of(luma, x, y, 0, 1, a.width, a.height);                     \
      d += NAME##_of(luma, x, y, 1, 1, a.width, a.height);                     \
      e += NAME##_of(luma, x, y, -1, 1, a.width, a.height);                    \
    }                                                                          \
    out[0] = (u16)(h >> a.shift);                                              \
    out[1] = (u16)(v >> a.shift);                                              \
    out[2] = (u16)(d >> a.shift);                                              \
    out[3] = (u16)(e >> a.shift);                                              \
  }

CODEC_BEND(codec_bend_8, u8)
CODEC_BEND(codec_bend_10, u16)

typedef struct {
  const void *luma, *chroma; // U and V follow each other
  void *to, *chroma_to;      // others
  const u16 *bends;
  const i16 *weights; // of three sets, twelve of each of the 40 classes, for luma; then as many for chroma
  const u8 *skip, *chroma_skip; // of each block of 16x16: not 0 where it stays as it is
  const u32 *number;            // which set: 1 is the first, 0 none; no address: `set`
  u32 width, height;  // of luma
  u32 set;
  i32 limit, chroma_limit; // of a difference
  i32 top;                 // the largest sample
} CodecFilter;

// Numbers of a set of weights.
#define CODEC_SET (12u * 40u)

// By the sums of bending around a cell.
DEVICE u32 codec_class(u32 h, u32 v, u32 d, u32 e) {
  u32 all = h + v;
  u32 level = (all >= 18) + (all >= 36) + (all >= 72) + (all >= 130) + (all >= 216) + (all >= 360) +
              (all >= 648);
  u32 straight = h > v ? h : v, straight_least = h > v ? v : h;
  u32 oblique = d > e ? d : e, oblique_least = d > e ? e : d;
  u32 direction;
  if (straight <= 2 * straight_least && oblique <= 2 * oblique_least)
    direction = 0;
  else if (straight * oblique_least >= oblique * straight_least)
    direction = h > v ? 1 : 2;
  else
    direction = d > e ? 3 : 4;
  return level * 5 + direction;
}

#define CODEC_FILTER(NAME, BEND, SAMPLE)                                       \
  DEVICE SAMPLE NAME##_sample(const SAMPLE *plane, i32 x, i32 y, u32 width,    \
                              u32 height, const i16 *weights, i32 limit,       \
                              i32 top) {                                       \
    const i32 right[12] = {1, 2, 3, -2, -1, 0, 1, 2, -1, 0, 1, 0};             \
    const i32 down[12] = {0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 3};                 \
    i32 middle = BEND##_get(plane, x, y, width, height), sum = 64;             \
    for (i32 k = 0; k < 12; k++) {                                             \
      i32 one = BEND##_get(plane, x + right[k], y + down[k], width, height);   \
      i32 other = BEND##_get(plane, x - right[k], y - down[k], width, height); \
      sum += weights[k] * (limit_int(one - middle, -limit, limit) +            \
                           limit_int(other - middle, -limit, limit));          \
    }                                                                          \
    return (SAMPLE)limit_int(middle + (sum >> 7), 0, top);                     \
  }                                                                            \
  KERNEL(NAME, CodecFilter) {                                                  \
    u32 cell_x = AT_X, cell_y = AT_Y;                                          \
    u32 cells = a.width / 2, cell_rows = a.height / 2;                         \
    if (cell_x >= cells || cell_y >= cell_rows) return;                        \
    const SAMPLE *luma = (const SAMPLE *)a.luma;                               \
    const SAMPLE *chroma = (const SAMPLE *)a.chroma;                           \
    SAMPLE *to = (SAMPLE *)a.to, *chroma_to = (SAMPLE *)a.chroma_to;           \
    u64 block = (u64)(cell_y / 8) * (a.width / 16) + cell_x / 8;               \
    u8 skip = a.skip[block], chroma_skip = a.chroma_skip[block];               \
    u32 number = a.number ? *a.number : a.set;                                 \
    if (!number) skip = chroma_skip = 1;                                       \
    u32 sums[4] = {0, 0, 0, 0};                                                \
    for (i32 i = 0; !(skip && chroma_skip) && i < 9; i++) {                    \
      i32 x = limit_int((i32)cell_x + i % 3 - 1, 0, (i32)cells - 1);           \
      i32 y = limit_int((i32)cell_y + i / 3 - 1, 0, (i32)cell_rows - 1);       \
      const u16 *bends = a.bends + 4 * ((u64)y * cells + (u32)x);              \
      for (i32 k = 0; k < 4; k++) sums[k] += bends[k];                         \
    }                                                                          \
    const i16 *weights =                                                       \
        a.weights + CODEC_SET * (number ? number - 1u : 0u) +                  \
        12 * codec_class(sums[0], sums[1], sums[2], sums[3]);                  \
    for (i32 i = 0; i < 4; i++) {                                              \
      i32 x = 2 * (i32)cell_x + (i & 1), y = 2 * (i32)cell_y + (i >> 1);       \
      u64 at = (u64)y * a.width + (u32)x;                                      \
      to[at] = skip ? luma[at]                                                 \
                    : NAME##_sample(luma, x, y, a.width, a.height, weights,    \
                                    a.limit, a.top);                           \
    }                                                                          \
    for (u32 plane = 0; plane < 2; plane++) {                                  \
      u64 first = (u64)plane * cells * cell_rows;                              \
      u64 at = first + (u64)cell_y * cells + cell_x;                           \
      chroma_to[at] =                                                          \
          chroma_skip                                                          \
              ? chroma[at]                                                     \
              : NAME##_sample(chroma + first, (i32)cell_x, (i32)cell_y, cells, \
                              cell_rows, weights + 3 * CODEC_SET,              \
                              a.chroma_limit, a.top);                          \
    }                                                                          \
  }

CODEC_FILTER(codec_filter_8, codec_bend_8, u8)
CODEC_FILTER(codec_filter_10, codec_bend_10, u16)

// Which set brings a picture nearest to its source, judged by some of its blocks: squared errors without the
// filter and with each of three sets, of a row of cells at a time, then their sums, then the least.
typedef struct {
  const void *luma, *source;
  const u16 *bends;
  const i16 *weights; // of three sets
  const u32 *blocks;  // which, row by row
  u32 *errors;        // of each row of cells of each block, four
  u64 *sums;          // 64 times four
  u32 *number;        // the set: 1 is the first, 0 none
  u32 width, height;
  u32 count; // of blocks
  i32 limit; // of a difference
  i32 top;   // the largest sample
  u32 unused;
} CodecJudge;

#define CODEC_JUDGE(NAME, BEND, SAMPLE)                                        \
  KERNEL(NAME, CodecJudge) {                                                   \
    const i32 right[12] = {1, 2, 3, -2, -1, 0, 1, 2, -1, 0, 1, 0};             \
    const i32 down[12] = {0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 3};                 \
    u32 row = AT_X, n = AT_Y;                                                  \
    if (row >= 8 || n >= a.count) return;                                      \
    u32 wide = a.width / 16, block = a.blocks[n];                              \
    if (block >= wide * (a.height / 16)) return;                               \
    i32 cells = (i32)a.width / 2, cell_rows = (i32)a.height / 2;               \
    i32 cell_y = (i32)(block / wide * 8 + row);                                \
    const SAMPLE *luma = (const SAMPLE *)a.luma;                               \
    const SAMPLE *source = (const SAMPLE *)a.source;                           \
    u32 errors[4] = {0, 0, 0, 0};                                              \
    for (i32 c = 0; c < 8; c++) {                                              \
      i32 cell_x = (i32)(block % wide * 8) + c;                                \
      u32 sums[4] = {0, 0, 0, 0};                                              \
      for (i32 i = 0; i < 9; i++) {                                            \
        i32 x = limit_int(cell_x + i % 3 - 1, 0, cells - 1);                   \
        i32 y = limit_int(cell_y + i / 3 - 1, 0, cell_rows - 1);               \
        const u16 *bends = a.bends + 4 * ((u64)y * (u32)cells + (u32)x);       \
        for (i32 k = 0; k < 4; k++) sums[k] += bends[k];                       \
      }                                                                        \
      const i16 *weights =                                                     \
          a.weights + 12 * codec_class(sums[0], sums[1], sums[2], sums[3]);    \
      for (i32 i = 0; i < 4; i++) {                                            \
        i32 x = 2 * cell_x + (i & 1), y = 2 * cell_y + (i >> 1);               \
        i32 middle = BEND##_get(luma, x, y, a.width, a.height);                \
        i32 wanted = BEND##_get(source, x, y, a.width, a.height);              \
        i32 sum[3] = {64, 64, 64};                                             \
        for (i32 k = 0; k < 12; k++) {                                         \
          i32 one = BEND##_get(luma, x + right[k], y + down[k], a.width,       \
                              a.height);                                       \
          i32 other = BEND##_get(luma, x - right[k], y - down[k], a.width,     \
                                a.height);                                     \
          i32 pair = limit_int(one - middle, -a.limit, a.limit) +              \
                     limit_int(other - middle, -a.limit, a.limit);             \
          for (i32 set = 0; set < 3; set++)                                    \
            sum[set] += weights[CODEC_SET * (u32)set + (u32)k] * pair;         \
        }                                                                      \
        errors[0] += (u32)((middle - wanted) * (middle - wanted));             \
        for (i32 set = 0; set < 3; set++) {                                    \
          i32 d = limit_int(middle + (sum[set] >> 7), 0, a.top) - wanted;      \
          errors[set + 1] += (u32)(d * d);                                     \
        }                                                                      \
      }                                                                        \
    }                                                                          \
    for (u32 k = 0; k < 4; k++) a.errors[4 * (8 * (u64)n + row) + k] = errors[k]; \
  }

CODEC_JUDGE(codec_judge_8, codec_bend_8, u8)
CODEC_JUDGE(codec_judge_10, codec_bend_10, u16)

KERNEL(codec_tally, CodecJudge) {
  u32 k = AT_X, part = AT_Y;
  if (k >= 4 || part >= 64) return;
  u64 sum = 0;
  for (u32 i = part; i < 8 * a.count; i += 64) sum += a.errors[4 * (u64)i + k];
  a.sums[4 * part + k] = sum;
}

KERNEL(codec_pick, CodecJudge) {
  if (AT_X > 0 || AT_Y > 0) return;
  u64 least = 0;
  u32 number = 0;
  for (u32 k = 0; k < 4; k++) {
    u64 sum = 0;
    for (u32 part = 0; part < 64; part++) sum += a.sums[4 * part + k];
    if (k == 0 || sum < least) {
      least = sum;
      number = k;
    }
  }
  *a.number = number;
}
