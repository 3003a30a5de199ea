// The loops of one level and the table of them. Included once for each level, with
//   LEVEL(name)  the name that `name` has at this level
//   HALF         1 where the processor converts F16 itself

#if HALF
#define F16_TO_F32(x) half_to_f32(x)
#define F16_FROM_F32(x) half_from_f32(x)
#else
#define F16_TO_F32(x) f16_to_f32(x)
#define F16_FROM_F32(x) f16_from_f32(x)
#endif

#define LOOP(name, from, to, expression)                                         \
  static void LEVEL(name)(const void *source, void *destination, size_t count) { \
    const unaligned_##from *restrict in = source;                                \
    unaligned_##to *restrict out = destination;                                  \
    _Pragma("clang loop vectorize_width(16)")                                    \
    for (size_t i = 0; i < count; i++) {                                         \
      from x = LITTLE(from, in[i]);                                              \
      to y = expression;                                                         \
      out[i] = LITTLE(to, y);                                                    \
    }                                                                            \
  }

LOOP(f64_to, uint64_t, uint32_t, f32_from_f64(x))
LOOP(f64_from, uint32_t, uint64_t, f64_from_f32(x))
LOOP(f64_from_saturating, uint32_t, uint64_t, f64_limited(f64_from_f32(x)))
LOOP(f32_from_saturating, uint32_t, uint32_t, f32_limited(x))
LOOP(f16_to, uint16_t, uint32_t, F16_TO_F32(x))
LOOP(f16_from, uint32_t, uint16_t, F16_FROM_F32(x))
LOOP(f16_from_saturating, uint32_t, uint16_t, f16_limited(F16_FROM_F32(x)))
LOOP(bf16_to, uint16_t, uint32_t, bf16_to_f32(x))
LOOP(bf16_from, uint32_t, uint16_t, bf16_from_f32(x))
LOOP(bf16_from_saturating, uint32_t, uint16_t, bf16_limited(bf16_from_f32(x)))
LOOP(e8m0_to, uint8_t, uint32_t, e8m0_to_f32(x))
LOOP(e8m0_from, uint32_t, uint8_t, e8m0_from_f32(false, x))
LOOP(e8m0_from_saturating, uint32_t, uint8_t, e8m0_from_f32(true, x))

// F8_E5M2 is the upper byte of F16.
LOOP(e5m2_to, uint8_t, uint32_t, F16_TO_F32((uint16_t)(x << 8)))
LOOP(e4m3_to, uint8_t, uint32_t, small_to_f32(e4m3, x))
LOOP(e5m2fnuz_to, uint8_t, uint32_t, small_to_f32(e5m2fnuz, x))
LOOP(e4m3fnuz_to, uint8_t, uint32_t, small_to_f32(e4m3fnuz, x))

#define TO_BYTES(format)                                                   \
  LOOP(format##_from, uint32_t, uint8_t, small_from_f32(format, false, x)) \
  LOOP(format##_from_saturating, uint32_t, uint8_t, small_from_f32(format, true, x))

TO_BYTES(e5m2)
TO_BYTES(e4m3)
TO_BYTES(e5m2fnuz)
TO_BYTES(e4m3fnuz)

// Two elements in one byte or four in three: a stream of bits that begins with the lowest of the first byte.
#define PACKED(format, elements, bytes)                                                     \
  static void LEVEL(format##_to)(const void *source, void *destination, size_t count) {     \
    const uint8_t *in = source;                                                             \
    unaligned_uint32_t *out = destination;                                                  \
    for (size_t i = 0; i < count / elements; i++) {                                         \
      uint32_t bits = 0;                                                                    \
      for (int j = 0; j < bytes; j++) bits |= (uint32_t)in[bytes * i + j] << 8 * j;         \
      for (int j = 0; j < elements; j++) {                                                  \
        uint32_t pattern = bits >> format.width * j & ((1u << format.width) - 1);           \
        uint32_t value = small_to_f32(format, pattern);                                     \
        out[elements * i + j] = LITTLE(uint32_t, value);                                    \
      }                                                                                     \
    }                                                                                       \
  }                                                                                         \
  static void LEVEL(format##_from)(const void *source, void *destination, size_t count) {   \
    const unaligned_uint32_t *in = source;                                                  \
    uint8_t *out = destination;                                                             \
    for (size_t i = 0; i < count / elements; i++) {                                         \
      uint32_t bits = 0;                                                                    \
      for (int j = 0; j < elements; j++) {                                                  \
        uint32_t x = LITTLE(uint32_t, in[elements * i + j]);                                \
        bits |= (uint32_t)small_from_f32(format, true, x) << format.width * j;                        \
      }                                                                                     \
      for (int j = 0; j < bytes; j++) out[bytes * i + j] = (uint8_t)(bits >> 8 * j);        \
    }                                                                                       \
  }

PACKED(e2m3, 4, 3)
PACKED(e3m2, 4, 3)
PACKED(e2m1, 2, 1)

#define ENTRY(format, saturating) {LEVEL(format##_to), LEVEL(format##_from), LEVEL(saturating)}

// In the order of `ckernels_format`.
static const loops LEVEL(table)[] = {
    ENTRY(f64, f64_from_saturating),
    {copy, copy, LEVEL(f32_from_saturating)},
    ENTRY(f16, f16_from_saturating),
    ENTRY(bf16, bf16_from_saturating),
    ENTRY(e5m2, e5m2_from_saturating),
    ENTRY(e4m3, e4m3_from_saturating),
    ENTRY(e5m2fnuz, e5m2fnuz_from_saturating),
    ENTRY(e4m3fnuz, e4m3fnuz_from_saturating),
    ENTRY(e8m0, e8m0_from_saturating),
    ENTRY(e2m3, e2m3_from),
    ENTRY(e3m2, e3m2_from),
    ENTRY(e2m1, e2m1_from),
};

#undef F16_TO_F32
#undef F16_FROM_F32
#undef LOOP
#undef TO_BYTES
#undef PACKED
#undef ENTRY
