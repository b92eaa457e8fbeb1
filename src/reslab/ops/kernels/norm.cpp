// Batch norm and what stands around it, each in one pass over the pixels.
//
// Arrays are (pixels, C). Statistics are taken in double from sums of float.

#include <algorithm>
#include <cmath>

#include "simd.h"

namespace {

// Pixels whose sums are taken in float.
constexpr int64_t BLOCK = 512;

// Calls `work(first pixel, last pixel, channel)` for blocks of pixels and groups of WIDTH vectors.
template <int WIDTH, class Work>
void over_blocks(int64_t pixels, int channels, int threads, Work work) {
#pragma omp parallel num_threads(threads)
  {
    const Share share((pixels + BLOCK - 1) / BLOCK);
    for (int64_t block = share.first; block < share.last; block++)
      for (int c = 0; c < channels; c += WIDTH * LANES)
        work(block * BLOCK, std::min(pixels, (block + 1) * BLOCK), c);
  }
}

// `each(offset, i)` for every vector i < WIDTH of every pixel, between `begin(channel)` and
// `end(channel)`; the widest group of vectors that divides the channels.
template <class Make>
void for_each(int64_t pixels, int channels, int threads, Make make) {
  const auto run = [&](auto width) {
    constexpr int WIDTH = decltype(width)::value;
    over_blocks<WIDTH>(pixels, channels, threads, [&](int64_t first, int64_t last, int c) {
      auto work = make(width, c);
      for (int64_t p = first; p < last; p++)
        for (int i = 0; i < WIDTH; i++) work.each(p * channels + c + i * LANES, i);
      work.end();
    });
  };
  if (channels % (4 * LANES) == 0)
    run(std::integral_constant<int, 4>{});
  else if (channels % (2 * LANES) == 0)
    run(std::integral_constant<int, 2>{});
  else
    run(std::integral_constant<int, 1>{});
}

// x * scale + shift for WIDTH vectors of channels; as it is where there is no scale.
template <int WIDTH>
struct Affine {
  Vec scale[WIDTH], shift[WIDTH];

  INLINE Affine(const float* scales, const float* shifts, int c) {
    for (int i = 0; i < WIDTH; i++) {
      scale[i] = scales ? load(scales + c + i * LANES) : Vec{} + 1.f;
      shift[i] = scales ? load(shifts + c + i * LANES) : Vec{};
    }
  }
  INLINE Vec operator()(Vec x, int i) const { return x * scale[i] + shift[i]; }
};

// Sums of KINDS sorts, kept in registers within a block.
template <int KINDS, int WIDTH>
struct Added {
  Vec value[KINDS][WIDTH];
  double* to;
  int channels, c;

  INLINE Added(double* to, int channels, int c) : value{}, to(to), channels(channels), c(c) {}
  INLINE void end() {
    for (int kind = 0; kind < KINDS; kind++)
      for (int i = 0; i < WIDTH; i++) add_to(to + kind * channels + c + i * LANES, value[kind][i]);
  }
};

template <class Width>
constexpr int width_of = Width::value;

// A mean so many times the spread away from zero, squared, leaves too few digits of a variance
// that is the difference of two sums.
constexpr double FAR = 100;

// Means and variances from a second look at z, at how far it is from means that are nearly right.
void look_again(const float* z, double* means, double* variances, int64_t pixels, int channels,
                int threads) {
  Sums sums(2, channels, threads);
  std::vector<float> near(means, means + channels);
  for_each(pixels, channels, threads, [&](auto width, int c) {
    constexpr int W = width_of<decltype(width)>;
    struct Work {
      const float* z;
      Vec mean[W];
      Added<2, W> added;
      INLINE void each(int64_t o, int i) {
        const Vec away = load(z + o) - mean[i];
        added.value[0][i] += away;
        added.value[1][i] += away * away;
      }
      INLINE void end() { added.end(); }
    };
    Work work{z, {}, {sums.mine(), channels, c}};
    for (int i = 0; i < W; i++) work.mean[i] = load(near.data() + c + i * LANES);
    return work;
  });
  std::vector<double> total(2 * channels);
  sums.total(total.data());
  for (int c = 0; c < channels; c++) {
    const double rest = total[c] / pixels;
    means[c] = near[c] + rest;
    variances[c] = total[channels + c] / pixels - rest * rest;
  }
}

}  // namespace

extern "C" {

// Sums and sums of squares (2, C).
int reslab_sum(const float* z, double* total, int64_t pixels, int channels, int threads) try {
  Sums sums(2, channels, threads);
  for_each(pixels, channels, threads, [&](auto width, int c) {
    constexpr int W = width_of<decltype(width)>;
    struct Work {
      const float* z;
      Added<2, W> added;
      INLINE void each(int64_t o, int i) {
        const Vec value = load(z + o);
        added.value[0][i] += value;
        added.value[1][i] += value * value;
      }
      INLINE void end() { added.end(); }
    };
    return Work{z, {sums.mine(), channels, c}};
  });
  sums.total(total);
  return DONE;
} catch (...) {
  return ending_of_exception();
}

// Batch statistics from z's sums to the norm's affine form, with the running ones moved on: mean
// and 1 / sd (2, C), scale and shift (2, C).
int reslab_norm(const float* z, const double* sums, int64_t pixels, const float* weight, const float* bias,
                double eps, double momentum, float* running_mean, float* running_var,
                double* statistics, float* affine, int channels, int threads) try {
  std::vector<double> means(channels), variances(channels);
  bool exact = true;
  for (int c = 0; c < channels; c++) {
    means[c] = sums[c] / pixels;
    variances[c] = sums[channels + c] / pixels - means[c] * means[c];
    exact = exact && means[c] * means[c] <= FAR * variances[c];
  }
  if (!exact) look_again(z, means.data(), variances.data(), pixels, channels, threads);
  for (int c = 0; c < channels; c++) {
    const double mean = means[c], variance = variances[c];
    const double inverse = 1 / std::sqrt(variance + eps);
    statistics[c] = mean;
    statistics[channels + c] = inverse;
    affine[c] = (float)(weight[c] * inverse);
    affine[channels + c] = (float)(bias[c] - mean * weight[c] * inverse);
    const double unbiased = variance * pixels / (pixels - 1);
    running_mean[c] = (float)((1 - momentum) * running_mean[c] + momentum * mean);
    running_var[c] = (float)((1 - momentum) * running_var[c] + momentum * unbiased);
  }
  return DONE;
} catch (...) {
  return ending_of_exception();
}

// The sums of a gradient and of its product with z to the gradients of weight and bias (2, C),
// and to k1, k2, k3 (3, C) of dz = k1 gradient + k2 z + k3.
// Source: Ioffe and Szegedy (arXiv 1502.03167), section 3, with z in place of its normalised form.
int reslab_norm_backward(const double* sum, const double* sum_z, int64_t pixels,
                         const float* weight, const double* statistics, float* gradients,
                         float* coefficients, int channels) try {
  for (int c = 0; c < channels; c++) {
    const double mean = statistics[c], inverse = statistics[channels + c];
    const double dweight = (sum_z[c] - mean * sum[c]) * inverse;
    const double k1 = weight[c] * inverse, k2 = -k1 * inverse * dweight / pixels;
    gradients[c] = (float)dweight;
    gradients[channels + c] = (float)sum[c];
    coefficients[c] = (float)k1;
    coefficients[channels + c] = (float)k2;
    coefficients[2 * channels + c] = (float)(-k1 * sum[c] / pixels - k2 * mean);
  }
  return DONE;
} catch (...) {
  return ending_of_exception();
}

// ReLU(z * scale + shift).
int reslab_activate(const float* z, const float* scale, const float* shift, float* to,
                    int64_t pixels, int channels, int threads) try {
  for_each(pixels, channels, threads, [&](auto width, int c) {
    constexpr int W = width_of<decltype(width)>;
    struct Work {
      const float* z;
      float* to;
      Affine<W> norm;
      INLINE void each(int64_t o, int i) { store(to + o, relu(norm(load(z + o), i))); }
      INLINE void end() {}
    };
    return Work{z, to, {scale, shift, c}};
  });
  return DONE;
} catch (...) {
  return ending_of_exception();
}

// ReLU(z * scale + shift + x * x_scale + x_shift): a block's end. Without x_scale x as it is.
int reslab_add_activate(const float* z, const float* scale, const float* shift, const float* x,
                        const float* x_scale, const float* x_shift, float* to, int64_t pixels,
                        int channels, int threads) try {
  for_each(pixels, channels, threads, [&](auto width, int c) {
    constexpr int W = width_of<decltype(width)>;
    struct Work {
      const float *z, *x;
      float* to;
      Affine<W> norm, x_norm;
      INLINE void each(int64_t o, int i) {
        store(to + o, relu(norm(load(z + o), i) + x_norm(load(x + o), i)));
      }
      INLINE void end() {}
    };
    return Work{z, x, to, {scale, shift, c}, {x_scale, x_shift, c}};
  });
  return DONE;
} catch (...) {
  return ending_of_exception();
}

// The gradient before a ReLU whose output is known, with its sum and the sums of its products
// with one or two z (3, C), of which the second may be null. May work in place.
int reslab_mask(const float* gradient, const float* output, const float* z, const float* z2,
                float* to, double* total, int64_t pixels, int channels, int threads) try {
  Sums sums(3, channels, threads);
  const auto run = [&](auto two) {
    constexpr bool TWO = decltype(two)::value;
    for_each(pixels, channels, threads, [&](auto width, int c) {
      constexpr int W = width_of<decltype(width)>;
      struct Work {
        const float *gradient, *output, *z, *z2;
        float* to;
        Added<3, W> added;
        INLINE void each(int64_t o, int i) {
          const Vec value = where_active(load(output + o), load(gradient + o));
          store(to + o, value);
          added.value[0][i] += value;
          added.value[1][i] += value * load(z + o);
          if (TWO) added.value[2][i] += value * load(z2 + o);
        }
        INLINE void end() { added.end(); }
      };
      return Work{gradient, output, z, z2, to, {sums.mine(), channels, c}};
    });
  };
  z2 ? run(std::true_type{}) : run(std::false_type{});
  sums.total(total);
  return DONE;
} catch (...) {
  return ending_of_exception();
}

// dz = k1 gradient + k2 z + k3.
int reslab_norm_gradient(const float* gradient, const float* z, const float* coefficients,
                         float* to, int64_t pixels, int channels, int threads) try {
  for_each(pixels, channels, threads, [&](auto width, int c) {
    constexpr int W = width_of<decltype(width)>;
    struct Work {
      const float *gradient, *z;
      float* to;
      Affine<W> norm;
      Vec k1[W];
      INLINE void each(int64_t o, int i) { store(to + o, load(gradient + o) * k1[i] + norm(load(z + o), i)); }
      INLINE void end() {}
    };
    Work work{gradient, z, to, {coefficients + channels, coefficients + 2 * channels, c}, {}};
    for (int i = 0; i < W; i++) work.k1[i] = load(coefficients + c + i * LANES);
    return work;
  });
  return DONE;
} catch (...) {
  return ending_of_exception();
}

}  // extern "C"
