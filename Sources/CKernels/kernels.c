#include "CKernels.h"

#include "elements.h"

// Any address will do.
typedef uint8_t unaligned_uint8_t;
typedef uint16_t unaligned_uint16_t __attribute__((aligned(1), may_alias));
typedef uint32_t unaligned_uint32_t __attribute__((aligned(1), may_alias));
typedef uint64_t unaligned_uint64_t __attribute__((aligned(1), may_alias));

// From little-endian order to that of the processor, and back.
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define LITTLE(type, x) (x)
#else
#define LITTLE_uint8_t(x) (x)
#define LITTLE_uint16_t(x) __builtin_bswap16(x)
#define LITTLE_uint32_t(x) __builtin_bswap32(x)
#define LITTLE_uint64_t(x) __builtin_bswap64(x)
#define LITTLE(type, x) LITTLE_##type(x)
#endif

typedef struct {
  ckernels_loop to_f32, from_f32, from_f32_saturating;
} loops;

static void copy(const void *source, void *destination, size_t count) {
  memcpy(destination, source, 4 * count);
}

// Eight numbers at any address that a float may have.
typedef float lanes __attribute__((vector_size(32), aligned(4), may_alias));

#define LEVEL(name) name##_portable
#if defined(__aarch64__)
#define HALF 1
#else
#define HALF 0
#endif
#include "loops.h"
#include "product.h"
#undef LEVEL
#undef HALF

#if defined(__x86_64__)
#define HALF 1
#define LEVEL(name) name##_avx2
#pragma clang attribute push(__attribute__((target("avx2,f16c,fma"))), apply_to = function)
#include "loops.h"
#include "product.h"
#pragma clang attribute pop
#undef LEVEL

#define LEVEL(name) name##_avx512
#pragma clang attribute push(__attribute__((target("avx2,f16c,fma,avx512f,avx512bw,avx512dq,avx512vl"))), apply_to = function)
#include "loops.h"
#include "product.h"
#pragma clang attribute pop
#endif

bool ckernels_supported(ckernels_level level) {
  switch (level) {
    case ckernels_portable: return true;
#if defined(__x86_64__)
    case ckernels_avx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c") && __builtin_cpu_supports("fma");
    case ckernels_avx512:
      return ckernels_supported(ckernels_avx2) && __builtin_cpu_supports("avx512f") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl");
#endif
    default: return false;
  }
}

static const loops *table(ckernels_level level) {
  switch (level) {
#if defined(__x86_64__)
    case ckernels_avx512: return table_avx512;
    case ckernels_avx2: return table_avx2;
#endif
    default: return table_portable;
  }
}

ckernels_loop ckernels_to_f32(ckernels_format format, ckernels_level level) {
  return table(level)[format].to_f32;
}

ckernels_loop ckernels_from_f32(ckernels_format format, bool saturates, ckernels_level level) {
  const loops *found = &table(level)[format];
  return saturates ? found->from_f32_saturating : found->from_f32;
}

void ckernels_add_product(const float *left, const float *panel, size_t depth, size_t rows, float *sums,
                          size_t stride, ckernels_level level) {
  switch (level) {
#if defined(__x86_64__)
    case ckernels_avx512: return product_avx512(left, panel, depth, rows, sums, stride);
    case ckernels_avx2: return product_avx2(left, panel, depth, rows, sums, stride);
#endif
    default: return product_portable(left, panel, depth, rows, sums, stride);
  }
}
