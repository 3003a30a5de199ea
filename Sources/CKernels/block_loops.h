// The loops over blocks of one level and the table of them. Included once for each level, with
//   LEVEL(name)  the name that `name` has at this level

#define LOOP(name, elements, bytes)                                                             \
  static void LEVEL(name##_blocks)(const void *source, void *destination, size_t count) {       \
    const uint8_t *restrict in = source;                                                        \
    unaligned_float *restrict out = destination;                                                \
    for (size_t i = 0; i < count; i++) name(in + (bytes) * i, out + (elements) * i);            \
  }

LOOP(q1_0, 128, 18)
LOOP(q4_0, 32, 18)
LOOP(q4_1, 32, 20)
LOOP(q5_0, 32, 22)
LOOP(q5_1, 32, 24)
LOOP(q8_0, 32, 34)
LOOP(q2_k, 256, 84)
LOOP(q3_k, 256, 110)
LOOP(q4_k, 256, 144)
LOOP(q5_k, 256, 176)
LOOP(q6_k, 256, 210)
LOOP(q8_k, 256, 292)
LOOP(iq4_nl, 32, 18)
LOOP(iq4_xs, 256, 136)
LOOP(tq1_0, 256, 54)
LOOP(tq2_0, 256, 66)
LOOP(mxfp4, 32, 17)
LOOP(nvfp4, 64, 36)

// In the order of `ckernels_block_format`.
static const ckernels_loop LEVEL(block_table)[] = {
    LEVEL(q1_0_blocks),   LEVEL(q4_0_blocks),   LEVEL(q4_1_blocks),  LEVEL(q5_0_blocks),  LEVEL(q5_1_blocks),
    LEVEL(q8_0_blocks),   LEVEL(q2_k_blocks),   LEVEL(q3_k_blocks),  LEVEL(q4_k_blocks),  LEVEL(q5_k_blocks),
    LEVEL(q6_k_blocks),   LEVEL(q8_k_blocks),   LEVEL(iq4_nl_blocks), LEVEL(iq4_xs_blocks), LEVEL(tq1_0_blocks),
    LEVEL(tq2_0_blocks),  LEVEL(mxfp4_blocks),  LEVEL(nvfp4_blocks),
};

#undef LOOP
