// SPDX-License-Identifier: Apache-2.0
// The opposite of codec_scatter.cu: the symbols that are not zero, one after the other, so that few bytes
// cross the bus. Symbols are taken in runs of 256: how many of each run are not zero is counted, then the
// counts of 64 runs are summed, then each run knows where its symbols go. Nothing depends on which thread
// comes first.

typedef struct {
  const i16 *symbols;
  u16 *counts; // of each run
  u32 *sums;   // of each group of 64 runs
  u32 *list;   // place in its run and symbol, 16 bits each
  u32 length;  // of `symbols`
  u32 room;    // of `list`; what does not fit is left out
} CodecGather;

#define RUN 256u
#define GROUP 64u

DEVICE u32 gather_runs(u32 length) { return (length + RUN - 1u) / RUN; }

KERNEL(codec_count, CodecGather) {
  u32 run = AT_X;
  if (run >= gather_runs(a.length) || AT_Y > 0) return;
  u32 first = run * RUN, left = a.length - first, count = 0;
  for (u32 i = 0; i < RUN && i < left; i++) count += a.symbols[first + i] != 0;
  a.counts[run] = (u16)count;
}

KERNEL(codec_sum, CodecGather) {
  u32 group = AT_X, runs = gather_runs(a.length);
  if ((u64)group * GROUP >= runs || AT_Y > 0) return;
  u32 sum = 0;
  for (u32 i = group * GROUP; i < (group + 1u) * GROUP && i < runs; i++) sum += a.counts[i];
  a.sums[group] = sum;
}

KERNEL(codec_gather, CodecGather) {
  u32 run = AT_X;
  if (run >= gather_runs(a.length) || AT_Y > 0) return;
  u32 at = 0, group = run / GROUP;
  for (u32 i = 0; i < group; i++) at += a.sums[i];
  for (u32 i = group * GROUP; i < run; i++) at += a.counts[i];
  u32 first = run * RUN, left = a.length - first;
  for (u32 i = 0; i < RUN && i < left && at < a.room; i++) {
    i16 symbol = a.symbols[first + i];
    if (symbol) a.list[at++] = i << 16 | (u32)(u16)symbol;
  }
}
