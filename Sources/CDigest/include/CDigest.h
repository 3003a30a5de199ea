// SHA-256 compression with the processor's SHA instructions, one stream or two at a time.
//
// One stream waits on the latency of its own rounds; two independent ones on the same core fill the gaps and
// together run at about 1.8 times the rate of one. Where the instructions are missing the functions must not
// be called.
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

#endif
