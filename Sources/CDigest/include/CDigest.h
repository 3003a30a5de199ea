// Digests with the processor's own instructions. Where these are missing the functions must not be called.
//
// SHA-256 takes one stream or two at a time: one stream waits on the latency of its own rounds; two independent ones on the same core fill the gaps and
// together run at about 1.6 times the rate of one.
#ifndef ARTIFACT_CDIGEST_H
#define ARTIFACT_CDIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// Whether this processor has the instructions.
bool cdigest_sha256_supported(void);

/// Adds `count` blocks of 64 bytes at `data` to `state` (eight words, as in FIPS 180-4).
void cdigest_sha256_x1(uint32_t *state, const uint8_t *data, size_t count);

/// The same for two streams of equal length at once.
void cdigest_sha256_x2(
    uint32_t *state_a, const uint8_t *data_a, uint32_t *state_b, const uint8_t *data_b, size_t count);

/// Whether this processor has carry-less multiplication.
bool cdigest_crc32_supported(void);

/// The CRC-32 of zip for bytes that follow bytes with the CRC-32 `crc`. `count` is a multiple of 16, at least 64.
uint32_t cdigest_crc32(uint32_t crc, const uint8_t *data, size_t count);

#endif
