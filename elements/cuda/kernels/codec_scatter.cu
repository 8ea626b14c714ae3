// SPDX-License-Identifier: Apache-2.0
// The codec's symbols that are not zero, each to its place in a tensor of zeros: few are, so they cross the
// bus as a list.

typedef struct {
  const u32 *entries; // place and symbol, the latter as 32 bits of two's complement
  i16 *out;
  u32 count;  // of entries
  u32 length; // of `out`
} CodecScatter;

KERNEL(codec_scatter, CodecScatter) {
  u32 i = AT_X;
  if (i >= a.count || AT_Y > 0) return;
  u32 place = a.entries[2 * (u64)i];
  if (place < a.length) a.out[place] = (i16)(i32)a.entries[2 * (u64)i + 1];
}
