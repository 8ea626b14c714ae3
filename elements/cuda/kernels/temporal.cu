// SPDX-License-Identifier: Apache-2.0
// A cleaned component mixed with the last output, as far as its 3 x 3 surroundings have not changed more
// than noise would: elements/enhance/src/temporal.rs, sample for sample. The result goes to the picture
// and, for the next one, to a plane.

typedef struct {
  const u8 *now;    // now_stride a row
  const u8 *before; // width * height, tightly packed, as is `after`
  u8 *after;
  u8 *out;     // the picture's first sample
  u32 *still;  // 256 counters of samples that are mixed by at least half, or null
  u32 width, height;
  u32 now_stride;
  u32 stride, step;        // of the picture: bytes to the next row and sample
  i32 most, limit, slope;  // largest weight, of 256; the sum that has moved; weight for a step below it
  u32 fresh;               // there is no last output
  u32 unused;
} Temporal;

KERNEL(temporal, Temporal) {
  u32 x = AT_X, y = AT_Y;
  if (x >= a.width || y >= a.height) return;
  i32 now = a.now[(u64)y * a.now_stride + x];
  u64 at = (u64)y * a.width + x;
  if (!a.fresh) {
    i32 sum = 0;
    for (u32 j = 0; j < 3; j++) {
      u32 v = y + j > 0 ? y + j - 1 : 0;
      v = v < a.height ? v : a.height - 1;
      for (u32 i = 0; i < 3; i++) {
        u32 u = x + i > 0 ? x + i - 1 : 0;
        u = u < a.width ? u : a.width - 1;
        i32 d = (i32)a.now[(u64)v * a.now_stride + u] - (i32)a.before[(u64)v * a.width + u];
        sum += d < 0 ? -d : d;
      }
    }
    i32 weight = limit_int(((a.limit - sum) * a.slope) >> 8, 0, a.most);
    if (a.still && 2 * weight >= a.most) add_to(a.still + (y & 255u), 1);
    now = (now * (256 - weight) + (i32)a.before[at] * weight + 128) >> 8;
  }
  a.after[at] = (u8)now;
  a.out[(u64)y * a.stride + (u64)x * a.step] = (u8)now;
}
