// SPDX-License-Identifier: Apache-2.0
// Where the codec's numbers become integers, so that no two machines disagree about what was sent:
// the state (16 times the value, -127 to 127), z (-31 to 31) and the symbols (a dead zone first, -32000
// to 32000). All round to nearest, ties to even; what is no number becomes the lower limit.

typedef struct {
  const void *in;
  void *out;
  u32 count;
  float scale, dead, most;
} CodecRound;

#define CODEC_ROUND(NAME, TYPE, OUT)                                           \
  KERNEL(NAME##_##TYPE, CodecRound) {                                          \
    u32 i = AT_X;                                                              \
    if (i >= a.count || AT_Y > 0) return;                                      \
    float v = get_##TYPE(a.in, i) * a.scale;                                   \
    v = rintf(v - limit(v, -a.dead, a.dead));                                  \
    ((OUT *)a.out)[i] = (OUT)limit(v, -a.most, a.most);                        \
  }

CODEC_ROUND(codec_round_i8, f32, i8)
CODEC_ROUND(codec_round_i8, f16, i8)
CODEC_ROUND(codec_round_i16, f32, i16)
CODEC_ROUND(codec_round_i16, f16, i16)
