// The 3x3 convolution of stride 1 in steps, for many channels: planes (36, tiles, C) lie `stride`
// floats apart, and a library multiplies them.

#include <algorithm>

#include "steps.h"

namespace {

// Tiles that are worked on at a time where somebody else multiplies the planes.
constexpr int CHUNK = 16;

template <class Work>
void in_chunks(const Tiles& tiles, int threads, Work work) {
#pragma omp parallel num_threads(threads)
  {
    const Share share((tiles.count() + CHUNK - 1) / CHUNK);
    for (int64_t chunk = share.first; chunk < share.last; chunk++) {
      const int64_t first = chunk * CHUNK;
      work(first, (int)std::min<int64_t>(CHUNK, tiles.count() - first));
    }
  }
}

}  // namespace

extern "C" {

int reslab_pack_source(const float* x, const float* scale, const float* shift, float* planes,
                       int64_t stride, int64_t images, int height, int width, int channels,
                       int threads) try {
  const Tiles tiles(images, height, width, channels);
  const Source source{x, scale, shift};
  in_chunks(tiles, threads, [&](int64_t first, int count) {
    pack_source(tiles, source, first, count, planes + first * channels, stride);
  });
  return DONE;
} catch (...) {
  return ending_of_exception();
}

// `for_weights` is null where nobody wants their gradient.
int reslab_pack_gradient(const float* gradient, const float* z, const float* coefficients,
                         float* for_input, float* for_weights, int64_t stride, int64_t images,
                         int height, int width, int channels, int threads) try {
  const Tiles tiles(images, height, width, channels);
  const Gradient from{gradient, z, coefficients};
  in_chunks(tiles, threads, [&](int64_t first, int count) {
    const int64_t at = first * channels;
    pack_gradient(tiles, from, first, count, for_input + at,
                  for_weights ? for_weights + at : nullptr, stride);
  });
  return DONE;
} catch (...) {
  return ending_of_exception();
}

int reslab_unpack_output(const float* planes, float* z, double* total, int64_t stride,
                         int64_t images, int height, int width, int channels, int threads) try {
  const Tiles tiles(images, height, width, channels);
  Sums sums(2, channels, threads);
  in_chunks(tiles, threads, [&](int64_t first, int count) {
    unpack_output(tiles, planes + first * channels, stride, first, count, z, sums.mine());
  });
  sums.total(total);
  return DONE;
} catch (...) {
  return ending_of_exception();
}

int reslab_unpack_gradient(const float* planes, const float* x, const float* scale,
                           const float* shift, const float* residual, const float* before,
                           const float* shortcut, float* to, double* total,
                           int64_t stride, int64_t images, int height, int width, int channels,
                           int threads) try {
  const Tiles tiles(images, height, width, channels);
  const Finish finish{{x, scale, shift}, residual, before, shortcut, to};
  Sums sums(Finish::SUMS, channels, threads);
  in_chunks(tiles, threads, [&](int64_t first, int count) {
    unpack_gradient(tiles, planes + first * channels, stride, first, count, finish,
                    sums.mine());
  });
  sums.total(total);
  return DONE;
} catch (...) {
  return ending_of_exception();
}

}  // extern "C"
