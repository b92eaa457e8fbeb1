// Vectors of floats over neighbouring channels, and work shared among threads.
//
// Arrays are laid out NHWC, torch's channels_last, with the channels a multiple of LANES: a
// vector then never leaves its pixel. The compiler's vector types serve AVX-512, AVX2 and
// others from the same source.

#pragma once

#include <omp.h>

#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

#define INLINE inline __attribute__((always_inline))
// Of a lambda, where the word `inline` is not allowed.
#define FLAT __attribute__((always_inline))

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif

typedef float Vec __attribute__((vector_size(LANES * 4), may_alias));
typedef float VecUnaligned __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

static INLINE Vec load(const float* from) { return *(const VecUnaligned*)from; }
static INLINE void store(float* to, Vec value) { *(VecUnaligned*)to = value; }

// Not the other way round: a number that is not one must stay visible, as it does in torch.
static INLINE Vec relu(Vec value) { return value < Vec{} ? Vec{} : value; }

// The gradient where the activation that it belongs to was positive (or not a number).
static INLINE Vec where_active(Vec before_relu, Vec gradient) {
  return before_relu <= Vec{} ? Vec{} : gradient;
}

// Items [first, last) of this thread: whole numbers, the same for the same number of threads.
struct Share {
  int64_t first, last;
  explicit Share(int64_t items) {
    const int64_t me = omp_get_thread_num(), all = omp_get_num_threads();
    first = items * me / all;
    last = items * (me + 1) / all;
  }
};

// Sums over pixels for each channel: within a block in float, over all blocks in double, and
// the threads' in their order, so that equal work gives equal bits.
class Sums {
 public:
  Sums(int kinds, int channels, int threads)
      : size_(kinds * channels), parts_((size_t)threads * size_, 0.0) {}

  // Where this thread adds to.
  double* mine() { return parts_.data() + (size_t)omp_get_thread_num() * size_; }

  void total(double* to) const {
    std::memset(to, 0, size_ * sizeof(double));
    for (size_t i = 0; i < parts_.size(); i++) to[i % size_] += parts_[i];
  }

 private:
  size_t size_;
  std::vector<double> parts_;
};

static INLINE void add_to(double* sums, Vec value) {
  for (int lane = 0; lane < LANES; lane++) sums[lane] += value[lane];
}

// Room for each thread's floats on cache lines of their own. It is made before the threads begin,
// because an exception must not leave a parallel region; each writes zeros to its own part, so
// that the memory lies near it.
class Scratch {
 public:
  Scratch(int threads, size_t floats)
      : floats_((floats + 15) / 16 * 16),
        room_((float*)::operator new((size_t)threads * floats_ * sizeof(float), LINE)) {}
  ~Scratch() { ::operator delete(room_, LINE); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // This thread's, zeros at first.
  float* mine() const {
    float* begin = room_ + (size_t)omp_get_thread_num() * floats_;
    std::memset(begin, 0, floats_ * sizeof(float));
    return begin;
  }

 private:
  static constexpr std::align_val_t LINE{64};
  size_t floats_;
  float* room_;
};

// How a call ended, which ops/native.py knows too.
enum Ending : int { DONE, NO_MEMORY, FAILED };

// For the exception that was just caught, which would end the process if it went on into whoever
// called.
inline int ending_of_exception() noexcept {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    return NO_MEMORY;
  } catch (...) {
    return FAILED;
  }
}
