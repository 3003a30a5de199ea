// Conversion of floating formats to F32 and from it, and products of matrices, in loops that are compiled once for each level of the
// processor's instructions. All levels give the same bits.
#ifndef ARTIFACT_CKERNELS_H
#define ARTIFACT_CKERNELS_H

#include <stdbool.h>
#include <stddef.h>

/// A floating format, told by its name in SafeTensors.
typedef enum {
  ckernels_f64,
  ckernels_f32,
  ckernels_f16,
  ckernels_bf16,
  ckernels_f8_e5m2,
  ckernels_f8_e4m3,
  ckernels_f8_e5m2fnuz,
  ckernels_f8_e4m3fnuz,
  ckernels_f8_e8m0,
  ckernels_f6_e2m3,
  ckernels_f6_e3m2,
  ckernels_f4,
} ckernels_format;

/// Instructions that loops may use.
typedef enum {
  /// Those that every processor of the architecture has.
  ckernels_portable,
  /// AVX2, F16C and FMA.
  ckernels_avx2,
  /// AVX-512 F, BW, DQ and VL.
  ckernels_avx512,
} ckernels_level;

/// Converts `count` values, little-endian and at any address. F4 and F6 come in whole bytes: `count` is a multiple
/// of 2 or 4.
typedef void (*ckernels_loop)(const void *source, void *destination, size_t count);

/// Whether this processor has the instructions of `level`.
bool ckernels_supported(ckernels_level level);

/// The loop that makes F32 of `format`: exact, but for F64, which rounds to nearest, ties to even.
ckernels_loop ckernels_to_f32(ckernels_format format, ckernels_level level);

/// The loop that makes `format` of F32: to nearest, ties to even.
///
/// What is too large becomes infinity, where there is none NaN, where there is neither the largest number; with
/// `saturates` always the largest number.
ckernels_loop ckernels_from_f32(ckernels_format format, bool saturates, ckernels_level level);

/// A format of GGML in which numbers stand in blocks that share scales.
typedef enum {
  ckernels_q1_0,
  ckernels_q4_0,
  ckernels_q4_1,
  ckernels_q5_0,
  ckernels_q5_1,
  ckernels_q8_0,
  ckernels_q2_k,
  ckernels_q3_k,
  ckernels_q4_k,
  ckernels_q5_k,
  ckernels_q6_k,
  ckernels_q8_k,
  ckernels_iq4_nl,
  ckernels_iq4_xs,
  ckernels_tq1_0,
  ckernels_tq2_0,
  ckernels_mxfp4,
  ckernels_nvfp4,
} ckernels_block_format;

/// The loop that makes F32 of blocks; its `count` is one of blocks. All levels give the same bits.
ckernels_loop ckernels_decode_blocks(ckernels_block_format format, ckernels_level level);
/// Adds to `rows` rows of eight sums, `stride` floats apart, the products of rows of `depth` floats with a matrix of
/// `depth` rows of eight: in ascending order of the inner dimension, each product added without rounding it first.
void ckernels_add_product(const float *left, const float *panel, size_t depth, size_t rows, float *sums,
                          size_t stride, ckernels_level level);

/// The loop that makes blocks of F32, or null where there is none; its `count` is one of blocks. All levels give the
/// same bits.
ckernels_loop ckernels_encode_blocks(ckernels_block_format format, ckernels_level level);

#endif
