// SPDX-License-Identifier: Apache-2.0
// The codec's space to depth: 8x8 luma samples and 4x4 of each chroma become the 96 channels of one
// position, in ONNX's order (SpaceToDepth: row, column, component) and the network's unit, a 32nd of
// the distance to mid grey. A position of the grid is a channel and a position of the picture.

typedef struct {
  const u8 *y, *u, *v; // planes of whole positions; interleaved chroma has uv_step 2
  void *out;
  u32 wide, high; // positions
  u32 y_stride, uv_stride, uv_step;
  u32 channel_step, position_step; // elements between channels and between positions of `out`
  float scale;                     // 1/32
} CodecUnshuffle;

#define CODEC_UNSHUFFLE(TYPE)                                                  \
  KERNEL(codec_unshuffle_##TYPE, CodecUnshuffle) {                             \
    u32 position = AT_X, channel = AT_Y;                                       \
    if (position >= a.wide * a.high || channel >= 96) return;                  \
    u32 x = position % a.wide, y = position / a.wide;                          \
    u8 sample;                                                                 \
    if (channel < 64) {                                                        \
      u32 dx = channel % 8, dy = channel / 8;                                  \
      sample = a.y[(u64)(y * 8 + dy) * a.y_stride + x * 8 + dx];               \
    } else {                                                                   \
      u32 k = channel - 64, dx = k / 2 % 4, dy = k / 8;                        \
      const u8 *plane = k % 2 ? a.v : a.u;                                     \
      sample = plane[(u64)(y * 4 + dy) * a.uv_stride +                         \
                     (u64)(x * 4 + dx) * a.uv_step];                           \
    }                                                                          \
    put_##TYPE(a.out,                                                          \
               (u64)channel * a.channel_step + (u64)position * a.position_step, \
               ((float)sample - 128.0f) * a.scale);                            \
  }

CODEC_UNSHUFFLE(f32)
CODEC_UNSHUFFLE(f16)
