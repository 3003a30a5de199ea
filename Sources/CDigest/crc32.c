#include "CDigest.h"

// CRC-32 (polynomial 0x04C11DB7, reflected) by carry-less multiplication: sixty-four bytes are folded into
// the next sixty-four, then into sixteen, then reduced. Method and constants: V. Gopal et al., "Fast CRC
// Computation for Generic Polynomials Using PCLMULQDQ Instruction", Intel, 2009.

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

#define CLMUL_TARGET __attribute__((target("pclmul,sse4.1")))

bool cdigest_crc32_supported(void) {
  unsigned a, b, c, d;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & (1u << 1)) && (c & (1u << 19));
}

// `value` moved ahead by the distance that `constants` stand for, plus what is there.
CLMUL_TARGET static inline __m128i fold(__m128i value, __m128i constants, __m128i there) {
  __m128i low = _mm_clmulepi64_si128(value, constants, 0x00);
  __m128i high = _mm_clmulepi64_si128(value, constants, 0x11);
  return _mm_xor_si128(_mm_xor_si128(low, high), there);
}

CLMUL_TARGET static inline __m128i at(const uint8_t *data, size_t index) {
  return _mm_loadu_si128((const __m128i *)(data + 16 * index));
}

CLMUL_TARGET uint32_t cdigest_crc32(uint32_t crc, const uint8_t *data, size_t count) {
  const __m128i by_four = _mm_set_epi64x(0x1c6e41596, 0x154442bd4);
  const __m128i by_one = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0);
  const __m128i last_fold = _mm_set_epi64x(0, 0x163cd6124);
  const __m128i reduction = _mm_set_epi64x(0x1f7011641, 0x1db710641);
  const __m128i low_words = _mm_setr_epi32(-1, 0, -1, 0);

  __m128i a = _mm_xor_si128(at(data, 0), _mm_cvtsi32_si128((int)~crc));
  __m128i b = at(data, 1), c = at(data, 2), d = at(data, 3);
  size_t blocks = count / 16, next = 4;
  for (; next + 4 <= blocks; next += 4) {
    a = fold(a, by_four, at(data, next));
    b = fold(b, by_four, at(data, next + 1));
    c = fold(c, by_four, at(data, next + 2));
    d = fold(d, by_four, at(data, next + 3));
  }
  a = fold(a, by_one, b);
  a = fold(a, by_one, c);
  a = fold(a, by_one, d);
  for (; next < blocks; next++) a = fold(a, by_one, at(data, next));

  // 128 bits to 96, to 64, and by Barrett's method to 32.
  a = _mm_xor_si128(_mm_srli_si128(a, 8), _mm_clmulepi64_si128(a, by_one, 0x10));
  a = _mm_xor_si128(
      _mm_srli_si128(a, 4), _mm_clmulepi64_si128(_mm_and_si128(a, low_words), last_fold, 0x00));
  __m128i quotient = _mm_clmulepi64_si128(_mm_and_si128(a, low_words), reduction, 0x10);
  quotient = _mm_clmulepi64_si128(_mm_and_si128(quotient, low_words), reduction, 0x00);
  return ~(uint32_t)_mm_extract_epi32(_mm_xor_si128(a, quotient), 1);
}

#else

bool cdigest_crc32_supported(void) { return false; }
uint32_t cdigest_crc32(uint32_t crc, const uint8_t *data, size_t count) {
  (void)data, (void)count;
  return crc;
}

#endif
