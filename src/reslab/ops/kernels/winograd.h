// Winograd's minimal filtering F(4x4, 3x3): a tile of 4x4 outputs from 6x6 inputs with 36
// multiplications a pair of channels, where the plain sum takes 144.
//
// Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks (arXiv 1509.09308),
// section 4.3, with the points 0, 1, -1, 2, -2 and infinity. In its terms
//   output    y  = A^T [ (G w G^T) . (B^T x B) ] A
//   weights'  dw = G^T [ (A dy A^T) . (B^T x B) ] G      (the transpose of the same sum)
// where . is a matrix product over channels, or over tiles, in each of the 36 positions, called
// planes here.

#pragma once

#include "simd.h"

constexpr int PLANES = 36;

// B^T x of six numbers.
static INLINE void transform_input(const Vec* x, int step, Vec* to) {
  const Vec x1 = x[step], x2 = x[2 * step], x3 = x[3 * step], x4 = x[4 * step];
  const Vec even = x4 - 4.f * x2, odd = x3 - 4.f * x1;
  const Vec even_far = x4 - x2, odd_far = 2.f * (x3 - x1);
  to[0] = 4.f * x[0] - 5.f * x2 + x4;
  to[1] = even + odd;
  to[2] = even - odd;
  to[3] = even_far + odd_far;
  to[4] = even_far - odd_far;
  to[5] = 4.f * x1 - 5.f * x3 + x[5 * step];
}

// A^T m: six numbers to four.
static INLINE void transform_output(const Vec* m, Vec* to, int step) {
  const Vec sum = m[1] + m[2], difference = m[1] - m[2];
  const Vec sum_far = m[3] + m[4], difference_far = m[3] - m[4];
  to[0] = m[0] + sum + sum_far;
  to[step] = difference + 2.f * difference_far;
  to[2 * step] = sum + 4.f * sum_far;
  to[3 * step] = difference + 8.f * difference_far + m[5];
}

// A y: four numbers to six.
static INLINE void transform_gradient(const Vec* y, int step, Vec* to) {
  const Vec y1 = y[step], y2 = y[2 * step], y3 = y[3 * step];
  const Vec even = y[0] + y2, odd = y1 + y3;
  const Vec even_far = y[0] + 4.f * y2, odd_far = 2.f * y1 + 8.f * y3;
  to[0] = y[0];
  to[1] = even + odd;
  to[2] = even - odd;
  to[3] = even_far + odd_far;
  to[4] = even_far - odd_far;
  to[5] = y3;
}

// The three for a whole tile and a vector of channels. Planes lie `stride` floats apart.

static INLINE void input_to_planes(const Vec* tile_66, float* planes, int64_t stride) {
  Vec rows[36];
  for (int i = 0; i < 6; i++) {
    Vec line[6];
    transform_input(tile_66 + 6 * i, 1, line);
    for (int j = 0; j < 6; j++) rows[6 * i + j] = line[j];
  }
  for (int j = 0; j < 6; j++) {
    Vec column[6];
    transform_input(rows + j, 6, column);
    for (int i = 0; i < 6; i++) store(planes + (6 * i + j) * stride, column[i]);
  }
}

// Takes the inner 4x4 of a tile of 6x6, which the gradient with respect to the input needs whole.
static INLINE void gradient_to_planes(const Vec* tile_66, float* planes, int64_t stride) {
  Vec rows[24];
  for (int i = 0; i < 4; i++) {
    Vec line[6];
    transform_gradient(tile_66 + 6 * (i + 1) + 1, 1, line);
    for (int j = 0; j < 6; j++) rows[6 * i + j] = line[j];
  }
  for (int j = 0; j < 6; j++) {
    Vec column[6];
    transform_gradient(rows + j, 6, column);
    for (int i = 0; i < 6; i++) store(planes + (6 * i + j) * stride, column[i]);
  }
}

static INLINE void planes_to_output(const float* planes, int64_t stride, Vec* tile_44) {
  Vec columns[24];
  for (int j = 0; j < 6; j++) {
    Vec line[6];
    for (int i = 0; i < 6; i++) line[i] = load(planes + (6 * i + j) * stride);
    transform_output(line, columns + j, 6);
  }
  for (int i = 0; i < 4; i++) transform_output(columns + 6 * i, tile_44 + 4 * i, 1);
}

// A stretch of memory that will be needed soon, asked for in parts while something else is done.
struct Ahead {
  int64_t begin, end;  // in floats

  INLINE void read(const float* array, int part, int parts) const {
    if (array) fetch<0>(array, part, parts);
  }
  INLINE void write(const float* array, int part, int parts) const {
    fetch<1>(array, part, parts);
  }

 private:
  template <int WRITE>
  INLINE void fetch(const float* array, int part, int parts) const {
    const int64_t lines = (end - begin + 15) / 16;
    for (int64_t line = lines * part / parts; line < lines * (part + 1) / parts; line++)
      __builtin_prefetch(array + begin + 16 * line, WRITE, 2);
  }
};

// Images of H x W pixels cut into tiles; those at the right and below may stick out.
struct Tiles {
  int64_t images;
  int height, width, channels, down, across;

  Tiles(int64_t images, int height, int width, int channels)
      : images(images),
        height(height),
        width(width),
        channels(channels),
        down((height + 3) / 4),
        across((width + 3) / 4) {}

  int64_t count() const { return images * down * across; }

  struct Place {
    int64_t image;
    int top, left;
  };

  INLINE Place place(int64_t tile) const {
    const int left = 4 * (int)(tile % across), top = 4 * (int)(tile / across % down);
    return {tile / across / down, top, left};
  }

  INLINE int64_t offset(int64_t image, int row, int column) const {
    return ((image * height + row) * width + column) * channels;
  }

  // The rows in which some tiles begin and end.
  Ahead rows_of(int64_t first, int64_t last) const {
    const auto row = [&](int64_t tile) {
      if (tile >= count()) return images * height * width * channels;
      const auto at = place(tile);
      return offset(at.image, at.top, 0);
    };
    return {row(first), row(last)};
  }

  // The 6x6 pixels around a tile by `read`, from an offset to a vector; zeros outside.
  template <class Read>
  INLINE void read_around(const Place& at, int channel, Vec* tile_66, Read read) const {
    const int top = at.top - 1, left = at.left - 1;
    const int64_t corner = offset(at.image, top, left) + channel;
    if (top >= 0 && left >= 0 && top + 6 <= height && left + 6 <= width) {
      for (int i = 0; i < 6; i++)
        for (int j = 0; j < 6; j++)
          tile_66[6 * i + j] = read(corner + ((int64_t)i * width + j) * channels);
      return;
    }
    for (int i = 0; i < 6; i++)
      for (int j = 0; j < 6; j++) {
        const bool inside = (unsigned)(top + i) < (unsigned)height &&
                            (unsigned)(left + j) < (unsigned)width;
        tile_66[6 * i + j] = inside ? read(corner + ((int64_t)i * width + j) * channels) : Vec{};
      }
  }

  // Gives each of a tile's pixels that lie inside to `write`, with its offset.
  template <class Write>
  INLINE void write_each(const Place& at, int channel, const Vec* tile_44, Write write) const {
    const int64_t corner = offset(at.image, at.top, at.left) + channel;
    const int rows = height - at.top, columns = width - at.left;
    if (rows >= 4 && columns >= 4) {
      for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++)
          write(corner + ((int64_t)i * width + j) * channels, tile_44[4 * i + j]);
      return;
    }
    for (int i = 0; i < 4 && i < rows; i++)
      for (int j = 0; j < 4 && j < columns; j++)
        write(corner + ((int64_t)i * width + j) * channels, tile_44[4 * i + j]);
  }
};
