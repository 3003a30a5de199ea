// One element at a time, without branches, so that the compiler makes vector code of loops over them.
//
// All round to nearest, ties to even. A NaN becomes a quiet one with its sign; F16 and BF16 keep the bits of its
// payload that fit. Sources: OCP 8-bit Floating Point Specification 1.0 (E4M3, E5M2), OCP Microscaling Formats 1.0
// (E8M0, E2M3, E3M2, E2M1), Noune et al., arXiv:2206.02915 (FNUZ).
#ifndef ARTIFACT_ELEMENTS_H
#define ARTIFACT_ELEMENTS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define ELEMENT static inline __attribute__((always_inline))

ELEMENT float float_of(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

ELEMENT uint32_t bits_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

ELEMENT bool is_nan(uint32_t bits) { return float_of(bits) != float_of(bits); }

// MARK: F64 and F32

ELEMENT uint32_t f32_from_f64(uint64_t bits) {
  double value;
  memcpy(&value, &bits, sizeof value);
  return bits_of((float)value);
}

ELEMENT uint64_t f64_from_f32(uint32_t bits) {
  double value = float_of(bits);
  uint64_t result;
  memcpy(&result, &value, sizeof result);
  return result;
}

// The largest number for an infinity, with its sign; other patterns as they are. In each format of two bytes and
// more, and with an infinity, the largest number is the pattern before it.
ELEMENT uint64_t f64_limited(uint64_t bits) { return bits - (bits << 1 == 0x7FFull << 53); }
ELEMENT uint32_t f32_limited(uint32_t bits) { return bits - (bits << 1 == 0xFFu << 24); }
ELEMENT uint16_t f16_limited(uint16_t bits) { return bits - ((bits & 0x7FFF) == 0x7C00); }
ELEMENT uint16_t bf16_limited(uint16_t bits) { return bits - ((bits & 0x7FFF) == 0x7F80); }

// The pattern in the low 16 bits, those above it without meaning, of the magnitude of an F32 in a format with
// `mantissa` bits of significand and an exponent of 16 bits less these, with `bias`.
//
// The addition of a power of two whose last place is the last place of the result rounds it there, subnormal
// results too. Its last bits hold the bias.
ELEMENT uint32_t rounded(uint32_t mantissa, uint32_t bias, uint32_t magnitude) {
  uint32_t shift = 23 - mantissa;
  uint32_t least = (128 - bias) << 23;
  uint32_t exponent = (magnitude > least ? magnitude : least) & 0x7F800000;
  uint32_t power = exponent + (shift << 23) + ((bias - 128) << mantissa & 0xFFFF);
  return bits_of(float_of(magnitude) + float_of(power)) + (exponent >> shift);
}

// MARK: BF16

ELEMENT uint32_t bf16_to_f32(uint16_t bits) { return (uint32_t)bits << 16; }

ELEMENT uint16_t bf16_from_f32(uint32_t bits) {
  uint32_t rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
  return is_nan(bits) ? bits >> 16 | 0x40 : rounded;
}

// MARK: F16

ELEMENT uint32_t f16_to_f32(uint16_t bits) {
  uint32_t magnitude = (uint32_t)(bits & 0x7FFF) << 13;
  uint32_t infinity = 31u << 23;
  uint32_t normal = magnitude + (112u << 23) + (magnitude >= infinity ? 112u << 23 : 0);
  uint32_t quieted = normal | (magnitude > infinity ? 0x400000 : 0);
  // A subnormal is its integer value times 2^-24.
  uint32_t subnormal = bits_of(float_of(magnitude + (113u << 23)) - float_of(113u << 23));
  return (magnitude < 1u << 23 ? subnormal : quieted) | (uint32_t)(bits & 0x8000) << 16;
}

ELEMENT uint16_t f16_from_f32(uint32_t bits) {
  uint32_t magnitude = bits & 0x7FFFFFFF;
  uint32_t result = rounded(10, 15, magnitude < 143u << 23 ? magnitude : 143u << 23);
  result = is_nan(bits) ? 0x7E00 | magnitude >> 13 : result;
  return (result & 0x7FFF) | (bits >> 16 & 0x8000);
}

#if defined(__FLT16_MAX__)
// The same where the processor has instructions for it.
ELEMENT uint32_t half_to_f32(uint16_t bits) {
  _Float16 value;
  memcpy(&value, &bits, sizeof value);
  return bits_of((float)value);
}

ELEMENT uint16_t half_from_f32(uint32_t bits) {
  _Float16 value = (_Float16)float_of(bits);
  uint16_t result;
  memcpy(&result, &value, sizeof result);
  return result;
}
#endif

// MARK: Eight, six and four bits with a sign

typedef struct {
  uint32_t width, mantissa, bias;
  // The magnitudes of the largest number, of what stands for a larger one (infinity, where there is none NaN,
  // where there is neither the largest), and of NaN (zero where there is none).
  uint32_t largest, beyond, nan;
  // Whether the pattern of negative zero is NaN.
  bool fnuz;
} small_format;

static const small_format e5m2 = {8, 2, 15, 0x7B, 0x7C, 0x7E, false};
static const small_format e4m3 = {8, 3, 7, 0x7E, 0x7F, 0x7F, false};
static const small_format e5m2fnuz = {8, 2, 16, 0x7F, 0x80, 0x80, true};
static const small_format e4m3fnuz = {8, 3, 8, 0x7F, 0x80, 0x80, true};
static const small_format e2m3 = {6, 3, 1, 0x1F, 0x1F, 0, false};
static const small_format e3m2 = {6, 2, 3, 0x1F, 0x1F, 0, false};
static const small_format e2m1 = {4, 1, 1, 0x7, 0x7, 0, false};

// Not for E5M2, which has infinities.
ELEMENT uint32_t small_to_f32(small_format f, uint32_t pattern) {
  uint32_t sign_bit = 1u << (f.width - 1);
  uint32_t magnitude = pattern & (sign_bit - 1);
  uint32_t sign = (pattern & sign_bit) << (32 - f.width);
  uint32_t shifted = magnitude << (23 - f.mantissa);
  uint32_t one = (128 - f.bias) << 23;
  uint32_t normal = shifted + ((127 - f.bias) << 23);
  uint32_t subnormal = bits_of(float_of(shifted + one) - float_of(one));
  uint32_t result = magnitude < (1u << f.mantissa) ? subnormal : normal;
  if (f.fnuz) return pattern == sign_bit ? 0xFFC00000 : result | sign;
  if (f.nan != 0) result = magnitude == f.nan ? 0x7FC00000 : result;
  return result | sign;
}

ELEMENT uint8_t small_from_f32(small_format f, bool saturates, uint32_t bits) {
  uint32_t magnitude = bits & 0x7FFFFFFF;
  uint32_t beyond = saturates ? f.largest : f.beyond;
  // The F32 of the pattern `beyond`; no number above it gives another result.
  uint32_t limit = (beyond << (23 - f.mantissa)) + ((127 - f.bias) << 23);
  uint32_t result = rounded(f.mantissa, f.bias, magnitude < limit ? magnitude : limit);
  if (beyond != f.nan) result = is_nan(bits) ? f.nan : result;
  uint32_t sign_bit = 1u << (f.width - 1);
  uint32_t sign = bits >> (32 - f.width) & sign_bit;
  if (f.fnuz) return (result & 0xFF) == 0 ? 0 : result | sign;
  return (result & (sign_bit - 1)) | sign;
}

// MARK: E8M0, a power of two

ELEMENT uint32_t e8m0_to_f32(uint8_t pattern) {
  uint32_t result = pattern == 0 ? 0x00400000 : (uint32_t)pattern << 23;
  return pattern == 0xFF ? 0x7FC00000 : result;
}

// The nearest power of two, ties to the larger as in ml_dtypes; NaN for what is negative and, unless it saturates,
// for zero.
ELEMENT uint8_t e8m0_from_f32(bool saturates, uint32_t bits) {
  uint32_t normal = (bits + 0x400000) >> 23;
  // Below 2^-126 an F32 is subnormal and counts 2^-149.
  uint32_t subnormal = bits >= 0x600000 ? 1 : 0;
  uint32_t result = bits < 0x800000 ? subnormal : normal;
  result = result > 0xFE ? (saturates ? 0xFE : 0xFF) : result;
  result = (bits & 0x7FFFFFFF) == 0 ? (saturates ? 0 : 0xFF) : result;
  return bits > 0x80000000 || is_nan(bits) ? 0xFF : result;
}

#endif
