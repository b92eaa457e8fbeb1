// The 3x3 convolution of stride 1 between a norm before it and one behind it.
//
// What it reads may still lack its norm and ReLU: they are applied to each number as it is
// loaded, so that their result never goes through memory. What it writes is summed up for the
// norm behind it on the way. The same holds for the gradients. Weights come as planes, see
// winograd.h.

#include <algorithm>

#include "operands.h"
#include "product.h"
#include "winograd.h"

namespace {

// Steps on `count` tiles from `first`; planes lie `stride` floats apart, tiles C within a plane.

INLINE void pack_source(const Tiles& tiles, const Source& source, int64_t first, int count,
                        float* planes, int64_t stride) {
  const int channels = tiles.channels;
  for (int t = 0; t < count; t++) {
    const auto at = tiles.place(first + t);
    for (int c = 0; c < channels; c += LANES)
      source.reader(c, [&](auto read) FLAT {
        Vec tile[36];
        tiles.read_around(at, c, tile, read);
        input_to_planes(tile, planes + (int64_t)t * channels + c, stride);
      });
  }
}

INLINE void pack_gradient(const Tiles& tiles, const Gradient& gradient, int64_t first, int count,
                          float* for_input, float* for_weights, int64_t stride) {
  const int channels = tiles.channels;
  for (int t = 0; t < count; t++) {
    const auto at = tiles.place(first + t);
    for (int c = 0; c < channels; c += LANES)
      gradient.reader(c, channels, [&](auto read) FLAT {
        Vec tile[36];
        tiles.read_around(at, c, tile, read);
        input_to_planes(tile, for_input + (int64_t)t * channels + c, stride);
        gradient_to_planes(tile, for_weights + (int64_t)t * channels + c, stride);
      });
  }
}

INLINE void unpack_output(const Tiles& tiles, const float* planes, int64_t stride, int64_t first,
                          int count, float* z, double* sums) {
  const int channels = tiles.channels;
  for (int c = 0; c < channels; c += LANES) {
    Vec sum{}, sum_squares{};
    for (int t = 0; t < count; t++) {
      Vec tile[16];
      planes_to_output(planes + (int64_t)t * channels + c, stride, tile);
      tiles.write_each(tiles.place(first + t), c, tile, [&](int64_t o, Vec value) FLAT {
        store(z + o, value);
        sum += value;
        sum_squares += value * value;
      });
    }
    add_to(sums + c, sum);
    add_to(sums + channels + c, sum_squares);
  }
}

INLINE void unpack_gradient(const Tiles& tiles, const float* planes, int64_t stride,
                            int64_t first, int count, const Finish& finish, double* sums) {
  const int channels = tiles.channels;
  for (int c = 0; c < channels; c += LANES) {
    Vec found[Finish::SUMS] = {};
    finish.writer(c, found, [&](auto write) FLAT {
      for (int t = 0; t < count; t++) {
        Vec tile[16];
        planes_to_output(planes + (int64_t)t * channels + c, stride, tile);
        tiles.write_each(tiles.place(first + t), c, tile, write);
      }
    });
    for (int kind = 0; kind < Finish::SUMS; kind++)
      add_to(sums + kind * channels + c, found[kind]);
  }
}

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
      float* added = weight_sums + (int64_t)omp_get_thread_num() * PLANES * C * C;
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
        pack_gradient(tiles, gradient, first, count, for_input, for_weights, STRIDE);
        pack_source(tiles, finish.source, first, count, planes, STRIDE);
        for (int p = 0; p < PLANES; p++) {
          ahead.read(gradient.gradient, p, PLANES);
          ahead.read(gradient.z, p, PLANES);
          add_outer<C, TILES>(planes + p * STRIDE, for_weights + p * STRIDE,
                              added + p * C * C);
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

// G w G^T, with G that of winograd.h's source.
INLINE void weights_to_planes(const Vec taps[9], Vec planes[36]) {
  const auto line = [](Vec a, Vec b, Vec c, Vec* to, int step) FLAT {
    const Vec sum = (a + c) * (1.f / 6), far = a * (1.f / 24) + c * (1.f / 6);
    to[0] = a * .25f;
    to[step] = -sum - b * (1.f / 6);
    to[2 * step] = b * (1.f / 6) - sum;
    to[3 * step] = far + b * (1.f / 12);
    to[4 * step] = far - b * (1.f / 12);
    to[5 * step] = c;
  };
  Vec half[18];
  for (int j = 0; j < 3; j++) line(taps[j], taps[3 + j], taps[6 + j], half + j, 3);
  for (int i = 0; i < 6; i++) line(half[3 * i], half[3 * i + 1], half[3 * i + 2], planes + 6 * i, 1);
}

// G^T d G, its transpose.
INLINE void planes_to_weights(const Vec planes[36], Vec taps[9]) {
  const auto line = [](const Vec* d, int step, Vec* to, int to_step) FLAT {
    const Vec sum = d[step] + d[2 * step], difference = d[2 * step] - d[step];
    const Vec far = d[3 * step] + d[4 * step], far_difference = d[3 * step] - d[4 * step];
    to[0] = d[0] * .25f - sum * (1.f / 6) + far * (1.f / 24);
    to[to_step] = difference * (1.f / 6) + far_difference * (1.f / 12);
    to[2 * to_step] = (far - sum) * (1.f / 6) + d[5 * step];
  };
  Vec half[18];
  for (int j = 0; j < 6; j++) line(planes + j, 6, half + j, 6);
  for (int i = 0; i < 3; i++) line(half + 6 * i, 1, taps + 3 * i, 1);
}

}  // namespace

extern "C" {

int reslab_lanes() { return LANES; }

// Weights to planes (36, A, B) over two sorts of channels, B a multiple of LANES. Steps are in
// floats and may be negative: w is the tap in the first row and column, as it is to be read.
int reslab_pack_weights(const float* w, int64_t a_step, int64_t b_step, int64_t row_step,
                        int64_t column_step, float* to, int64_t stride, int channels,
                        int threads) try {
#pragma omp parallel num_threads(threads)
  {
    const Share share(channels);
    for (int64_t a = share.first; a < share.last; a++)
      for (int b = 0; b < channels; b += LANES) {
        Vec taps[9], planes[36];
        for (int tap = 0; tap < 9; tap++)
          for (int lane = 0; lane < LANES; lane++)
            taps[tap][lane] = w[a * a_step + (b + lane) * b_step + tap / 3 * row_step +
                                tap % 3 * column_step];
        weights_to_planes(taps, planes);
        for (int p = 0; p < PLANES; p++) store(to + p * stride + a * channels + b, planes[p]);
      }
  }
  return DONE;
} catch (...) {
  return ending_of_exception();
}

// Sums (parts, 36, A, B) to the gradient of the weights, with steps as above.
int reslab_unpack_weights(const float* sums, int64_t stride, int parts, float* dw, int64_t a_step,
                          int64_t b_step, int64_t row_step, int64_t column_step, int channels,
                          int threads) try {
#pragma omp parallel num_threads(threads)
  {
    const Share share(channels);
    for (int64_t a = share.first; a < share.last; a++)
      for (int b = 0; b < channels; b += LANES) {
        Vec planes[36], taps[9];
        for (int p = 0; p < PLANES; p++) {
          planes[p] = Vec{};
          for (int part = 0; part < parts; part++)
            planes[p] += load(sums + (part * PLANES + p) * stride + a * channels + b);
        }
        planes_to_weights(planes, taps);
        for (int tap = 0; tap < 9; tap++)
          for (int lane = 0; lane < LANES; lane++)
            dw[a * a_step + (b + lane) * b_step + tap / 3 * row_step + tap % 3 * column_step] =
                taps[tap][lane];
      }
  }
  return DONE;
} catch (...) {
  return ending_of_exception();
}

// z = w * source, with z's sums and sums of squares (2, C). Few channels only.
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

// The gradients of source and weights (as sums (threads, 36, in, out)
// that are added to), with the sums (3, C) that
// the norms before it need. Few channels only.
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

// The same in steps for many channels, with planes (36, tiles, C) that a library multiplies; they
// lie `stride` floats apart.

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

int reslab_pack_gradient(const float* gradient, const float* z, const float* coefficients,
                         float* for_input, float* for_weights, int64_t stride, int64_t images,
                         int height, int width, int channels, int threads) try {
  const Tiles tiles(images, height, width, channels);
  const Gradient from{gradient, z, coefficients};
  in_chunks(tiles, threads, [&](int64_t first, int count) {
    const int64_t at = first * channels;
    pack_gradient(tiles, from, first, count, for_input + at, for_weights + at, stride);
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
