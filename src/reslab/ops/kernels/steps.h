// What the 3x3 convolution of stride 1 does with tiles around the product of their planes.

#pragma once

#include "operands.h"
#include "winograd.h"

// Steps on `count` tiles from `first`; planes lie `stride` floats apart, tiles C within a plane.

static INLINE void pack_source(const Tiles& tiles, const Source& source, int64_t first, int count,
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

// `for_weights` is null where nobody wants their gradient.
static INLINE void pack_gradient(const Tiles& tiles, const Gradient& gradient, int64_t first,
                                 int count, float* for_input, float* for_weights, int64_t stride) {
  const int channels = tiles.channels;
  for (int t = 0; t < count; t++) {
    const auto at = tiles.place(first + t);
    for (int c = 0; c < channels; c += LANES)
      gradient.reader(c, channels, [&](auto read) FLAT {
        Vec tile[36];
        tiles.read_around(at, c, tile, read);
        input_to_planes(tile, for_input + (int64_t)t * channels + c, stride);
        if (for_weights) gradient_to_planes(tile, for_weights + (int64_t)t * channels + c, stride);
      });
  }
}

static INLINE void unpack_output(const Tiles& tiles, const float* planes, int64_t stride,
                                 int64_t first, int count, float* z, double* sums) {
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

static INLINE void unpack_gradient(const Tiles& tiles, const float* planes, int64_t stride,
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
