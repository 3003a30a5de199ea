#include "CKernels.h"

#include "elements.h"

// Products and sums are rounded one by one and added in the order of the elements, so that blocks are the bits that
// GGML's own quantisers make. What can be done for several groups at once is, each group in a lane of its own.
#pragma STDC FP_CONTRACT OFF

// Any address will do.
typedef float unaligned_float __attribute__((aligned(1), may_alias));

#define BLOCK static inline __attribute__((always_inline)) void

ELEMENT void put_u16(uint8_t *out, uint16_t value) {
  out[0] = (uint8_t)value;
  out[1] = (uint8_t)(value >> 8);
}
// One NaN for all: which of several an operation gives is the processor's choice.
ELEMENT uint16_t f16_of(float value) { return value == value ? f16_from_f32(bits_of(value)) : 0x7E00; }
ELEMENT void put_f16(uint8_t *out, float value) { put_u16(out, f16_of(value)); }
// What is left of a value after it was stored as F16.
ELEMENT float stored_f16(float value) { return float_of(f16_to_f32(f16_of(value))); }
ELEMENT float reciprocal(float d) { return d != 0 ? 1.0f / d : 0.0f; }
// The whole part of a number, held in 0 to `limit`; 0 for NaN.
ELEMENT int whole(float value, float limit) {
  value = value > 0 ? value : 0;
  return (int)(value < limit ? value : limit);
}

// MARK: 32 elements, one scale

// The magnitude as an integer that orders like it; NaN counts as nothing.
ELEMENT uint32_t magnitude(float value) { return is_nan(bits_of(value)) ? 0 : bits_of(value) & 0x7FFFFFFF; }

ELEMENT float largest_magnitude(const unaligned_float *in) {
  uint32_t most = 0;
  for (int j = 0; j < 32; j++) most = magnitude(in[j]) > most ? magnitude(in[j]) : most;
  return float_of(most);
}

// The first element of the largest magnitude, with its sign.
ELEMENT float extreme(const unaligned_float *in) {
  float most = largest_magnitude(in);
  int first = 32;
  for (int j = 0; j < 32; j++) {
    int place = magnitude(in[j]) == bits_of(most) ? j : 32;
    first = place < first ? place : first;
  }
  return first < 32 && most > 0 ? in[first] : 0;
}

// The least and the largest element; of zeros the first.
ELEMENT void bounds(const unaligned_float *in, float *least, float *most) {
  int32_t low = INT32_MAX, high = INT32_MIN;
  for (int j = 0; j < 32; j++) {
    // An integer that orders like the number.
    int32_t bits = (int32_t)bits_of(in[j]);
    int32_t key = bits ^ (int32_t)((uint32_t)(bits >> 31) >> 1);
    low = !is_nan((uint32_t)bits) && key < low ? key : low;
    high = !is_nan((uint32_t)bits) && key > high ? key : high;
  }
  *least = low > high ? 0 : float_of((uint32_t)(low ^ (int32_t)((uint32_t)(low >> 31) >> 1)));
  *most = low > high ? 0 : float_of((uint32_t)(high ^ (int32_t)((uint32_t)(high >> 31) >> 1)));
  if (*least == 0) {
    for (int j = 31; j >= 0; j--) *least = in[j] == 0 ? in[j] : *least;
  }
}

BLOCK encode_q4_0(const unaligned_float *restrict in, uint8_t *restrict out) {
  float d = extreme(in) / -8, id = reciprocal(d);
  put_f16(out, d);
  for (int j = 0; j < 16; j++) {
    out[2 + j] = (uint8_t)(whole(in[j] * id + 8.5f, 15) | whole(in[j + 16] * id + 8.5f, 15) << 4);
  }
}

BLOCK encode_q4_1(const unaligned_float *restrict in, uint8_t *restrict out) {
  float least, most;
  bounds(in, &least, &most);
  float d = (most - least) / 15, id = reciprocal(d);
  put_f16(out, d);
  put_f16(out + 2, least);
  for (int j = 0; j < 16; j++) {
    int low = whole((in[j] - least) * id + 0.5f, 15), high = whole((in[j + 16] - least) * id + 0.5f, 15);
    out[4 + j] = (uint8_t)(low | high << 4);
  }
}

// Stores 32 numbers of five bits: the low nibbles after the high bits.
ELEMENT void put_five(uint8_t *out, const uint8_t *q) {
  uint32_t high = 0;
  for (int j = 0; j < 32; j++) high |= (uint32_t)(q[j] >> 4 & 1) << j;
  for (int j = 0; j < 4; j++) out[j] = (uint8_t)(high >> 8 * j);
  for (int j = 0; j < 16; j++) out[4 + j] = (uint8_t)((q[j] & 15) | q[j + 16] << 4);
}

BLOCK encode_q5_0(const unaligned_float *restrict in, uint8_t *restrict out) {
  float d = extreme(in) / -16, id = reciprocal(d);
  uint8_t q[32];
  for (int j = 0; j < 32; j++) q[j] = (uint8_t)whole(in[j] * id + 16.5f, 31);
  put_f16(out, d);
  put_five(out + 2, q);
}

BLOCK encode_q5_1(const unaligned_float *restrict in, uint8_t *restrict out) {
  float least, most;
  bounds(in, &least, &most);
  float d = (most - least) / 31, id = reciprocal(d);
  uint8_t q[32];
  for (int j = 0; j < 32; j++) q[j] = (uint8_t)whole((in[j] - least) * id + 0.5f, 31);
  put_f16(out, d);
  put_f16(out + 2, least);
  put_five(out + 4, q);
}

BLOCK encode_q8_0(const unaligned_float *restrict in, uint8_t *restrict out) {
  float d = largest_magnitude(in) / 127, id = reciprocal(d);
  put_f16(out, d);
  for (int j = 0; j < 32; j++) {
    float value = in[j] * id;
    value = value > -127 ? value : -127;
    value = value < 127 ? value : 127;
    // To nearest, halves away from zero.
    int nearest = (int)value;
    float rest = value - (float)nearest;
    out[2 + j] = (uint8_t)(nearest + (rest >= 0.5f) - (rest <= -0.5f));
  }
}

// MARK: 256 elements, scales of their own for every 16 or 32

// Vectors are never passed in calls: every function here is inlined.
#pragma clang diagnostic ignored "-Wpsabi"
typedef float float8 __attribute__((vector_size(32)));
typedef int32_t int8 __attribute__((vector_size(32)));
typedef float float16v __attribute__((vector_size(64)));
typedef int32_t int16v __attribute__((vector_size(64)));

// For vectors of floats F and of integers I: choice, least and largest, and the nearest integer as GGML finds it, by
// adding a number whose last place is 1; for NaN it is 0.
#define LANES(F, I, name)                                                                            \
  ELEMENT F choose_##name(I mask, F a, F b) { return (F)(((I)a & mask) | ((I)b & ~mask)); }          \
  ELEMENT I clamp_##name(I value, int32_t low, int32_t high) {                                       \
    I under = value < low, over = value > high;                                                      \
    value = (value & ~under) | (low & under);                                                        \
    return (value & ~over) | (high & over);                                                          \
  }                                                                                                  \
  ELEMENT I nearest_##name(F value) {                                                                \
    return (((I)(value + 12582912.0f) & 0x007FFFFF) - 0x00400000) & (value == value);                \
  }                                                                                                  \
  ELEMENT F absolute_##name(F value) { return (F)((I)value & 0x7FFFFFFF); }                          \
  ELEMENT F float_##name(I value) { return __builtin_convertvector(value, F); }

LANES(float8, int8, 8)
LANES(float16v, int16v, 16)

ELEMENT int32_t nearest(float value) {
  return value == value ? (int32_t)(bits_of(value + 12582912.0f) & 0x007FFFFF) - 0x00400000 : 0;
}

// What eight groups of 32 become: a scale, what is subtracted, and a number for each element.
typedef struct {
  float8 x[32];
  int8 q[32];
  float8 scale, minimum;
} groups;

// Finds, for each group, the scale and the offset with the least weighted error of those that `steps` trials give.
BLOCK fit(groups *g, int32_t limit, float first, float step, int steps) {
  float8 weight[32], zero = {0};
  float8 squares = zero;
  for (int l = 0; l < 32; l++) squares += g->x[l] * g->x[l];
  float8 mean = squares / 32;
  for (int i = 0; i < 8; i++) mean[i] = __builtin_sqrtf(mean[i]);
  for (int l = 0; l < 32; l++) weight[l] = mean + absolute_8(g->x[l]);
  float8 least = g->x[0], most = g->x[0], sum_w = weight[0], sum_x = sum_w * g->x[0];
  for (int l = 1; l < 32; l++) {
    least = choose_8(g->x[l] < least, g->x[l], least);
    most = choose_8(g->x[l] > most, g->x[l], most);
    sum_w += weight[l];
    sum_x += weight[l] * g->x[l];
  }
  least = choose_8(least > 0, zero, least);
  int8 flat = most == least;
  float8 lowest = least, inverse = (float)limit / (most - least), scale = 1 / inverse, best = zero;
  for (int l = 0; l < 32; l++) {
    g->q[l] = clamp_8(nearest_8(inverse * (g->x[l] - least)), 0, limit);
    float8 error = scale * float_8(g->q[l]) + least - g->x[l];
    best += weight[l] * (error * error);
  }
  for (int trial = 0; trial <= steps; trial++) {
    int8 q[32];
    float8 sum_l = zero, sum_l2 = zero, sum_xl = zero;
    // The best offset so far is where the next trial begins.
    inverse = (first + step * (float)trial + (float)limit) / (most - least);
    for (int l = 0; l < 32; l++) {
      q[l] = clamp_8(nearest_8(inverse * (g->x[l] - least)), 0, limit);
      float8 value = float_8(q[l]), weighted = weight[l] * value;
      sum_l += weighted;
      sum_l2 += weighted * value;
      sum_xl += weighted * g->x[l];
    }
    float8 determinant = sum_w * sum_l2 - sum_l * sum_l;
    float8 new_scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
    float8 new_least = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
    int8 positive = new_least > 0;
    new_least = choose_8(positive, zero, new_least);
    new_scale = choose_8(positive, sum_xl / sum_l2, new_scale);
    float8 total = zero;
    for (int l = 0; l < 32; l++) {
      float8 error = new_scale * float_8(q[l]) + new_least - g->x[l];
      total += weight[l] * (error * error);
    }
    int8 better = (determinant > 0) & (total < best);
    for (int l = 0; l < 32; l++) g->q[l] = (q[l] & better) | (g->q[l] & ~better);
    best = choose_8(better, total, best);
    scale = choose_8(better, new_scale, scale);
    least = choose_8(better, new_least, least);
  }
  for (int l = 0; l < 32; l++) g->q[l] &= ~flat;
  g->scale = choose_8(flat, zero, scale);
  g->minimum = -choose_8(flat, lowest, least);
}

// Writes the two scales of a block and, packed in 6 bits, those of its groups; then finds the numbers again for what
// was written.
BLOCK store_scales(groups *g, int32_t limit, uint8_t *out) {
  float scale = 0, minimum = 0;
  for (int i = 0; i < 8; i++) {
    scale = g->scale[i] > scale ? g->scale[i] : scale;
    minimum = g->minimum[i] > minimum ? g->minimum[i] : minimum;
  }
  float to_scale = scale > 0 ? 63.0f / scale : 0, to_minimum = minimum > 0 ? 63.0f / minimum : 0;
  put_f16(out, scale / 63);
  put_f16(out + 2, minimum / 63);
  float d = stored_f16(scale / 63), dmin = stored_f16(minimum / 63);
  uint8_t *packed = out + 4;
  float8 scales, minimums;
  for (int i = 0; i < 8; i++) {
    uint8_t s = (uint8_t)nearest(to_scale * g->scale[i]), m = (uint8_t)nearest(to_minimum * g->minimum[i]);
    s = s < 63 ? s : 63;
    m = m < 63 ? m : 63;
    if (i < 4) {
      packed[i] = s;
      packed[i + 4] = m;
    } else {
      packed[i + 4] = (uint8_t)((s & 15) | (m & 15) << 4);
      packed[i - 4] |= (uint8_t)(s >> 4 << 6);
      packed[i] |= (uint8_t)(m >> 4 << 6);
    }
    scales[i] = d * (float)s;
    minimums[i] = dmin * (float)m;
  }
  int8 none = scales == 0;
  for (int l = 0; l < 32; l++) {
    int8 q = clamp_8(nearest_8((g->x[l] + minimums) / scales), 0, limit);
    g->q[l] = (g->q[l] & none) | (q & ~none);
  }
}

ELEMENT void load_groups(groups *g, const unaligned_float *in) {
  for (int l = 0; l < 32; l++) {
    for (int i = 0; i < 8; i++) g->x[l][i] = in[32 * i + l];
  }
}

BLOCK encode_q4_k(const unaligned_float *restrict in, uint8_t *restrict out) {
  groups g;
  load_groups(&g, in);
  fit(&g, 15, -1.0f, 0.1f, 20);
  store_scales(&g, 15, out);
  for (int pair = 0; pair < 4; pair++) {
    for (int l = 0; l < 32; l++) out[16 + 32 * pair + l] = (uint8_t)(g.q[l][2 * pair] | g.q[l][2 * pair + 1] << 4);
  }
}

BLOCK encode_q5_k(const unaligned_float *restrict in, uint8_t *restrict out) {
  groups g;
  load_groups(&g, in);
  fit(&g, 31, -0.5f, 0.1f, 15);
  store_scales(&g, 31, out);
  for (int l = 0; l < 32; l++) {
    int high = 0;
    for (int i = 0; i < 8; i++) high |= (g.q[l][i] >> 4) << i;
    out[16 + l] = (uint8_t)high;
    for (int pair = 0; pair < 4; pair++) {
      out[48 + 32 * pair + l] = (uint8_t)((g.q[l][2 * pair] & 15) | (g.q[l][2 * pair + 1] & 15) << 4);
    }
  }
}

BLOCK encode_q6_k(const unaligned_float *restrict in, uint8_t *restrict out) {
  // Sixteen groups of 16.
  float16v x[16], zero = {0}, most = zero, amount = zero;
  int16v q[16];
  for (int l = 0; l < 16; l++) {
    for (int i = 0; i < 16; i++) x[l][i] = in[16 * i + l];
    int16v larger = absolute_16(x[l]) > amount;
    amount = choose_16(larger, absolute_16(x[l]), amount);
    most = choose_16(larger, x[l], most);
  }
  int16v nothing = amount < 1e-15f;
  float16v inverse = -32 / most, sum_xl = zero, sum_l2 = zero;
  for (int l = 0; l < 16; l++) {
    q[l] = clamp_16(nearest_16(inverse * x[l]), -32, 31);
    float16v value = float_16(q[l]), weight = x[l] * x[l];
    sum_xl += weight * x[l] * value;
    sum_l2 += weight * value * value;
  }
  float16v scale = choose_16(sum_l2 == 0, zero, sum_xl / sum_l2), best = scale * sum_xl;
  for (int trial = -9; trial <= 9; trial++) {
    if (trial == 0) continue;
    int16v candidate[16];
    inverse = -(32 + 0.1f * (float)trial) / most;
    sum_xl = sum_l2 = zero;
    for (int l = 0; l < 16; l++) {
      candidate[l] = clamp_16(nearest_16(inverse * x[l]), -32, 31);
      float16v value = float_16(candidate[l]), weight = x[l] * x[l];
      sum_xl += weight * x[l] * value;
      sum_l2 += weight * value * value;
    }
    int16v better = (sum_l2 > 0) & (sum_xl * sum_xl > best * sum_l2);
    for (int l = 0; l < 16; l++) q[l] = (candidate[l] & better) | (q[l] & ~better);
    scale = choose_16(better, sum_xl / sum_l2, scale);
    best = choose_16(better, scale * sum_xl, best);
  }
  scale = choose_16(nothing, zero, scale);
  float largest = 0, magnitude = 0;
  for (int i = 0; i < 16; i++) {
    float size = scale[i] < 0 ? -scale[i] : scale[i];
    if (size > magnitude) {
      magnitude = size;
      largest = scale[i];
    }
  }
  memset(out, 0, 210);
  if (!(magnitude >= 1e-15f)) return;
  float to_scale = -128.0f / largest;
  put_f16(out + 208, 1 / to_scale);
  float d = stored_f16(1 / to_scale);
  float16v scales;
  for (int i = 0; i < 16; i++) {
    int32_t s = nearest(to_scale * scale[i]);
    out[192 + i] = (uint8_t)(s < 127 ? s : 127);
    scales[i] = d * (float)(int8_t)out[192 + i];
  }
  int16v none = scales == 0;
  for (int l = 0; l < 16; l++) {
    int16v again = clamp_16(nearest_16(x[l] / scales), -32, 31);
    // A group of nothing stays what GGML leaves in it: the lowest number.
    q[l] = ((((q[l] + 32) & ~nothing) & none) | ((again + 32) & ~none));
  }
  for (int half = 0; half < 2; half++) {
    for (int l = 0; l < 32; l++) {
      int g = 8 * half + l / 16, e = l % 16;
      int a = q[e][g], b = q[e][g + 2], c = q[e][g + 4], f = q[e][g + 6];
      out[64 * half + l] = (uint8_t)((a & 15) | (c & 15) << 4);
      out[64 * half + 32 + l] = (uint8_t)((b & 15) | (f & 15) << 4);
      out[128 + 32 * half + l] = (uint8_t)(a >> 4 | b >> 4 << 2 | c >> 4 << 4 | f >> 4 << 6);
    }
  }
}

// MARK: Loops

#define LEVEL(name) name##_portable
#include "encode_loops.h"
#undef LEVEL

#if defined(__x86_64__)
#define LEVEL(name) name##_avx2
#pragma clang attribute push(__attribute__((target("avx2,f16c"))), apply_to = function)
#include "encode_loops.h"
#pragma clang attribute pop
#undef LEVEL

#define LEVEL(name) name##_avx512
#pragma clang attribute push(__attribute__((target("avx2,f16c,avx512f,avx512bw,avx512dq,avx512vl"))), apply_to = function)
#include "encode_loops.h"
#pragma clang attribute pop
#endif

ckernels_loop ckernels_encode_blocks(ckernels_block_format format, ckernels_level level) {
  switch (level) {
#if defined(__x86_64__)
    case ckernels_avx512: return encoder_avx512(format);
    case ckernels_avx2: return encoder_avx2(format);
#endif
    default: return encoder_portable(format);
  }
}
