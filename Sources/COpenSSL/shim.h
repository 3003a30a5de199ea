// The block function of SHA-256 stands only in OpenSSL's older interface.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <string.h>

/// Adds `count` blocks of 64 bytes at `data` to `state` (eight words, as in FIPS 180-4).
static inline void copenssl_sha256_blocks(unsigned *state, const void *data, size_t count) {
  SHA256_CTX context;
  memset(&context, 0, sizeof context);
  memcpy(context.h, state, sizeof context.h);
  context.md_len = SHA256_DIGEST_LENGTH;
  SHA256_Update(&context, data, 64 * count);
  memcpy(state, context.h, sizeof context.h);
}
