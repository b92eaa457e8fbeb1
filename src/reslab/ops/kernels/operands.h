// What convolutions read and write: activations and gradients whose norm and ReLU are done on the
// way.

#pragma once

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

// What is done to the gradient of the input before it is stored.
struct Finish {
  Source source;
  const float* residual;  // added, or null
  float* to;

  // Calls `use` with a function that stores a vector at an offset; with a norm before the input
  // it adds up what that needs.
  template <class Use>
  INLINE void writer(int channel, Vec& sum, Vec& sum_z, Use use) const {
    float* into = to;
    if (source.scale) {
      // The gradient of ReLU, and the two sums.
      const Vec by = load(source.scale + channel), plus = load(source.shift + channel);
      const float* from = source.x;
      use([=, &sum, &sum_z](int64_t o, Vec value) FLAT {
        const Vec z = load(from + o);
        value = where_active(z * by + plus, value);
        sum += value;
        sum_z += value * z;
        store(into + o, value);
      });
    } else if (residual) {
      const float* from = residual;
      use([=](int64_t o, Vec value) FLAT { store(into + o, value + load(from + o)); });
    } else {
      use([=](int64_t o, Vec value) FLAT { store(into + o, value); });
    }
  }
};
