// The 3x3 convolution of stride 1 between a norm before it and one behind it.
//
// What it reads may still lack its norm and ReLU: they are applied to each number as it is
// loaded, so that their result never goes through memory. What it writes is summed up for the
// norm behind it on the way. The same holds for the gradients. Weights come as planes, see
// winograd.h.

#include <algorithm>

#include "product.h"
#include "steps.h"

namespace {

// Few channels: a block of tiles stays in the core's own cache from the first load to the last
// store. Planes are kept a cache line more apart than they need: at a distance of a power of two
// all of them would compete for the same few lines of the cache.
template <int C, int TILES>
struct Small {
  static constexpr int64_t STRIDE = TILES * C + 16;

  static void forward(const Tiles& whole, const Source& source, const float* weights, float* z,
                      double* total, int threads) {
    Tiles tiles = whole;
    tiles.channels = C;  // known to the compiler from here on
    const int64_t blocks = (tiles.count() + TILES - 1) / TILES;
    constexpr int64_t ROOM = PLANES * STRIDE;
    Sums sums(2, C, threads);
    const Scratch scratch(threads, 2 * ROOM);
#pragma omp parallel num_threads(threads)
    {
      float* planes = scratch.mine();
      float* products = planes + ROOM;
      const Share share(blocks);
      for (int64_t block = share.first; block < share.last; block++) {
        const int64_t first = block * TILES;
        const int count = (int)std::min<int64_t>(TILES, tiles.count() - first);
        // While planes are multiplied memory has nothing to do.
        const Ahead ahead = tiles.rows_of(first + TILES, first + 2 * TILES);
        pack_source(tiles, source, first, count, planes, STRIDE);
        for (int p = 0; p < PLANES; p++) {
          ahead.read(source.x, p, PLANES);
          ahead.write(z, p, PLANES);
          multiply_weights<C, TILES>(planes + p * STRIDE, weights + p * C * C,
                                     products + p * STRIDE);
        }
        unpack_output(tiles, products, STRIDE, first, count, z, sums.mine());
      }
    }
    sums.total(total);
  }

  static void backward(const Tiles& whole, const Gradient& gradient, const Finish& finish,
                       const float* weights, float* weight_sums, double* total, int threads) {
    Tiles tiles = whole;
    tiles.channels = C;
    const int64_t blocks = (tiles.count() + TILES - 1) / TILES;
    constexpr int64_t ROOM = PLANES * STRIDE;
    Sums sums(Finish::SUMS, C, threads);
    const Scratch scratch(threads, 3 * ROOM);
#pragma omp parallel num_threads(threads)
    {
      float* for_input = scratch.mine();
      float* for_weights = for_input + ROOM;
      float* planes = for_weights + ROOM;
      float* added =
          weight_sums ? weight_sums + (int64_t)omp_get_thread_num() * PLANES * C * C : nullptr;
      const Share share(blocks);
      for (int64_t block = share.first; block < share.last; block++) {
        const int64_t first = block * TILES;
        const int count = (int)std::min<int64_t>(TILES, tiles.count() - first);
        if (count < TILES) {
          // Tiles that are not there must add nothing.
          std::memset(planes, 0, sizeof(float) * ROOM);
          std::memset(for_weights, 0, sizeof(float) * ROOM);
        }
        const Ahead ahead = tiles.rows_of(first + TILES, first + 2 * TILES);
        pack_gradient(tiles, gradient, first, count, for_input, added ? for_weights : nullptr,
                      STRIDE);
        if (added) {
          pack_source(tiles, finish.source, first, count, planes, STRIDE);
          for (int p = 0; p < PLANES; p++) {
            ahead.read(gradient.gradient, p, PLANES);
            ahead.read(gradient.z, p, PLANES);
            add_outer<C, TILES>(planes + p * STRIDE, for_weights + p * STRIDE, added + p * C * C);
          }
        }
        for (int p = 0; p < PLANES; p++) {
          ahead.read(finish.source.x, p, PLANES);
          ahead.read(finish.residual, p, PLANES);
          ahead.read(finish.before, p, PLANES);
          ahead.write(finish.to, p, PLANES);
          multiply_weights<C, TILES>(for_input + p * STRIDE, weights + p * C * C,
                                     planes + p * STRIDE);
        }
        unpack_gradient(tiles, planes, STRIDE, first, count, finish, sums.mine());
      }
    }
    sums.total(total);
  }
};

}  // namespace

extern "C" {

// z = w * source, with z's sums and sums of squares (2, C).
int reslab_convolve(const float* x, const float* scale, const float* shift, const float* weights,
                    float* z, double* sums, int64_t images, int height, int width, int channels,
                    int threads) try {
  const Tiles tiles(images, height, width, channels);
  const Source source{x, scale, shift};
  if (channels == 16) Small<16, 32>::forward(tiles, source, weights, z, sums, threads);
  if (channels == 32) Small<32, 32>::forward(tiles, source, weights, z, sums, threads);
  if (channels == 64) Small<64, 16>::forward(tiles, source, weights, z, sums, threads);
  return DONE;
} catch (...) {
  return ending_of_exception();
}

// The gradients of source and weights (as sums (threads, 36, in, out) that are added to; null where
// nobody wants them), with the sums (3, C) that the norms before it need.
int reslab_convolve_backward(const float* gradient, const float* z, const float* coefficients,
                             const float* x, const float* scale, const float* shift,
                             const float* residual, const float* before,
                             const float* shortcut, const float* weights, float* to,
                             float* weight_sums, double* sums, int64_t images, int height,
                             int width, int channels, int threads) try {
  const Tiles tiles(images, height, width, channels);
  const Gradient from{gradient, z, coefficients};
  const Finish finish{{x, scale, shift}, residual, before, shortcut, to};
  if (channels == 16)
    Small<16, 32>::backward(tiles, from, finish, weights, weight_sums, sums, threads);
  if (channels == 32)
    Small<32, 32>::backward(tiles, from, finish, weights, weight_sums, sums, threads);
  if (channels == 64)
    Small<64, 16>::backward(tiles, from, finish, weights, weight_sums, sums, threads);
  return DONE;
} catch (...) {
  return ending_of_exception();
}

}  // extern "C"
