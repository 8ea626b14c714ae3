// SPDX-License-Identifier: Apache-2.0
// Colours looked up in a table of three dimensions, between the corners of a tetrahedron, in whole
// numbers: the walk of elements/color/src/table.rs, code for code.

typedef struct {
  const i16 *entries; // four numbers a colour, the fourth not used; the first axis changes fastest
  i32 size;           // entries along an axis
  i32 scale[3], offset[3];
  i32 shift; // from weighted sums to codes
  i32 top;   // the largest code that comes out
  i32 unused;
} Table;

typedef struct {
  i32 code[3];
} Colour3;

// Place along an axis: a step of the table is 4096.
DEVICE i32 lut3d_place(Table t, i32 axis, i32 v) {
  u32 at = (u32)v * (u32)t.scale[axis] + (u32)t.offset[axis];
  return limit_int((i32)at >> 8, 0, (t.size - 1) << 12);
}

DEVICE Colour3 lut3d(Table t, i32 v0, i32 v1, i32 v2) {
  i32 at[3] = {lut3d_place(t, 0, v0), lut3d_place(t, 1, v1), lut3d_place(t, 2, v2)};
  i32 cell[3], part[3];
  for (i32 k = 0; k < 3; k++) {
    cell[k] = at[k] >> 12 < t.size - 2 ? at[k] >> 12 : t.size - 2;
    part[k] = at[k] - (cell[k] << 12);
  }
  i32 step[3] = {1, t.size, t.size * t.size};
  i32 end = step[0] + step[1] + step[2];
  i32 first = cell[0] + cell[1] * step[1] + cell[2] * step[2];
  i32 most = part[0] > part[1] ? part[0] : part[1];
  i32 least = part[0] < part[1] ? part[0] : part[1];
  most = part[2] > most ? part[2] : most;
  least = part[2] < least ? part[2] : least;
  i32 middle = part[0] + part[1] + part[2] - most - least;
  i32 longest = part[0] == most ? step[0] : part[1] == most ? step[1] : step[2];
  i32 shortest = part[2] == least ? step[2] : part[1] == least ? step[1] : step[0];
  i32 corner[4] = {first, first + longest, first + end - shortest, first + end};
  i32 weight[4] = {4096 - most, most - middle, middle - least, least};
  Colour3 out;
  for (i32 c = 0; c < 3; c++) {
    i32 sum = 0;
    for (i32 k = 0; k < 4; k++) sum += t.entries[(u64)corner[k] * 4 + (u64)c] * weight[k];
    out.code[c] = limit_int((sum + (1 << (t.shift - 1))) >> t.shift, 0, t.top);
  }
  return out;
}

// Packed pixels of four bytes, in place; the fourth stays.
typedef struct {
  u8 *pixels;
  u32 width, height, stride;
  u32 red, green, blue, unused;
  Table table;
} Lut3dRgba;

KERNEL(lut3d_rgba, Lut3dRgba) {
  u32 x = AT_X, y = AT_Y;
  if (x >= a.width || y >= a.height) return;
  u8 *p = a.pixels + (u64)y * a.stride + (u64)x * 4;
  Colour3 c = lut3d(a.table, p[a.red], p[a.green], p[a.blue]);
  p[a.red] = (u8)c.code[0];
  p[a.green] = (u8)c.code[1];
  p[a.blue] = (u8)c.code[2];
}

// 4:2:0 of luma and chroma through a table whose axes are these: luma with the chroma of its place,
// chroma with the mean luma of its four pixels. A position is two by two pixels. What goes in is kept:
// a neighbour needs it.
typedef struct {
  const u8 *y, *u, *v; // first samples
  u8 *y_out, *u_out, *v_out;
  u32 width, height;
  u32 y_stride, u_stride, v_stride, c_step; // bytes, also between the samples of a component
  u32 y_stride_out, u_stride_out, v_stride_out, c_step_out;
  u32 depth, depth_out; // as get_sample has them
  u32 cosited;          // chroma lies on the left one of two columns
  u32 unused;
  Table table;
} Lut3dPlanes;

KERNEL(lut3d_planes, Lut3dPlanes) {
  u32 bx = AT_X, by = AT_Y, half = (a.width + 1) / 2;
  if (bx >= half || by >= (a.height + 1) / 2) return;
  u32 bytes = a.depth == 8 ? 1 : 2, bytes_out = a.depth_out == 8 ? 1 : 2;
  const u8 *u = a.u + (u64)by * a.u_stride, *v = a.v + (u64)by * a.v_stride;
  u64 here = (u64)bx * a.c_step, next = (u64)(bx + 1 < half ? bx + 1 : bx) * a.c_step;
  i32 u0 = get_sample(u + here, a.depth), v0 = get_sample(v + here, a.depth);
  i32 u1 = u0, v1 = v0, sum = 0;
  if (a.cosited) {
    u1 = (u0 + get_sample(u + next, a.depth) + 1) >> 1;
    v1 = (v0 + get_sample(v + next, a.depth) + 1) >> 1;
  }
  for (u32 i = 0; i < 4; i++) {
    u32 x = bx * 2 + (i & 1), y = by * 2 + (i >> 1);
    u32 in_x = x < a.width ? x : x - 1, in_y = y < a.height ? y : y - 1;
    i32 l = get_sample(a.y + (u64)in_y * a.y_stride + (u64)in_x * bytes, a.depth);
    sum += l;
    if (x < a.width && y < a.height) {
      Colour3 c = lut3d(a.table, l, i & 1 ? u1 : u0, i & 1 ? v1 : v0);
      put_sample(a.y_out + (u64)y * a.y_stride_out + (u64)x * bytes_out, a.depth_out, c.code[0]);
    }
  }
  Colour3 c = lut3d(a.table, (sum + 2) >> 2, u0, v0);
  u64 to = (u64)bx * a.c_step_out;
  put_sample(a.u_out + (u64)by * a.u_stride_out + to, a.depth_out, c.code[1]);
  put_sample(a.v_out + (u64)by * a.v_stride_out + to, a.depth_out, c.code[2]);
}
