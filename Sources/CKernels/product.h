// Sums of products of one level. Included once for each level, with LEVEL(name) the name that `name` has at it.

#define SPREAD(x) ((lanes){x, x, x, x, x, x, x, x})

// Adds the products of R rows with a panel of eight columns.
#define ROWS(R)                                                                                              \
  static void LEVEL(product_##R)(const float *restrict left, const float *restrict panel, size_t depth,     \
                                 float *restrict sums, size_t stride) {                                      \
    lanes sum[R];                                                                                            \
    _Pragma("clang loop unroll(full)") for (int r = 0; r < R; r++)                                           \
        sum[r] = *(const lanes *)(sums + r * stride);                                                        \
    for (size_t k = 0; k < depth; k++) {                                                                     \
      lanes right = *(const lanes *)(panel + 8 * k);                                                         \
      _Pragma("clang loop unroll(full)") for (int r = 0; r < R; r++)                                         \
          sum[r] = __builtin_elementwise_fma(SPREAD(left[r * depth + k]), right, sum[r]);                    \
    }                                                                                                        \
    _Pragma("clang loop unroll(full)") for (int r = 0; r < R; r++) *(lanes *)(sums + r * stride) = sum[r];   \
  }

ROWS(8)
ROWS(1)

static void LEVEL(product)(
    const float *left, const float *panel, size_t depth, size_t rows, float *sums, size_t stride) {
  size_t row = 0;
  for (; row + 8 <= rows; row += 8) LEVEL(product_8)(left + row * depth, panel, depth, sums + row * stride, stride);
  for (; row < rows; row++) LEVEL(product_1)(left + row * depth, panel, depth, sums + row * stride, stride);
}

#undef ROWS
#undef SPREAD
