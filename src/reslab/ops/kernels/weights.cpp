// Weights of the 3x3 convolution of stride 1 as planes, and back, see winograd.h.

#include "winograd.h"

namespace {

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

// Who made this library, which others may have built before.
const char* reslab_compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#else
  return "g++ " __VERSION__;
#endif
}

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

}  // extern "C"
