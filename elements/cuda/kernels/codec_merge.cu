// SPDX-License-Identifier: Apache-2.0
// What the codec's network made of a picture, but the prediction where a block is skipped.

typedef struct {
  const void *made, *prediction; // planes of `rows` rows, one after the other
  void *to;                      // the same; may be `made`
  const u8 *skip;                // of each block, row by row: not 0 where it is skipped
  u32 width, rows, planes;
  u32 block; // a block has 2^block samples either way
} CodecMerge;

#define CODEC_MERGE(NAME, SAMPLE)                                              \
  KERNEL(NAME, CodecMerge) {                                                   \
    u32 x = AT_X, y = AT_Y;                                                    \
    if (x >= a.width || y >= a.rows * a.planes) return;                        \
    u32 row = y % a.rows;                                                      \
    u64 at = (u64)y * a.width + x;                                             \
    u8 skip = a.skip[(u64)(row >> a.block) * (a.width >> a.block) +            \
                     (x >> a.block)];                                          \
    ((SAMPLE *)a.to)[at] =                                                     \
        ((const SAMPLE *)(skip ? a.prediction : a.made))[at];                  \
  }

CODEC_MERGE(codec_merge_8, u8)
CODEC_MERGE(codec_merge_10, u16)
