#include "CDigest.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

#define SHA_TARGET __attribute__((target("sha,sse4.1,ssse3")))

bool cdigest_sha256_supported(void) {
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & (1u << 29))) return false;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & (1u << 9)) && (c & (1u << 19));
}

static const uint32_t round_constants[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

// The working state of one stream: the words ABEF and CDGH, as the instructions want them.
typedef struct {
  __m128i abef, cdgh;
} working_state;

SHA_TARGET static inline __attribute__((always_inline)) working_state load_state(const uint32_t *state) {
  __m128i low = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)state), 0xB1);         // CDAB
  __m128i high = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(state + 4)), 0x1B);  // EFGH
  working_state result = {_mm_alignr_epi8(low, high, 8), _mm_blend_epi16(high, low, 0xF0)};
  return result;
}

SHA_TARGET static inline __attribute__((always_inline)) void store_state(
    uint32_t *state, working_state value) {
  __m128i low = _mm_shuffle_epi32(value.abef, 0x1B);   // FEBA
  __m128i high = _mm_shuffle_epi32(value.cdgh, 0xB1);  // DCHG
  _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(low, high, 0xF0));
  _mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(high, low, 8));
}

// Four rounds with four words of the schedule.
SHA_TARGET static inline __attribute__((always_inline)) void four_rounds(
    working_state *state, __m128i words, int group) {
  __m128i sum = _mm_add_epi32(words, _mm_load_si128((const __m128i *)(round_constants + 4 * group)));
  state->cdgh = _mm_sha256rnds2_epu32(state->cdgh, state->abef, sum);
  state->abef = _mm_sha256rnds2_epu32(state->abef, state->cdgh, _mm_shuffle_epi32(sum, 0x0E));
}

// One block of each of `streams` streams, interleaved.
SHA_TARGET static inline __attribute__((always_inline)) void compress(
    int streams, working_state *state, const uint8_t *const *data) {
  const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  working_state start[2];
  __m128i words[2][4];
#pragma clang loop unroll(full)
  for (int s = 0; s < streams; s++) start[s] = state[s];
#pragma clang loop unroll(full)
  for (int group = 0; group < 16; group++) {
#pragma clang loop unroll(full)
    for (int s = 0; s < streams; s++) {
      __m128i *w = words[s];
      if (group < 4) {
        w[group] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(data[s] + 16 * group)), big_endian);
      } else {
        __m128i older = _mm_sha256msg1_epu32(w[group % 4], w[(group + 1) % 4]);
        __m128i middle = _mm_alignr_epi8(w[(group + 3) % 4], w[(group + 2) % 4], 4);
        w[group % 4] = _mm_sha256msg2_epu32(_mm_add_epi32(older, middle), w[(group + 3) % 4]);
      }
      four_rounds(&state[s], w[group % 4], group);
    }
  }
#pragma clang loop unroll(full)
  for (int s = 0; s < streams; s++) {
    state[s].abef = _mm_add_epi32(state[s].abef, start[s].abef);
    state[s].cdgh = _mm_add_epi32(state[s].cdgh, start[s].cdgh);
  }
}

SHA_TARGET void cdigest_sha256_x1(uint32_t *state, const uint8_t *data, size_t count) {
  working_state working[1] = {load_state(state)};
  for (size_t block = 0; block < count; block++) {
    const uint8_t *at[1] = {data + 64 * block};
    compress(1, working, at);
  }
  store_state(state, working[0]);
}

SHA_TARGET void cdigest_sha256_x2(
    uint32_t *state_a, const uint8_t *data_a, uint32_t *state_b, const uint8_t *data_b, size_t count) {
  working_state working[2] = {load_state(state_a), load_state(state_b)};
  for (size_t block = 0; block < count; block++) {
    const uint8_t *at[2] = {data_a + 64 * block, data_b + 64 * block};
    compress(2, working, at);
  }
  store_state(state_a, working[0]);
  store_state(state_b, working[1]);
}

#else

// Other processors leave SHA-256 to OpenSSL, which has its own code for them.
bool cdigest_sha256_supported(void) { return false; }
void cdigest_sha256_x1(uint32_t *state, const uint8_t *data, size_t count) {
  (void)state, (void)data, (void)count;
}
void cdigest_sha256_x2(
    uint32_t *state_a, const uint8_t *data_a, uint32_t *state_b, const uint8_t *data_b, size_t count) {
  (void)state_a, (void)data_a, (void)state_b, (void)data_b, (void)count;
}

#endif
