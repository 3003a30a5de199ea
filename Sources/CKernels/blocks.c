#include "CKernels.h"

#include "elements.h"

// Products and sums are rounded one by one, as GGML's own Python package does it.
#pragma STDC FP_CONTRACT OFF

// Any address will do.
typedef float unaligned_float __attribute__((aligned(1), may_alias));

#define BLOCK static inline __attribute__((always_inline)) void
#define UNROLL _Pragma("clang loop unroll(full)")

ELEMENT uint16_t u16_at(const uint8_t *in) { return (uint16_t)(in[0] | in[1] << 8); }
ELEMENT uint32_t u32_at(const uint8_t *in) { return u16_at(in) | (uint32_t)u16_at(in + 2) << 16; }
ELEMENT float f16_at(const uint8_t *in) { return float_of(f16_to_f32(u16_at(in))); }

// MARK: 32 elements, one scale

// Nibbles: the low ones of 16 bytes, then the high ones.
BLOCK q4_0(const uint8_t *restrict in, unaligned_float *restrict out) {
  float d = f16_at(in);
  for (int j = 0; j < 16; j++) {
    out[j] = d * (float)((in[2 + j] & 15) - 8);
    out[j + 16] = d * (float)((in[2 + j] >> 4) - 8);
  }
}

BLOCK q4_1(const uint8_t *restrict in, unaligned_float *restrict out) {
  float d = f16_at(in), m = f16_at(in + 2);
  for (int j = 0; j < 16; j++) {
    out[j] = d * (float)(in[4 + j] & 15) + m;
    out[j + 16] = d * (float)(in[4 + j] >> 4) + m;
  }
}

BLOCK q5_0(const uint8_t *restrict in, unaligned_float *restrict out) {
  float d = f16_at(in);
  uint32_t high = u32_at(in + 2);
  for (int j = 0; j < 16; j++) {
    out[j] = d * (float)((int)((in[6 + j] & 15) | (high >> j & 1) << 4) - 16);
    out[j + 16] = d * (float)((int)((in[6 + j] >> 4) | (high >> (j + 16) & 1) << 4) - 16);
  }
}

BLOCK q5_1(const uint8_t *restrict in, unaligned_float *restrict out) {
  float d = f16_at(in), m = f16_at(in + 2);
  uint32_t high = u32_at(in + 4);
  for (int j = 0; j < 16; j++) {
    out[j] = d * (float)(int)((in[8 + j] & 15) | (high >> j & 1) << 4) + m;
    out[j + 16] = d * (float)(int)((in[8 + j] >> 4) | (high >> (j + 16) & 1) << 4) + m;
  }
}

BLOCK q8_0(const uint8_t *restrict in, unaligned_float *restrict out) {
  float d = f16_at(in);
  for (int j = 0; j < 32; j++) out[j] = d * (float)(int8_t)in[2 + j];
}

// 128 elements of one bit each: the scale or its negative.
BLOCK q1_0(const uint8_t *restrict in, unaligned_float *restrict out) {
  float d = f16_at(in);
  for (int j = 0; j < 128; j++) out[j] = in[2 + j / 8] >> j % 8 & 1 ? d : -d;
}

// MARK: 256 elements, scales of their own for every 16 or 32

BLOCK q2_k(const uint8_t *restrict in, unaligned_float *restrict out) {
  float d = f16_at(in + 80), dmin = f16_at(in + 82);
  UNROLL for (int half = 0; half < 2; half++) {
    UNROLL for (int part = 0; part < 8; part++) {
      uint8_t scale = in[8 * half + part];
      const uint8_t *q = in + 16 + 32 * half + 16 * (part & 1);
      unaligned_float *y = out + 128 * half + 16 * part;
      float dl = d * (float)(scale & 15), ml = dmin * (float)(scale >> 4);
      for (int l = 0; l < 16; l++) y[l] = dl * (float)(q[l] >> 2 * (part / 2) & 3) - ml;
    }
  }
}

BLOCK q3_k(const uint8_t *restrict in, unaligned_float *restrict out) {
  float d = f16_at(in + 108);
  const uint8_t *scales = in + 96;
  UNROLL for (int j = 0; j < 16; j++) {
    int low = j < 8 ? scales[j] & 15 : scales[j - 8] >> 4;
    int scale = (low | (scales[8 + j % 4] >> 2 * (j / 4) & 3) << 4) - 32;
    int half = j / 8, part = j % 8;
    const uint8_t *q = in + 32 + 32 * half + 16 * (part & 1);
    const uint8_t *mask = in + 16 * (part & 1);
    unaligned_float *y = out + 16 * j;
    float dl = d * (float)scale;
    for (int l = 0; l < 16; l++) {
      int high = mask[l] >> (4 * half + part / 2) & 1;
      y[l] = dl * (float)((q[l] >> 2 * (part / 2) & 3) - 4 + 4 * high);
    }
  }
}

// The scale and the minimum of group `g`, six bits each.
ELEMENT int scale_of(const uint8_t *s, int g) {
  return g < 4 ? s[g] & 63 : (s[g + 4] & 15) | s[g - 4] >> 6 << 4;
}
ELEMENT int minimum_of(const uint8_t *s, int g) {
  return g < 4 ? s[g + 4] & 63 : s[g + 4] >> 4 | s[g] >> 6 << 4;
}

BLOCK q4_k(const uint8_t *restrict in, unaligned_float *restrict out) {
  float d = f16_at(in), dmin = f16_at(in + 2);
  UNROLL for (int g = 0; g < 8; g++) {
    const uint8_t *q = in + 16 + 32 * (g / 2);
    float dl = d * (float)scale_of(in + 4, g), ml = dmin * (float)minimum_of(in + 4, g);
    for (int l = 0; l < 32; l++) out[32 * g + l] = dl * (float)(q[l] >> 4 * (g & 1) & 15) - ml;
  }
}

BLOCK q5_k(const uint8_t *restrict in, unaligned_float *restrict out) {
  float d = f16_at(in), dmin = f16_at(in + 2);
  UNROLL for (int g = 0; g < 8; g++) {
    const uint8_t *high = in + 16, *q = in + 48 + 32 * (g / 2);
    float dl = d * (float)scale_of(in + 4, g), ml = dmin * (float)minimum_of(in + 4, g);
    for (int l = 0; l < 32; l++) {
      int value = (q[l] >> 4 * (g & 1) & 15) | (high[l] >> g & 1) << 4;
      out[32 * g + l] = dl * (float)value - ml;
    }
  }
}

BLOCK q6_k(const uint8_t *restrict in, unaligned_float *restrict out) {
  float d = f16_at(in + 208);
  UNROLL for (int part = 0; part < 16; part++) {
    int half = part / 8, g = part % 8 / 2, side = 16 * (part & 1);
    const uint8_t *low = in + 64 * half + 32 * (g & 1) + side, *high = in + 128 + 32 * half + side;
    float dl = d * (float)(int8_t)in[192 + part];
    for (int l = 0; l < 16; l++) {
      int value = (low[l] >> 4 * (g / 2) & 15) | (high[l] >> 2 * g & 3) << 4;
      out[16 * part + l] = dl * (float)(value - 32);
    }
  }
}

BLOCK q8_k(const uint8_t *restrict in, unaligned_float *restrict out) {
  float d = float_of(u32_at(in));
  for (int j = 0; j < 256; j++) out[j] = d * (float)(int8_t)in[4 + j];
}

// MARK: Values from a table

static const float iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
// Those of F4, doubled; its negative zero is a plain one here.
static const float f4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// The low nibbles of `bytes` bytes, then the high ones.
BLOCK lookup(const float *table, float d, int bytes, const uint8_t *restrict q, unaligned_float *restrict out) {
  UNROLL for (int j = 0; j < bytes; j++) {
    out[j] = d * table[q[j] & 15];
    out[j + bytes] = d * table[q[j] >> 4];
  }
}

BLOCK iq4_nl(const uint8_t *restrict in, unaligned_float *restrict out) {
  lookup(iq4_values, f16_at(in), 16, in + 2, out);
}

BLOCK iq4_xs(const uint8_t *restrict in, unaligned_float *restrict out) {
  float d = f16_at(in);
  uint16_t high = u16_at(in + 2);
  for (int g = 0; g < 8; g++) {
    int scale = (in[4 + g / 2] >> 4 * (g & 1) & 15) | (high >> 2 * g & 3) << 4;
    lookup(iq4_values, d * (float)(scale - 32), 16, in + 8 + 16 * g, out + 32 * g);
  }
}

BLOCK mxfp4(const uint8_t *restrict in, unaligned_float *restrict out) {
  uint32_t e = in[0];
  lookup(f4_values, float_of(e < 2 ? 0x00200000u << e : (e - 1) << 23), 16, in + 1, out);
}

// Half of the value of an F8_E4M3 without a sign; its NaN is zero here.
ELEMENT float half_of_e4m3(uint8_t x) {
  if (x == 0x7F) return 0;
  uint32_t exponent = x >> 3 & 15, mantissa = x & 7;
  return exponent ? float_of((exponent + 119) << 23 | mantissa << 20) : (float)mantissa * 0x1p-10f;
}

BLOCK nvfp4(const uint8_t *restrict in, unaligned_float *restrict out) {
  for (int g = 0; g < 4; g++) lookup(f4_values, half_of_e4m3(in[g]), 8, in + 4 + 8 * g, out + 16 * g);
}

// MARK: Ternary

BLOCK tq1_0(const uint8_t *restrict in, unaligned_float *restrict out) {
  static const uint8_t powers[5] = {1, 3, 9, 27, 81};
  float d = f16_at(in + 52);
  // Five to a byte for 32 bytes and for 16, then four to a byte for 4.
  static const struct { int start, bytes, trits; } parts[3] = {{0, 32, 5}, {32, 16, 5}, {48, 4, 4}};
  UNROLL for (int part = 0; part < 3; part++) {
    for (int n = 0; n < parts[part].trits; n++) {
      for (int l = 0; l < parts[part].bytes; l++) {
        uint8_t shifted = (uint8_t)(in[parts[part].start + l] * powers[n]);
        *out++ = d * (float)((shifted * 3 >> 8) - 1);
      }
    }
  }
}

BLOCK tq2_0(const uint8_t *restrict in, unaligned_float *restrict out) {
  float d = f16_at(in + 64);
  UNROLL for (int part = 0; part < 8; part++) {
    const uint8_t *q = in + 32 * (part / 4);
    for (int l = 0; l < 32; l++) out[32 * part + l] = d * (float)((q[l] >> 2 * (part % 4) & 3) - 1);
  }
}

// MARK: Loops

#define LEVEL(name) name##_portable
#include "block_loops.h"
#undef LEVEL

#if defined(__x86_64__)
#define LEVEL(name) name##_avx2
#pragma clang attribute push(__attribute__((target("avx2,f16c"))), apply_to = function)
#include "block_loops.h"
#pragma clang attribute pop
#undef LEVEL

#define LEVEL(name) name##_avx512
#pragma clang attribute push(__attribute__((target("avx2,f16c,avx512f,avx512bw,avx512dq,avx512vl"))), apply_to = function)
#include "block_loops.h"
#pragma clang attribute pop
#endif

ckernels_loop ckernels_decode_blocks(ckernels_block_format format, ckernels_level level) {
  switch (level) {
#if defined(__x86_64__)
    case ckernels_avx512: return block_table_avx512[format];
    case ckernels_avx2: return block_table_avx2[format];
#endif
    default: return block_table_portable[format];
  }
}
