// SPDX-License-Identifier: Apache-2.0
// How far two pictures are apart in each block of 16x16 luma samples, luma and chroma together, and how far
// a picture's blocks are from their own means: what the encoder's choices are made by
// (elements/codec/src/coder/decision.rs). Squares count in eight bits, whatever the depth.

typedef struct {
  const void *y, *uv;             // luma; both planes of chroma, one after the other
  const void *other_y, *other_uv; // the other picture
  u32 *out;                       // one a block, row by row
  u32 width, height;              // in whole blocks
  u32 shift;                      // of squares, from the samples' depth to eight bits
  u32 unused;
} CodecErrors;

DEVICE u32 codec_in_eight(u32 squares, u32 shift) {
  return shift ? (squares + (1u << (shift - 1u))) >> shift : squares;
}

#define CODEC_ERRORS(DEPTH, SAMPLE)                                            \
  DEVICE u32 codec_errors_of_##DEPTH(const SAMPLE *one, const SAMPLE *other,   \
                                     u64 at, u32 stride, u32 size) {           \
    u32 sum = 0;                                                               \
    for (u32 i = 0; i < size; i++)                                             \
      for (u32 j = 0; j < size; j++) {                                         \
        u64 place = at + (u64)i * stride + j;                                  \
        i32 d = (i32)one[place] - (i32)other[place];                           \
        sum += (u32)(d * d);                                                   \
      }                                                                        \
    return sum;                                                                \
  }                                                                            \
  DEVICE u32 codec_spread_of_##DEPTH(const SAMPLE *one, u64 at, u32 stride,    \
                                     u32 size) {                               \
    u32 sum = 0, squares = 0;                                                  \
    for (u32 i = 0; i < size; i++)                                             \
      for (u32 j = 0; j < size; j++) {                                         \
        u32 v = one[at + (u64)i * stride + j];                                 \
        sum += v;                                                              \
        squares += v * v;                                                      \
      }                                                                        \
    return squares - (u32)((u64)sum * sum / (size * size));                    \
  }                                                                            \
  KERNEL(codec_errors_##DEPTH, CodecErrors) {                                  \
    u32 x = AT_X, y = AT_Y, half = a.width / 2;                                \
    if (x >= a.width / 16 || y >= a.height / 16) return;                       \
    u64 luma = (u64)y * 16 * a.width + x * 16;                                 \
    u64 chroma = (u64)y * 8 * half + x * 8, plane = (u64)half * (a.height / 2); \
    const SAMPLE *uv = (const SAMPLE *)a.uv;                                   \
    const SAMPLE *other = (const SAMPLE *)a.other_uv;                          \
    u32 sum = codec_errors_of_##DEPTH((const SAMPLE *)a.y,                     \
                                      (const SAMPLE *)a.other_y, luma,         \
                                      a.width, 16) +                           \
              codec_errors_of_##DEPTH(uv, other, chroma, half, 8) +            \
              codec_errors_of_##DEPTH(uv, other, plane + chroma, half, 8);     \
    a.out[(u64)y * (a.width / 16) + x] = codec_in_eight(sum, a.shift);         \
  }                                                                            \
  KERNEL(codec_spread_##DEPTH, CodecErrors) {                                  \
    u32 x = AT_X, y = AT_Y, half = a.width / 2;                                \
    if (x >= a.width / 16 || y >= a.height / 16) return;                       \
    u64 luma = (u64)y * 16 * a.width + x * 16;                                 \
    u64 chroma = (u64)y * 8 * half + x * 8, plane = (u64)half * (a.height / 2); \
    const SAMPLE *uv = (const SAMPLE *)a.uv;                                   \
    u32 sum =                                                                  \
        codec_spread_of_##DEPTH((const SAMPLE *)a.y, luma, a.width, 16) +      \
        codec_spread_of_##DEPTH(uv, chroma, half, 8) +                         \
        codec_spread_of_##DEPTH(uv, plane + chroma, half, 8);                  \
    a.out[(u64)y * (a.width / 16) + x] = codec_in_eight(sum, a.shift);         \
  }

CODEC_ERRORS(8, u8)
CODEC_ERRORS(10, u16)
