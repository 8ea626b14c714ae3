// SPDX-License-Identifier: Apache-2.0
// The inverse of codec_unshuffle.cu with the codec's rounding: values become bytes by the nearest
// multiple of a 32nd, ties to even, about mid grey (ONNX's QuantizeLinear with zero point 128), and go
// back to their places in the planes.

typedef struct {
  const void *in;
  u8 *y, *u, *v;
  u32 wide, high; // positions
  u32 y_stride, uv_stride, uv_step;
  u32 channel_step, position_step; // elements between channels and between positions of `in`
  float scale;                     // 32
} CodecShuffle;

#define CODEC_SHUFFLE(TYPE)                                                    \
  KERNEL(codec_shuffle_##TYPE, CodecShuffle) {                                 \
    u32 position = AT_X, channel = AT_Y;                                       \
    if (position >= a.wide * a.high || channel >= 96) return;                  \
    float v = get_##TYPE(a.in, (u64)channel * a.channel_step +                 \
                                   (u64)position * a.position_step);           \
    u8 sample = (u8)limit(rintf(v * a.scale) + 128.0f, 0.0f, 255.0f);          \
    u32 x = position % a.wide, y = position / a.wide;                          \
    if (channel < 64) {                                                        \
      u32 dx = channel % 8, dy = channel / 8;                                  \
      a.y[(u64)(y * 8 + dy) * a.y_stride + x * 8 + dx] = sample;               \
    } else {                                                                   \
      u32 k = channel - 64, dx = k / 2 % 4, dy = k / 8;                        \
      u8 *plane = k % 2 ? a.v : a.u;                                           \
      plane[(u64)(y * 4 + dy) * a.uv_stride + (u64)(x * 4 + dx) * a.uv_step] = \
          sample;                                                              \
    }                                                                          \
  }

CODEC_SHUFFLE(f32)
CODEC_SHUFFLE(f16)
