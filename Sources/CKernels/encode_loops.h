// The loops over blocks of one level and the choice among them. Included once for each level, with
//   LEVEL(name)  the name that `name` has at this level

#define LOOP(name, elements, bytes)                                                              \
  static void LEVEL(encode_##name##_blocks)(const void *source, void *destination, size_t count) { \
    const unaligned_float *restrict in = source;                                                 \
    uint8_t *restrict out = destination;                                                         \
    for (size_t i = 0; i < count; i++) encode_##name(in + (elements) * i, out + (bytes) * i);    \
  }

LOOP(q4_0, 32, 18)
LOOP(q4_1, 32, 20)
LOOP(q5_0, 32, 22)
LOOP(q5_1, 32, 24)
LOOP(q8_0, 32, 34)
LOOP(q4_k, 256, 144)
LOOP(q5_k, 256, 176)
LOOP(q6_k, 256, 210)

static ckernels_loop LEVEL(encoder)(ckernels_block_format format) {
  switch (format) {
    case ckernels_q4_0: return LEVEL(encode_q4_0_blocks);
    case ckernels_q4_1: return LEVEL(encode_q4_1_blocks);
    case ckernels_q5_0: return LEVEL(encode_q5_0_blocks);
    case ckernels_q5_1: return LEVEL(encode_q5_1_blocks);
    case ckernels_q8_0: return LEVEL(encode_q8_0_blocks);
    case ckernels_q4_k: return LEVEL(encode_q4_k_blocks);
    case ckernels_q5_k: return LEVEL(encode_q5_k_blocks);
    case ckernels_q6_k: return LEVEL(encode_q6_k_blocks);
    default: return NULL;
  }
}

#undef LOOP
