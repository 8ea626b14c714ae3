// SPDX-License-Identifier: Apache-2.0
// What every kernel begins with. The same source is compiled by NVRTC for a GPU, where a thread is a
// position of the grid, and by any C99 compiler, where a loop walks the grid: so the arithmetic is
// tested on machines without a GPU, and it is the same on both because
//
// * products and sums are never contracted (--fmad=false, -ffp-contract=off); where one rounding is
//   meant, fmaf says so;
// * division and conversion round to nearest even, as IEEE 754 says and CUDA's defaults do;
// * each sum has one order.
//
// A kernel takes one structure by value, whose layout src/launch.rs builds.

#ifdef __CUDACC_RTC__
#define DEVICE static __device__ __forceinline__
#define KERNEL(NAME, ARGS) extern "C" __global__ void NAME(ARGS a)
#define AT_X (blockIdx.x * blockDim.x + threadIdx.x)
#define AT_Y (blockIdx.y * blockDim.y + threadIdx.y)
#else
#include <math.h>
#include <string.h>
#define DEVICE static inline
// In C an entry walks the grid itself, and tells how large it takes its structure to be.
#define KERNEL(NAME, ARGS)                                                     \
  static void NAME##_at(ARGS a, unsigned at_x, unsigned at_y);                 \
  unsigned NAME##_size(void) { return (unsigned)sizeof(ARGS); }                \
  void NAME(const void *args, unsigned width, unsigned height) {               \
    ARGS a;                                                                    \
    memcpy(&a, args, sizeof a);                                                \
    for (unsigned y = 0; y < height; y++)                                      \
      for (unsigned x = 0; x < width; x++) NAME##_at(a, x, y);                 \
  }                                                                            \
  static void NAME##_at(ARGS a, unsigned at_x, unsigned at_y)
#define AT_X at_x
#define AT_Y at_y
#endif

typedef unsigned char u8;
typedef signed char i8;
typedef unsigned short u16;
typedef short i16;
typedef unsigned int u32;
typedef int i32;
typedef unsigned long long u64;
typedef long long i64;

DEVICE float limit(float v, float low, float high) { return fminf(fmaxf(v, low), high); }

DEVICE i32 limit_int(i32 v, i32 low, i32 high) { return v < low ? low : v > high ? high : v; }

// Whole numbers only: their sum is the same in every order.
DEVICE void add_to(u32 *sum, u32 v) {
#ifdef __CUDACC_RTC__
  atomicAdd(sum, v);
#else
  *sum += v;
#endif
}

// Samples of 8 bits (depth 8), of 10 in the lower bits of two bytes (10), of 10 in the upper ones (16).
DEVICE i32 get_sample(const u8 *p, u32 depth) {
  if (depth == 8) return *p;
  u32 v = *(const u16 *)p;
  if (depth == 16) v >>= 6;
  return (i32)(v < 1023u ? v : 1023u);
}

DEVICE void put_sample(u8 *p, u32 depth, i32 v) {
  if (depth == 8)
    *p = (u8)v;
  else
    *(u16 *)p = (u16)(depth == 16 ? v << 6 : v);
}

// The nearest half, ties to even, as bits.
DEVICE u16 to_half(float v) {
#ifdef __CUDACC_RTC__
  u16 bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(v));
  return bits;
#else
  u32 x;
  memcpy(&x, &v, 4);
  u32 sign = x >> 16 & 0x8000u, rest = x & 0x7fffffffu;
  if (rest > 0x7f800000u) return 0x7fffu;                      // not a number, as the GPU writes it
  if (rest >= 0x477ff000u) return (u16)(sign | 0x7c00u);       // rounds to infinity
  if (rest < 0x33000001u) return (u16)sign;                    // rounds to zero
  i32 exponent = (i32)(rest >> 23) - 127;
  u32 bits, shift, mantissa = (rest & 0x7fffffu) | 0x800000u;
  if (exponent < -14) {
    shift = (u32)(-1 - exponent);                              // subnormal: 14 to 24
    bits = mantissa >> shift;
  } else {
    shift = 13;
    bits = (u32)(exponent + 15) << 10 | (mantissa >> 13 & 0x3ffu);
  }
  u32 lost = mantissa & ((1u << shift) - 1u), middle = 1u << (shift - 1u);
  if (lost > middle || (lost == middle && (bits & 1u))) bits++; // may carry into the exponent
  return (u16)(sign | bits);
#endif
}

DEVICE float from_half(u16 bits) {
#ifdef __CUDACC_RTC__
  float v;
  asm("cvt.f32.f16 %0, %1;" : "=f"(v) : "h"(bits));
  return v;
#else
  u32 sign = (u32)(bits & 0x8000u) << 16, exponent = bits >> 10 & 31u, mantissa = bits & 0x3ffu, x;
  if (exponent == 31)
    x = sign | 0x7f800000u | mantissa << 13;
  else if (exponent)
    x = sign | (exponent + 112u) << 23 | mantissa << 13;
  else {
    float small = (float)mantissa * 5.9604644775390625e-8f;    // 2^-24
    return sign ? -small : small;
  }
  float v;
  memcpy(&v, &x, 4);
  return v;
#endif
}

// Tensors of either element type.
typedef float f32_element;
typedef u16 f16_element;
DEVICE void put_f32(void *to, u64 at, float v) { ((float *)to)[at] = v; }
DEVICE void put_f16(void *to, u64 at, float v) { ((u16 *)to)[at] = to_half(v); }
DEVICE float get_f32(const void *from, u64 at) { return ((const float *)from)[at]; }
DEVICE float get_f16(const void *from, u64 at) { return from_half(((const u16 *)from)[at]); }

// Between codes of luma and chroma and red, green and blue of 0 to 255.
typedef struct {
  float y_offset, y_gain; // luma = (code - y_offset) * y_gain
  float c_middle;         // the code of no colour
  float v_to_r, u_to_g, v_to_g, u_to_b;
} Colour;

typedef struct {
  float r, g, b;
} Rgb;

DEVICE Rgb to_rgb(Colour c, float y, float u, float v) {
  Rgb out;
  y = (y - c.y_offset) * c.y_gain;
  u = u - c.c_middle;
  v = v - c.c_middle;
  out.r = y + c.v_to_r * v;
  out.g = y + c.u_to_g * u + c.v_to_g * v;
  out.b = y + c.u_to_b * u;
  return out;
}

// The other way: shares of the colours in luma, and codes for luma and for differences of colour.
typedef struct {
  float r_to_y, g_to_y, b_to_y;
  float y_offset, y_gain;         // code = luma * y_gain + y_offset
  float c_middle, u_gain, v_gain; // code = (blue - luma) * u_gain + c_middle
  float top;                      // the largest code
} Codes;

DEVICE float luma(Codes c, Rgb p) { return c.r_to_y * p.r + c.g_to_y * p.g + c.b_to_y * p.b; }

DEVICE u32 code(float v, float top) { return (u32)rintf(limit(v, 0.0f, top)); }

// Pictures of luma and interleaved chroma: NV12 (SAMPLE u8, SHIFT 0), and P010 (u16, 6), which has its
// ten bits in the upper ones. Strides are in bytes.
typedef struct {
  const u8 *y, *uv;
  void *out; // three planes of width * height, tightly packed
  u32 width, height, y_stride, uv_stride;
  Colour colour;
  float scale; // 1/255 for colours of 0 to 1
} SemiplanarToRgb;

// A chroma sample serves its four pixels.
#define SEMIPLANAR_TO_RGB(NAME, TYPE, SAMPLE, SHIFT)                           \
  KERNEL(NAME##_##TYPE, SemiplanarToRgb) {                                     \
    u32 x = AT_X, y = AT_Y;                                                    \
    if (x >= a.width || y >= a.height) return;                                 \
    const SAMPLE *row = (const SAMPLE *)(a.y + (u64)y * a.y_stride);           \
    const SAMPLE *uv =                                                         \
        (const SAMPLE *)(a.uv + (u64)(y >> 1) * a.uv_stride) + (x >> 1) * 2;   \
    Rgb p = to_rgb(a.colour, (float)(row[x] >> SHIFT),                         \
                   (float)(uv[0] >> SHIFT), (float)(uv[1] >> SHIFT));          \
    u64 plane = (u64)a.width * a.height, at = (u64)y * a.width + x;            \
    put_##TYPE(a.out, at, limit(p.r, 0.0f, 255.0f) * a.scale);                 \
    put_##TYPE(a.out, at + plane, limit(p.g, 0.0f, 255.0f) * a.scale);         \
    put_##TYPE(a.out, at + 2 * plane, limit(p.b, 0.0f, 255.0f) * a.scale);     \
  }

typedef struct {
  const void *in; // three planes of width * height, tightly packed
  u8 *y, *uv;
  u32 width, height, y_stride, uv_stride;
  Codes codes;
  float scale; // 255 for colours of 0 to 1
} RgbToSemiplanar;

// A position is two by two pixels; chroma is that of their mean, where pixels beyond an odd edge
// repeat it.
#define RGB_TO_SEMIPLANAR(NAME, TYPE, SAMPLE, SHIFT)                           \
  KERNEL(NAME##_##TYPE, RgbToSemiplanar) {                                     \
    u32 bx = AT_X, by = AT_Y;                                                  \
    if (bx * 2 >= a.width || by * 2 >= a.height) return;                       \
    u64 plane = (u64)a.width * a.height;                                       \
    Codes c = a.codes;                                                         \
    Rgb sum = {0.0f, 0.0f, 0.0f};                                              \
    for (u32 i = 0; i < 4; i++) {                                              \
      u32 x = bx * 2 + (i & 1), y = by * 2 + (i >> 1);                         \
      u32 in_x = x < a.width ? x : x - 1, in_y = y < a.height ? y : y - 1;     \
      u64 at = (u64)in_y * a.width + in_x;                                     \
      Rgb p;                                                                   \
      p.r = get_##TYPE(a.in, at) * a.scale;                                    \
      p.g = get_##TYPE(a.in, at + plane) * a.scale;                            \
      p.b = get_##TYPE(a.in, at + 2 * plane) * a.scale;                        \
      sum.r = sum.r + p.r;                                                     \
      sum.g = sum.g + p.g;                                                     \
      sum.b = sum.b + p.b;                                                     \
      if (x < a.width && y < a.height)                                         \
        ((SAMPLE *)(a.y + (u64)y * a.y_stride))[x] = (SAMPLE)(                 \
            code(luma(c, p) * c.y_gain + c.y_offset, c.top) << SHIFT);         \
    }                                                                          \
    Rgb mean = {sum.r * 0.25f, sum.g * 0.25f, sum.b * 0.25f};                  \
    float l = luma(c, mean);                                                   \
    SAMPLE *uv = (SAMPLE *)(a.uv + (u64)by * a.uv_stride) + bx * 2;            \
    uv[0] = (SAMPLE)(code((mean.b - l) * c.u_gain + c.c_middle, c.top)         \
                     << SHIFT);                                                \
    uv[1] = (SAMPLE)(code((mean.r - l) * c.v_gain + c.c_middle, c.top)         \
                     << SHIFT);                                                \
  }
