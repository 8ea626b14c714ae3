// SPDX-License-Identifier: Apache-2.0
// Contrast limited adaptive histogram equalisation of luma: histograms of 8 x 8 fields, curves that
// follow them slowly, and luma through the curves of the four fields around. Operation for operation as
// on the CPU (elements/enhance/src/operations/color/clahe.rs).

#define FIELDS 8u
#define CODES 256u
// Samples of a row that a position counts: most are alike, and counted at once.
#define RUN 16u

typedef struct {
  const u8 *luma;
  u32 *counts; // of each field
  u32 width, height, stride;
  u32 runs, rows; // of the largest field: positions are those of 8 x 8 such fields
  u32 unused;
} ClaheCount;

// Every second row is plenty.
KERNEL(clahe_count, ClaheCount) {
  u32 field_x = AT_X / a.runs, field_y = AT_Y / a.rows;
  if (field_x >= FIELDS || field_y >= FIELDS) return;
  u32 x = field_x * a.width / FIELDS + AT_X % a.runs * RUN, end = (field_x + 1) * a.width / FIELDS;
  u32 y = field_y * a.height / FIELDS + AT_Y % a.rows * 2;
  if (x >= end || y >= (field_y + 1) * a.height / FIELDS) return;
  if (end > x + RUN) end = x + RUN;
  const u8 *row = a.luma + (u64)y * a.stride;
  u32 *counts = a.counts + (field_y * FIELDS + field_x) * CODES;
  u32 last = row[x], n = 0;
  for (; x < end; x++) {
    if (row[x] != last) {
      add_to(counts + last, n);
      last = row[x];
      n = 0;
    }
    n++;
  }
  add_to(counts + last, n);
}

typedef struct {
  const u32 *counts;
  float *curves; // shares of the range
  i16 *mixed;    // the same mixed with the identity, in 1/128 codes
  u32 width, height;
  u32 low, high; // codes of black and white
  float clip, rate, amount;
  u32 fresh; // there are no curves yet
} ClaheCurves;

KERNEL(clahe_curves, ClaheCurves) {
  u32 field_x = AT_X, field_y = AT_Y;
  if (field_x >= FIELDS || field_y >= FIELDS) return;
  u32 field = field_y * FIELDS + field_x;
  u32 columns = (field_x + 1) * a.width / FIELDS - field_x * a.width / FIELDS;
  u32 rows = (field_y + 1) * a.height / FIELDS - field_y * a.height / FIELDS;
  u32 total = columns * ((rows + 1) / 2);
  const u32 *counts = a.counts + field * CODES;
  float range = (float)(a.high - a.low + 1);
  float most = a.clip * (float)total / range, cut = 0.0f;
  for (u32 i = 0; i < CODES; i++) cut = cut + fmaxf((float)counts[i] - most, 0.0f);
  float everyone = cut / range, all = (float)(total > 1 ? total : 1), sum = 0.0f;
  float black = (float)a.low, span = (float)a.high - (float)a.low;
  for (u32 i = 0; i < CODES; i++) {
    u32 inside = i >= a.low && i <= a.high;
    float share = (fminf((float)counts[i], most) + (inside ? everyone : 0.0f)) / all;
    float value = fminf(sum + share / 2.0f, 1.0f);
    sum = sum + share;
    float *curve = a.curves + field * CODES + i;
    *curve = a.fresh ? value : *curve + a.rate * (value - *curve);
    // Codes outside of the range stay what they are.
    float own = (float)i;
    float wanted = own < black || own > black + span ? own : black + span * *curve;
    a.mixed[field * CODES + i] = (i16)((own + a.amount * (wanted - own)) * 128.0f);
  }
}

typedef struct {
  u8 *luma; // changed in place
  const i16 *mixed;
  u32 width, height, stride;
  u32 unused;
} ClaheApply;

typedef struct {
  u32 field;
  i32 part; // towards the next, in 1/128
} ClahePlace;

// The field whose centre lies before a sample.
DEVICE ClahePlace clahe_place(u32 at, u32 length) {
  float where = ((float)at + 0.5f) * (float)FIELDS / (float)length - 0.5f;
  where = limit(where, 0.0f, (float)(FIELDS - 1));
  ClahePlace p;
  p.field = (u32)where;
  p.part = (i32)((where - (float)p.field) * 128.0f);
  return p;
}

DEVICE i32 clahe_between(const i16 *above, const i16 *below, i32 part, u32 at) {
  i32 v = above[at] + ((((i32)below[at] - (i32)above[at]) * part) >> 7);
  return v > 0 ? v : 0;
}

KERNEL(clahe_apply, ClaheApply) {
  u32 x = AT_X, y = AT_Y;
  if (x >= a.width || y >= a.height) return;
  ClahePlace down = clahe_place(y, a.height), across = clahe_place(x, a.width);
  u32 next = down.field + 1 < FIELDS ? down.field + 1 : FIELDS - 1;
  const i16 *above = a.mixed + down.field * FIELDS * CODES, *below = a.mixed + next * FIELDS * CODES;
  u8 *p = a.luma + (u64)y * a.stride + x;
  u32 right = across.field + 1 < FIELDS ? across.field + 1 : FIELDS - 1;
  i32 l = clahe_between(above, below, down.part, across.field * CODES + *p);
  i32 r = clahe_between(above, below, down.part, right * CODES + *p);
  *p = (u8)limit_int((l * 128 + (r - l) * across.part + (1 << 13)) >> 14, 0, 255);
}
