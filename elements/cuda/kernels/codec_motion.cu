// SPDX-License-Identifier: Apache-2.0
// The codec's search for motion at full size, all blocks at once: the steps of
// elements/codec/src/motion/parallel.rs, number by number. Vectors are one a part of 8x8 samples, those of a
// whole block of 16x16 the same four times; prices are a table of bits, in the order of that crate's
// motion/code.rs.

typedef struct {
  const u8 *source, *reference; // luma of eight bits
  // What is known: vectors (right, down) and those that were found, of parts; modes and errors, of blocks.
  const i16 *vectors, *found;
  const u8 *modes;
  const u32 *squares;
  i16 *out; // vectors
  u8 *out_modes;
  u32 *out_squares;
  const float *prices;
  u32 width, height; // in whole blocks
  u32 tile_rows;     // blocks
  u32 which;         // blocks that settle: 0 all, 1 the even ones of a chessboard, 2 the odd ones
  // What a squared error of 1 is worth, in bits. A small error costs `lasting` times what it is worth; one above
  // `knee` grows by its logarithm; below `skip_at` a block is taken to be skipped, above `divide_from` it may be
  // divided, which costs `division` beyond the bits of its parts.
  float per_bit, lasting, knee, skip_at, divide_from, division;
  i32 taps[32]; // by fraction
} CodecMotion;

#define SKIPPED 1u
#define MERGED 2u
#define SEVERAL 4u
#define MOST 511

typedef struct {
  i32 x[5], y[5];
  u32 count, unrest;
} MotionCandidates;

// Where a table's numbers begin.
#define PRICE_MERGE 12u
#define PRICE_DIVIDED (PRICE_MERGE + 36u)
#define PRICE_FIRST (PRICE_DIVIDED + 6u)
#define PRICE_INDEX (PRICE_FIRST + 12u)
#define PRICE_PART_MERGE (PRICE_INDEX + 12u)
#define PRICE_PART_FIRST (PRICE_PART_MERGE + 18u)
#define PRICE_PART_INDEX (PRICE_PART_FIRST + 6u)
#define PRICE_DIFFERENCE (PRICE_PART_INDEX + 6u)
#define TABULATED 64u

// Squared error of the prediction of a square by a vector.
DEVICE u32 motion_squares(const CodecMotion *a, i32 x, i32 y, i32 size, i32 vx, i32 vy) {
  i32 fx = vx & 3, fy = vy & 3, left = x + (vx >> 2), top = y + (vy >> 2);
  i32 right_edge = (i32)a->width - 1, lower_edge = (i32)a->height - 1;
  i32 count = fy ? size + 7 : size, shift = (fx ? 6 : 0) + (fy ? 6 : 0);
  i32 half = shift ? 1 << (shift - 1) : 0;
  u32 sum = 0;
  if (fy) top -= 3;
  for (i32 j = 0; j < size; j++) {
    i32 across[23];
    for (i32 i = 0; i < count; i++) {
      const u8 *line = a->reference + (u64)limit_int(top + i, 0, lower_edge) * a->width;
      i32 v = 0;
      if (!fx) v = (i32)line[limit_int(left + j, 0, right_edge)];
      for (i32 t = 0; fx && t < 8; t++)
        v += a->taps[fx * 8 + t] * (i32)line[limit_int(left + j - 3 + t, 0, right_edge)];
      across[i] = v;
    }
    for (i32 i = 0; i < size; i++) {
      i32 v = fy ? 0 : across[i];
      for (i32 t = 0; fy && t < 8; t++) v += a->taps[fy * 8 + t] * across[i + t];
      v = limit_int((v + half) >> shift, 0, 255);
      i32 d = (i32)a->source[(u64)(y + i) * a->width + (u32)(x + j)] - v;
      sum += (u32)(d * d);
    }
  }
  return sum;
}

DEVICE float motion_error(const CodecMotion *a, u32 squares) { return (float)squares * a->per_bit; }

DEVICE u32 motion_skips(const CodecMotion *a, u32 squares) { return motion_error(a, squares) < a->skip_at; }

// The natural logarithm of a number above 1, to 1 %.
DEVICE float motion_ln(float x) {
  union {
    float number;
    u32 bits;
  } as;
  as.number = x;
  float exponent = (float)(as.bits >> 23) - 127.0f;
  as.bits = (as.bits & 0x007fffffu) | 0x3f800000u;
  float rest = as.number - 1.0f;
  return 0.693147180559945309417f * (exponent + rest + 0.344f * rest * (1.0f - rest));
}

// What an error costs in the end, in bits, and how that grows with it.
DEVICE float motion_value(const CodecMotion *a, u32 squares) {
  float error = motion_error(a, squares);
  if (error < a->knee) return a->lasting * error;
  return a->lasting * a->knee * (1.0f + motion_ln(error / a->knee));
}

DEVICE float motion_slope(const CodecMotion *a, u32 squares) {
  return a->lasting * a->per_bit * (a->knee / fmaxf(motion_error(a, squares), a->knee));
}

DEVICE i32 motion_median(i32 a, i32 b, i32 c) {
  i32 least = a < b ? a : b, most = a < b ? b : a;
  return c < least ? least : c > most ? most : c;
}

DEVICE i32 motion_distance(i32 a, i32 b) { return a < b ? b - a : a - b; }

DEVICE u32 motion_has(const MotionCandidates *c, i32 x, i32 y) {
  for (u32 i = 0; i < c->count; i++)
    if (c->x[i] == x && c->y[i] == y) return 1;
  return 0;
}

// A vector of part (x, y), which may lie in the block whose vectors are `own`.
DEVICE i32 motion_at(const CodecMotion *a, const i32 *own, i32 bx, i32 by, i32 x, i32 y, i32 down) {
  if (x >> 1 == bx && y >> 1 == by) return own[2 * (2 * (y & 1) + (x & 1)) + down];
  return a->vectors[2 * ((u64)(u32)y * (a->width / 8) + (u32)x) + (u32)down];
}

// Candidates of a square of `size` parts at part (px, py), of the tile that it is in.
DEVICE MotionCandidates motion_candidates(const CodecMotion *a, i32 px, i32 py, i32 size, const i32 *own) {
  i32 width = (i32)a->width / 8, rows = 2 * (i32)a->tile_rows;
  i32 inside = py % rows, bx = px >> 1, by = py >> 1;
  u32 has[3] = {0, 0, 0};
  i32 x[3] = {0, 0, 0}, y[3] = {0, 0, 0};
  i32 at_x[3], at_y[3];
  at_x[0] = px - 1;
  at_y[0] = py + size - 1;
  has[0] = px > 0;
  at_x[1] = px + size - 1;
  at_y[1] = py - 1;
  has[1] = inside > 0;
  i32 beyond = px + size;
  u32 known = beyond < width && (size > 1 || !(px & 1) || !(inside & 1));
  at_x[2] = known ? beyond : px - 1;
  at_y[2] = py - 1;
  has[2] = inside > 0 && (known || px > 0);
  for (i32 i = 0; i < 3; i++)
    if (has[i]) {
      x[i] = motion_at(a, own, bx, by, at_x[i], at_y[i], 0);
      y[i] = motion_at(a, own, bx, by, at_x[i], at_y[i], 1);
    }
  MotionCandidates c;
  for (i32 i = 0; i < 5; i++) c.x[i] = c.y[i] = 0;
  if (has[0] && has[1] && has[2]) {
    c.x[0] = motion_median(x[0], x[1], x[2]);
    c.y[0] = motion_median(y[0], y[1], y[2]);
  } else if (has[0]) {
    c.x[0] = x[0];
    c.y[0] = y[0];
  } else if (has[1]) {
    c.x[0] = x[1];
    c.y[0] = y[1];
  }
  c.count = 1;
  i32 spread = 0;
  for (i32 i = 0; i < 3; i++)
    if (has[i]) {
      i32 dx = motion_distance(x[i], c.x[0]), dy = motion_distance(y[i], c.y[0]);
      spread = dx > spread ? dx : spread;
      spread = dy > spread ? dy : spread;
    }
  c.unrest = spread == 0 ? 0 : spread <= 4 ? 1 : 2;
  for (i32 i = 0; i < 4; i++) {
    i32 vx = i < 3 ? x[i] : 0, vy = i < 3 ? y[i] : 0;
    if ((i == 3 || has[i]) && !motion_has(&c, vx, vy)) {
      c.x[c.count] = vx;
      c.y[c.count] = vy;
      c.count++;
    }
  }
  return c;
}

typedef struct {
  u32 near, beyond, merged, divided;
} MotionContexts;

DEVICE MotionContexts motion_contexts(const CodecMotion *a, u32 x, u32 row) {
  u32 width = a->width / 16, above = row % a->tile_rows != 0;
  const u8 *modes = a->modes + (u64)row * width + x;
  u32 left_mode = x > 0 ? modes[-1] : 0;
  u32 above_mode = above ? *(modes - width) : 0;
  u32 beyond_mode = above && x + 1 < width ? *(modes - width + 1) : 0;
  MotionContexts c;
  c.near = (left_mode & SKIPPED ? 1u : 0u) + (above_mode & SKIPPED ? 1u : 0u);
  c.beyond = beyond_mode & SKIPPED ? 1u : 0u;
  c.merged = (left_mode & MERGED ? 1u : 0u) + (above_mode & MERGED ? 1u : 0u);
  c.divided = (left_mode & SEVERAL ? 1u : 0u) + (above_mode & SEVERAL ? 1u : 0u);
  return c;
}

DEVICE float price_skip(const CodecMotion *a, MotionContexts c, u32 flag) {
  return a->prices[4 * c.near + 2 * c.beyond + flag];
}

DEVICE float price_merge(const CodecMotion *a, u32 skip, u32 merged, u32 unrest, u32 flag) {
  return a->prices[PRICE_MERGE + 18 * skip + 6 * merged + 2 * unrest + flag];
}

DEVICE float price_divided(const CodecMotion *a, u32 divided, u32 flag) {
  return a->prices[PRICE_DIVIDED + 2 * divided + flag];
}

DEVICE float price_part_merge(const CodecMotion *a, u32 merged, u32 unrest, u32 flag) {
  return a->prices[PRICE_PART_MERGE + 6 * (merged < 2 ? merged : 2) + 2 * unrest + flag];
}

// The price of a candidate's number, added to `base`.
DEVICE float price_number(const CodecMotion *a, u32 first, u32 index, const MotionCandidates *c, u32 number,
                          float base) {
  float so_far = base;
  for (u32 at = 0; at + 1 < c->count; at++) {
    u32 place = at ? index + 2 * (at - 1) : first + 2 * c->unrest;
    if (at == number) return so_far + a->prices[place];
    so_far = so_far + a->prices[place + 1];
  }
  return so_far;
}

DEVICE float price_candidate(const CodecMotion *a, u32 skip, u32 merged, const MotionCandidates *c, u32 number) {
  float base = price_merge(a, skip, merged, c->unrest, 1);
  return price_number(a, PRICE_FIRST + 6 * skip, PRICE_INDEX + 6 * skip, c, number, base);
}

DEVICE float price_part_candidate(const CodecMotion *a, u32 merged, const MotionCandidates *c, u32 number) {
  float base = price_part_merge(a, merged, c->unrest, 1);
  return price_number(a, PRICE_PART_FIRST, PRICE_PART_INDEX, c, number, base);
}

DEVICE float price_size(const CodecMotion *a, u32 unrest, u32 which, u32 size) {
  const float *row = a->prices + PRICE_DIFFERENCE + (3 * unrest + which) * TABULATED;
  if (size < TABULATED) return row[size];
  u32 log = 0;
  for (u32 rest = size / TABULATED; rest > 1; rest >>= 1) log++;
  return row[TABULATED - 1] + 2.0f * (float)log + 2.0f;
}

// A vector's difference to the median.
DEVICE float price_difference(const CodecMotion *a, const MotionCandidates *c, i32 x, i32 y) {
  u32 dx = (u32)motion_distance(x, c->x[0]), dy = (u32)motion_distance(y, c->y[0]);
  return price_size(a, c->unrest, 0, dx) + price_size(a, c->unrest, dx ? 1 : 2, dy);
}

// What a new vector for a whole block costs that leaves so large an error.
DEVICE float motion_fresh(const CodecMotion *a, MotionContexts contexts, const MotionCandidates *c, i32 x,
                          i32 y, u32 squares) {
  u32 skip = motion_skips(a, squares);
  float flag = price_skip(a, contexts, skip);
  float whole = price_merge(a, skip, contexts.merged, c->unrest, 0) + price_divided(a, contexts.divided, 0);
  return motion_value(a, squares) + flag + whole + price_difference(a, c, x, y);
}

// The vectors of a block's parts.
DEVICE void motion_own(const CodecMotion *a, u32 x, u32 row, i32 *own) {
  for (u32 i = 0; i < 4; i++) {
    u64 at = 2 * ((u64)(2 * row + i / 2) * (a->width / 8) + 2 * x + i % 2);
    own[2 * i] = a->vectors[at];
    own[2 * i + 1] = a->vectors[at + 1];
  }
}

DEVICE void motion_fill(const CodecMotion *a, u32 x, u32 row, const i32 *own) {
  for (u32 i = 0; i < 4; i++) {
    u64 at = 2 * ((u64)(2 * row + i / 2) * (a->width / 8) + 2 * x + i % 2);
    a->out[at] = (i16)own[2 * i];
    a->out[at + 1] = (i16)own[2 * i + 1];
  }
}

DEVICE void motion_fill_one(const CodecMotion *a, u32 x, u32 row, i32 vx, i32 vy) {
  i32 own[8];
  for (i32 i = 0; i < 4; i++) {
    own[2 * i] = vx;
    own[2 * i + 1] = vy;
  }
  motion_fill(a, x, row, own);
}

// Vectors of half size, one a block, in quarter pels and within what can be coded. What is known of modes
// begins with nothing.
KERNEL(codec_start, CodecMotion) {
  u32 x = AT_X, row = AT_Y;
  if (x >= a.width / 16 || row >= a.height / 16) return;
  u64 at = (u64)row * (a.width / 16) + x;
  motion_fill_one(&a, x, row, limit_int(8 * a.found[2 * at], -MOST / 4 * 4, MOST / 4 * 4),
                  limit_int(8 * a.found[2 * at + 1], -MOST / 4 * 4, MOST / 4 * 4));
  a.out_modes[at] = 0;
  a.out_squares[at] = 0;
}

KERNEL(codec_settle, CodecMotion) {
  u32 x = AT_X, row = AT_Y;
  if (x >= a.width / 16 || row >= a.height / 16) return;
  i32 own[8];
  motion_own(&a, x, row, own);
  u64 at = (u64)row * (a.width / 16) + x;
  if (a.which && ((x + row) & 1u) != a.which - 1u) {
    motion_fill(&a, x, row, own);
    a.out_modes[at] = a.modes[at];
    a.out_squares[at] = a.squares[at];
    return;
  }
  MotionCandidates c = motion_candidates(&a, (i32)(2 * x), (i32)(2 * row), 2, own);
  MotionContexts contexts = motion_contexts(&a, x, row);
  i32 best_x = 0, best_y = 0;
  u32 mode = 0, error = 0, any = 0;
  float least = 0.0f;
  for (u32 i = 0; i < c.count; i++) {
    u32 squares = motion_squares(&a, (i32)(16 * x), (i32)(16 * row), 16, c.x[i], c.y[i]);
    u32 skip = motion_skips(&a, squares);
    float cost = motion_value(&a, squares) + price_skip(&a, contexts, skip) +
                 price_candidate(&a, skip, contexts.merged, &c, i);
    if (!any || cost < least) {
      any = 1;
      least = cost;
      best_x = c.x[i];
      best_y = c.y[i];
      mode = MERGED | skip;
      error = squares;
    }
  }
  const i16 *found = a.found + 2 * ((u64)(2 * row) * (a.width / 8) + 2 * x);
  for (u32 i = 0; i < 2; i++) {
    i32 vx = i ? found[0] : own[0], vy = i ? found[1] : own[1];
    if (motion_has(&c, vx, vy)) continue;
    u32 squares = motion_squares(&a, (i32)(16 * x), (i32)(16 * row), 16, vx, vy);
    float cost = motion_fresh(&a, contexts, &c, vx, vy, squares);
    if (cost < least) {
      least = cost;
      best_x = vx;
      best_y = vy;
      mode = motion_skips(&a, squares);
      error = squares;
    }
  }
  motion_fill_one(&a, x, row, best_x, best_y);
  a.out_modes[at] = (u8)mode;
  a.out_squares[at] = error;
}

// Descends from (x, y) in whole, half, then quarter steps; COST is an expression of vx and vy.
#define DESCEND(ROUNDS_0, ROUNDS_1, ROUNDS_2, COST)                            \
  {                                                                            \
    const i32 around_x[8] = {-1, 1, 0, 0, -1, 1, -1, 1};                       \
    const i32 around_y[8] = {0, 0, -1, 1, -1, -1, 1, 1};                       \
    const i32 all_rounds[3] = {ROUNDS_0, ROUNDS_1, ROUNDS_2};                  \
    i32 vx = best_x, vy = best_y;                                              \
    float least = COST;                                                        \
    for (i32 stage = 0; stage < 3; stage++) {                                  \
      i32 step = 4 >> stage, moves = stage ? 8 : 4;                            \
      for (i32 round = 0; round < all_rounds[stage]; round++) {                \
        i32 centre_x = best_x, centre_y = best_y;                              \
        for (i32 i = 0; i < moves; i++) {                                      \
          vx = centre_x + around_x[i] * step;                                  \
          vy = centre_y + around_y[i] * step;                                  \
          if (vx < -MOST || vx > MOST || vy < -MOST || vy > MOST) continue;    \
          float cost = COST;                                                   \
          if (cost < least) {                                                  \
            least = cost;                                                      \
            best_x = vx;                                                       \
            best_y = vy;                                                       \
          }                                                                    \
        }                                                                      \
        if (best_x == centre_x && best_y == centre_y) break;                   \
      }                                                                        \
    }                                                                          \
  }

KERNEL(codec_refine, CodecMotion) {
  u32 x = AT_X, row = AT_Y;
  if (x >= a.width / 16 || row >= a.height / 16) return;
  i32 own[8];
  motion_own(&a, x, row, own);
  MotionCandidates c = motion_candidates(&a, (i32)(2 * x), (i32)(2 * row), 2, own);
  MotionContexts contexts = motion_contexts(&a, x, row);
  i32 best_x = own[0], best_y = own[1];
  DESCEND(8, 2, 2,
          motion_fresh(&a, contexts, &c, vx, vy,
                       motion_squares(&a, (i32)(16 * x), (i32)(16 * row), 16, vx, vy)))
  motion_fill_one(&a, x, row, best_x, best_y);
}

KERNEL(codec_refine_parts, CodecMotion) {
  u32 x = AT_X, y = AT_Y, wide = a.width / 8;
  if (x >= wide || y >= a.height / 8) return;
  u64 at = 2 * ((u64)y * wide + x);
  i32 best_x = a.vectors[at], best_y = a.vectors[at + 1];
  u32 squares = a.squares[(u64)(y / 2) * (a.width / 16) + x / 2];
  if (motion_error(&a, squares) > a.divide_from) {
    i32 own[8];
    for (i32 i = 0; i < 4; i++) {
      own[2 * i] = best_x;
      own[2 * i + 1] = best_y;
    }
    float slope = motion_slope(&a, squares);
    MotionCandidates c = motion_candidates(&a, (i32)x, (i32)y, 1, own);
    DESCEND(4, 2, 2,
            slope * (float)motion_squares(&a, (i32)(8 * x), (i32)(8 * y), 8, vx, vy) +
                price_difference(&a, &c, vx, vy))
  }
  a.out[at] = (i16)best_x;
  a.out[at + 1] = (i16)best_y;
}

KERNEL(codec_divide, CodecMotion) {
  u32 x = AT_X, row = AT_Y;
  if (x >= a.width / 16 || row >= a.height / 16) return;
  u64 at = (u64)row * (a.width / 16) + x;
  i32 own[8];
  motion_own(&a, x, row, own);
  u32 squares = a.squares[at], mode = a.modes[at];
  i32 whole_x = own[0], whole_y = own[1];
  if (motion_error(&a, squares) > a.divide_from) {
    for (i32 i = 0; i < 4; i++) {
      own[2 * i] = whole_x;
      own[2 * i + 1] = whole_y;
    }
    MotionCandidates c = motion_candidates(&a, (i32)(2 * x), (i32)(2 * row), 2, own);
    MotionContexts contexts = motion_contexts(&a, x, row);
    u32 skip = motion_skips(&a, squares);
    float flag = price_skip(&a, contexts, skip);
    // What the block costs as it is.
    float limit_cost = motion_fresh(&a, contexts, &c, whole_x, whole_y, squares);
    for (u32 i = 0; i < c.count; i++)
      if (c.x[i] == whole_x && c.y[i] == whole_y)
        limit_cost = motion_value(&a, squares) + flag + price_candidate(&a, skip, contexts.merged, &c, i);
    float slope = motion_slope(&a, squares);
    float bits = flag + price_merge(&a, skip, contexts.merged, c.unrest, 0) +
                 price_divided(&a, contexts.divided, 1) + a.division;
    u32 all = 0, taken = 0;
    for (u32 i = 0; i < 4; i++) {
      i32 px = (i32)(2 * x + i % 2), py = (i32)(2 * row + i / 2);
      MotionCandidates part = motion_candidates(&a, px, py, 1, own);
      i32 best_x = 0, best_y = 0;
      u32 error = 0, merged = 0, any = 0;
      float least = 0.0f, best_price = 0.0f;
      for (u32 k = 0; k < part.count; k++) {
        u32 part_squares = motion_squares(&a, 8 * px, 8 * py, 8, part.x[k], part.y[k]);
        float price = price_part_candidate(&a, taken, &part, k);
        float cost = slope * (float)part_squares + price;
        if (!any || cost < least) {
          any = 1;
          least = cost;
          best_x = part.x[k];
          best_y = part.y[k];
          error = part_squares;
          best_price = price;
          merged = 1;
        }
      }
      const i16 *found = a.found + 2 * ((u64)(u32)py * (a.width / 8) + (u32)px);
      if (!motion_has(&part, found[0], found[1])) {
        u32 part_squares = motion_squares(&a, 8 * px, 8 * py, 8, found[0], found[1]);
        float price = price_part_merge(&a, taken, part.unrest, 0) +
                      price_difference(&a, &part, found[0], found[1]);
        if (slope * (float)part_squares + price < least) {
          best_x = found[0];
          best_y = found[1];
          error = part_squares;
          best_price = price;
          merged = 0;
        }
      }
      own[2 * i] = best_x;
      own[2 * i + 1] = best_y;
      all += error;
      bits = bits + best_price;
      taken += merged;
    }
    u32 alike = 1;
    for (i32 i = 1; i < 4; i++) alike &= own[2 * i] == own[0] && own[2 * i + 1] == own[1];
    if (!alike && motion_value(&a, all) + bits < limit_cost) {
      squares = all;
      mode = SEVERAL | motion_skips(&a, all);
    } else {
      for (i32 i = 0; i < 4; i++) {
        own[2 * i] = whole_x;
        own[2 * i + 1] = whole_y;
      }
    }
  }
  motion_fill(&a, x, row, own);
  a.out_modes[at] = (u8)mode;
  a.out_squares[at] = squares;
}
