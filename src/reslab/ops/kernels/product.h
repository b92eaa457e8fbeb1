// Products of small matrices, as they occur in each plane of a block of tiles.

#pragma once

#include "simd.h"

// Where the numbers that are summed over go on after `depth` of them: `runs` times in all, so many
// floats further in a and in b.
struct Runs {
  int runs = 1;
  int64_t a_step = 0, b_step = 0;
};

// c[m, n] = sum over k of a[m, k] b[k, n], or that added to c, for ROWS x COLUMNS vectors of c.
// The strides are known to the compiler, which keeps all of c's block in registers.
template <int ROWS, int COLUMNS, int A_M, int A_K, int B_K, int C_M, bool ADD>
static INLINE void multiply_block(const float* a, const float* b, float* c, int depth,
                                  Runs further = {}) {
  Vec sums[ROWS][COLUMNS];
  for (int m = 0; m < ROWS; m++)
    for (int n = 0; n < COLUMNS; n++) sums[m][n] = ADD ? load(c + m * C_M + n * LANES) : Vec{};
  for (int run = 0; run < further.runs; run++, a += further.a_step, b += further.b_step)
    for (int k = 0; k < depth; k++) {
      Vec row[COLUMNS];
      for (int n = 0; n < COLUMNS; n++) row[n] = load(b + k * B_K + n * LANES);
#pragma GCC unroll 16
      for (int m = 0; m < ROWS; m++) {
        const float factor = a[m * A_M + k * A_K];
#pragma GCC unroll 4
        for (int n = 0; n < COLUMNS; n++) sums[m][n] += factor * row[n];
      }
    }
  for (int m = 0; m < ROWS; m++)
    for (int n = 0; n < COLUMNS; n++) store(c + m * C_M + n * LANES, sums[m][n]);
}

// Sixteen sums at a time hide the latency of the additions; 16 registers leave room for eight.
template <int CHANNELS>
constexpr int BLOCK_COLUMNS = CHANNELS >= 2 * LANES ? 2 : 1;
template <int CHANNELS>
constexpr int BLOCK_ROWS = (LANES == 16 ? 16 : 8) / BLOCK_COLUMNS<CHANNELS>;

// (TILES, C) times (C, C): what a plane of inputs gives with a plane of weights.
template <int C, int TILES>
static INLINE void multiply_weights(const float* tiles, const float* weights, float* to) {
  constexpr int COLUMNS = BLOCK_COLUMNS<C>, ROWS = BLOCK_ROWS<C>;
  for (int n = 0; n < C; n += COLUMNS * LANES)
    for (int t = 0; t < TILES; t += ROWS)
      multiply_block<ROWS, COLUMNS, C, 1, C, C, false>(tiles + t * C, weights + n, to + t * C + n,
                                                       C);
}

// (C, TILES) times (TILES, C), added: what a plane of inputs and one of gradients give for the
// weights.
template <int C, int TILES>
static INLINE void add_outer(const float* inputs, const float* gradients, float* to) {
  constexpr int COLUMNS = BLOCK_COLUMNS<C>, ROWS = BLOCK_ROWS<C>;
  for (int n = 0; n < C; n += COLUMNS * LANES)
    for (int m = 0; m < C; m += ROWS)
      multiply_block<ROWS, COLUMNS, 1, C, C, C, true>(inputs + m, gradients + n, to + m * C + n,
                                                      TILES);
}
