// What convolutions read and write: activations and gradients whose norm and ReLU are done on the
// way.

#pragma once

#include <type_traits>

#include "simd.h"

// An activation, or what becomes one by norm and ReLU: max(0, x * scale + shift).
struct Source {
  const float *x, *scale, *shift;

  template <class Use>
  INLINE void reader(int channel, Use use) const {
    if (scale) {
      const Vec by = load(scale + channel), plus = load(shift + channel);
      const float* from = x;
      use([=](int64_t o) FLAT { return relu(load(from + o) * by + plus); });
    } else {
      const float* from = x;
      use([=](int64_t o) FLAT { return load(from + o); });
    }
  }
};

// The gradient of a convolution's output z, behind which a norm stands: of the norm's output
// it is `gradient`, and the norm's own backward is dz = k1 gradient + k2 z + k3 in each channel.
struct Gradient {
  const float *gradient, *z, *coefficients;

  template <class Use>
  INLINE void reader(int channel, int channels, Use use) const {
    const Vec k1 = load(coefficients + channel), k2 = load(coefficients + channels + channel),
              k3 = load(coefficients + 2 * channels + channel);
    const float *from = gradient, *output = z;
    use([=](int64_t o) FLAT { return load(from + o) * k1 + (load(output + o) * k2 + k3); });
  }
};

// What is done to the gradient of the input before it is stored. Where the input lies behind a
// ReLU, the gradient is taken on to what stood before it, and summed up for the norm there.
struct Finish {
  Source source;
  const float* residual;            // added to the gradient of a plain source, or null
  const float *before, *shortcut;  // z of the one or two norms whose sum, through ReLU, is a plain
                                   // source; null where it is not, or has no second one
  float* to;

  static constexpr int SUMS = 3;  // of the gradient, and of its product with either z

  // Calls `use` with a function that stores a vector at an offset.
  template <class Use>
  INLINE void writer(int channel, Vec* sums, Use use) const {
    float* into = to;
    const float *x = source.x, *added = residual, *z1 = before, *z2 = shortcut;
    if (source.scale) {
      const Vec by = load(source.scale + channel), plus = load(source.shift + channel);
      use([=](int64_t o, Vec value) FLAT {
        const Vec z = load(x + o);
        value = where_active(z * by + plus, value);
        sums[0] += value;
        sums[1] += value * z;
        store(into + o, value);
      });
    } else if (before) {
      const auto with = [&](auto has_residual, auto has_shortcut) FLAT {
        use([=](int64_t o, Vec value) FLAT {
          if (decltype(has_residual)::value) value += load(added + o);
          value = where_active(load(x + o), value);
          sums[0] += value;
          sums[1] += value * load(z1 + o);
          if (decltype(has_shortcut)::value) sums[2] += value * load(z2 + o);
          store(into + o, value);
        });
      };
      if (residual)
        shortcut ? with(std::true_type{}, std::true_type{}) : with(std::true_type{}, std::false_type{});
      else
        shortcut ? with(std::false_type{}, std::true_type{})
                 : with(std::false_type{}, std::false_type{});
    } else if (residual) {
      use([=](int64_t o, Vec value) FLAT { store(into + o, value + load(added + o)); });
    } else {
      use([=](int64_t o, Vec value) FLAT { store(into + o, value); });
    }
  }
};
