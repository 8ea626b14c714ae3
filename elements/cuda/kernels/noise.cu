// SPDX-License-Identifier: Apache-2.0
// What blocks of 16 x 16 samples say of noise: the sum of a second-difference filter's answers, how
// many samples are black or white, and whether a line has no answer. What it means is the host's matter
// (elements/enhance/src/noise.rs). A position is a block.

typedef struct {
  const u8 *samples; // the component's first
  u32 *out;          // sum; clipped samples, and 65536 where a line is flat
  u32 stride, step;  // bytes to the next row, and to the next sample of the component
  u32 across;        // blocks in a row of them
  u32 every;         // only every so many-th is looked at
  u32 count;         // of those
  u32 unused;
} Noise;

KERNEL(noise, Noise) {
  if (AT_X >= a.count || AT_Y > 0) return;
  u32 block = AT_X * a.every;
  const u8 *from = a.samples + (u64)(block / a.across * 16) * a.stride +
                   (u64)(block % a.across * 16) * a.step;
  i32 columns[14], sum = 0;
  u32 clipped = 0, flat = 0;
  for (u32 x = 0; x < 14; x++) columns[x] = 0;
  for (u32 y = 0; y < 16; y++) {
    const u8 *p = from + (u64)y * a.stride;
    for (u32 x = 0; x < 16; x++) {
      u8 v = p[(u64)x * a.step];
      clipped += v == 0 || v == 255;
    }
  }
  for (u32 y = 0; y < 14; y++) {
    const u8 *p = from + (u64)y * a.stride, *q = p + a.stride, *r = q + a.stride;
    i32 line = 0, second[16];
    for (u32 x = 0; x < 16; x++) {
      u64 at = (u64)x * a.step;
      second[x] = (i32)p[at] - 2 * (i32)q[at] + (i32)r[at];
    }
    for (u32 x = 0; x < 14; x++) {
      i32 answer = second[x] - 2 * second[x + 1] + second[x + 2];
      answer = answer < 0 ? -answer : answer;
      columns[x] += answer;
      line += answer;
    }
    flat |= line == 0;
    sum += line;
  }
  for (u32 x = 0; x < 14; x++) flat |= columns[x] == 0;
  a.out[2 * AT_X] = (u32)sum;
  a.out[2 * AT_X + 1] = clipped | flat << 16;
}
