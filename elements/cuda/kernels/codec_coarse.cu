// SPDX-License-Identifier: Apache-2.0
// The codec's search for motion below full size (elements/codec/src/motion/search.rs, coarse_row): one level,
// block by block of 8x8, in whole samples. The smallest is searched fully, the others around what the level
// below found there and beside. Samples outside of the picture are those of its edge.

typedef struct {
  const u8 *source, *reference;
  const i16 *parent; // of each block of the level below, in its samples: right, down; no address: none
  i16 *out;          // of each block, row by row
  u32 width, height; // in whole blocks
  u32 lambda;        // price of a bit, in 16ths of a difference of 1
  u32 unused;
} CodecCoarse;

typedef struct {
  i32 x, y;
  i32 right, down; // the best so far
  u32 least;
} CoarseBlock;

DEVICE u32 coarse_bits(i32 v) {
  u32 size = (u32)(v < 0 ? -v : v), bits = 0;
  for (; size; size >>= 1) bits++;
  return bits;
}

// A block may lie 32 samples outside.
DEVICE i32 coarse_limit(i32 v, i32 at, i32 extent) {
  return limit_int(v, -32 - at, extent + 32 - 8 - at);
}

DEVICE void coarse_consider(const u8 *source, const u8 *reference, u32 width, u32 height, u32 lambda,
                            CoarseBlock *block, i32 right, i32 down) {
  i32 w = (i32)width, h = (i32)height;
  right = coarse_limit(right, block->x, w);
  down = coarse_limit(down, block->y, h);
  u32 difference = 0;
  for (i32 i = 0; i < 8; i++) {
    const u8 *row = source + (u64)(block->y + i) * width + (u32)block->x;
    const u8 *other = reference + (u64)limit_int(block->y + down + i, 0, h - 1) * width;
    for (i32 j = 0; j < 8; j++) {
      i32 d = (i32)row[j] - (i32)other[limit_int(block->x + right + j, 0, w - 1)];
      difference += (u32)(d < 0 ? -d : d);
    }
  }
  // Length of a vector, so that flat areas stay at rest.
  u32 price = difference + ((lambda * 2u * (coarse_bits(right) + coarse_bits(down))) >> 4);
  if (price < block->least) {
    block->least = price;
    block->right = right;
    block->down = down;
  }
}

#define CONSIDER(RIGHT, DOWN)                                                  \
  coarse_consider(a.source, a.reference, a.width, a.height, a.lambda, &block, RIGHT, DOWN)

KERNEL(codec_coarse, CodecCoarse) {
  const i32 around_x[8] = {-1, 1, 0, 0, -1, 1, -1, 1};
  const i32 around_y[8] = {0, 0, -1, 1, -1, -1, 1, 1};
  u32 column = AT_X, row = AT_Y, columns = a.width / 8, rows = a.height / 8;
  if (column >= columns || row >= rows) return;
  CoarseBlock block;
  block.x = (i32)(8 * column);
  block.y = (i32)(8 * row);
  block.right = block.down = 0;
  block.least = 0xffffffffu;
  CONSIDER(0, 0);
  i32 reach = 2;
  if (!a.parent) {
    for (i32 down = -10; down <= 10; down++)
      for (i32 right = -10; right <= 10; right++) CONSIDER(right, down);
    reach = 8;
  } else {
    // The parent, and those next to it on this block's side.
    i32 wide = (i32)columns / 2, high = (i32)rows / 2;
    i32 px = (i32)column / 2, py = (i32)row / 2;
    i32 nx = limit_int(column % 2 ? px + 1 : px - 1, 0, wide - 1);
    i32 ny = limit_int(row % 2 ? py + 1 : py - 1, 0, high - 1);
    i32 last_right = 0, last_down = 0;
    for (i32 i = 0; i < 4; i++) {
      const i16 *parent = a.parent + 2 * ((u64)(i < 2 ? py : ny) * (u32)wide + (u32)(i % 2 ? nx : px));
      i32 right = 2 * parent[0], down = 2 * parent[1];
      if (right != last_right || down != last_down) CONSIDER(right, down);
      last_right = right;
      last_down = down;
    }
  }
  for (i32 round = 0; round < reach; round++) {
    i32 right = block.right, down = block.down;
    for (i32 i = 0; i < 8; i++) CONSIDER(right + around_x[i], down + around_y[i]);
    if (block.right == right && block.down == down) break;
  }
  i16 *out = a.out + 2 * ((u64)row * columns + column);
  out[0] = (i16)block.right;
  out[1] = (i16)block.down;
}
