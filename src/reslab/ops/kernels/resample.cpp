// Pictures of three colours made smaller or larger: each output pixel is a weighted mean of its
// neighbourhood, along the rows first and then across them, each rounded to whole levels, so that
// what comes out is torch's to the bit. From (H, W, 3) to three planes.
//
// Weights are whole numbers, `1 << shift` of which are 1, two to a register for a multiplication
// that adds pairs: their count is even, filled up with zeros.

#include <immintrin.h>

#include <algorithm>

#include "simd.h"

namespace {

constexpr int COLOURS = 3;
// Numbers that are summed at once.
constexpr int64_t BLOCK = 4096;
// Bytes that may be read behind the last one that counts.
constexpr int64_t SPARE = 32;

// Where the neighbourhoods of one direction begin, and their weights.
struct Filter {
  const int32_t* first;
  const int16_t* weights;
  int taps, shift;

  INLINE __m256i pair(int64_t place, int tap) const {
    int32_t two;
    std::memcpy(&two, weights + place * taps + tap, sizeof two);
    return _mm256_set1_epi32(two);
  }
  INLINE __m256i half() const { return _mm256_set1_epi32(1 << (shift - 1)); }
};

// Two rows at once, one in each half of a register.
void along_rows(const uint8_t* upper, const uint8_t* lower, uint8_t* to_upper, uint8_t* to_lower,
                int64_t columns, const Filter& filter) {
  // From two neighbouring pixels to pairs of equal colours, as 16 bits.
  const __m256i pairs = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1));
  const __m128i shift = _mm_cvtsi32_si128(filter.shift);
  for (int64_t x = 0; x < columns; x++) {
    const int64_t place = (int64_t)filter.first[x] * COLOURS;
    __m256i sum = filter.half();
    for (int tap = 0; tap < filter.taps; tap += 2) {
      const int64_t at = place + tap * COLOURS;
      const __m256i both = _mm256_inserti128_si256(
          _mm256_castsi128_si256(_mm_loadl_epi64((const __m128i*)(upper + at))),
          _mm_loadl_epi64((const __m128i*)(lower + at)), 1);
      sum = _mm256_add_epi32(
          sum, _mm256_madd_epi16(_mm256_shuffle_epi8(both, pairs), filter.pair(x, tap)));
    }
    sum = _mm256_sra_epi32(sum, shift);
    const __m256i bytes = _mm256_packus_epi16(_mm256_packs_epi32(sum, sum), sum);
    // Four bytes, of which the next pixel overwrites the last.
    const int32_t one = _mm256_extract_epi32(bytes, 0), other = _mm256_extract_epi32(bytes, 4);
    std::memcpy(to_upper + x * COLOURS, &one, sizeof one);
    std::memcpy(to_lower + x * COLOURS, &other, sizeof other);
  }
}

// One row out of several; `bytes` is a multiple of 16.
void across_rows(const uint8_t* const* rows, uint8_t* to, int64_t bytes, int64_t y,
                 const Filter& filter) {
  const __m128i shift = _mm_cvtsi32_si128(filter.shift);
  for (int64_t i = 0; i < bytes; i += 16) {
    __m256i left = filter.half(), right = left;
    for (int tap = 0; tap < filter.taps; tap += 2) {
      const __m128i upper = _mm_loadu_si128((const __m128i*)(rows[tap] + i));
      const __m128i lower = _mm_loadu_si128((const __m128i*)(rows[tap + 1] + i));
      const __m256i weights = filter.pair(y, tap);
      left = _mm256_add_epi32(
          left,
          _mm256_madd_epi16(_mm256_cvtepu8_epi16(_mm_unpacklo_epi8(upper, lower)), weights));
      right = _mm256_add_epi32(
          right,
          _mm256_madd_epi16(_mm256_cvtepu8_epi16(_mm_unpackhi_epi8(upper, lower)), weights));
    }
    __m256i words = _mm256_packs_epi32(_mm256_sra_epi32(left, shift),
                                       _mm256_sra_epi32(right, shift));
    words = _mm256_permute4x64_epi64(words, 0xd8);
    const __m128i done =
        _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128((__m128i*)(to + i), done);
  }
}

void part(const uint8_t* from, uint8_t* to, int64_t plane, int64_t columns) {
  for (int64_t x = 0; x < columns; x++)
    for (int colour = 0; colour < COLOURS; colour++)
      to[colour * plane + x] = from[x * COLOURS + colour];
}

int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

}  // namespace

extern "C" {

// Args:
//   from: the first pixel; its rows are `row_bytes` apart, `readable` bytes are there from it on.
//   rows, columns: of the picture that it is part of and that is scaled.
//   x_*, y_*: the filters along rows and across them.
//   to: three planes of `to_rows` and `to_columns`.
int reslab_resample(const uint8_t* from, int64_t row_bytes, int64_t readable, int64_t rows,
                    int64_t columns, const int32_t* x_first, const int16_t* x_weights,
                    const int32_t* y_first, const int16_t* y_weights, uint8_t* to,
                    int64_t to_rows, int64_t to_columns, int x_taps, int x_shift, int y_taps,
                    int y_shift) try {
  const Filter along{x_first, x_weights, x_taps, x_shift};
  const Filter across{y_first, y_weights, y_taps, y_shift};
  const int64_t bytes = round_up(to_columns * COLOURS, 16), pitch = bytes + SPARE;
  // Rows that are scaled already and will be needed again, as many as are needed at once.
  const int64_t held = round_up(y_taps + 2, 2);
  const int64_t length = columns * COLOURS, most = length + (x_taps + 1) * COLOURS + SPARE;
  std::vector<uint8_t> ring(held * pitch), row(pitch), edges(2 * most);
  std::vector<const uint8_t*> needed(y_taps);
  // A row that may be read beyond its end.
  const auto readied = [&](int64_t y, int which) {
    const uint8_t* there = from + y * row_bytes;
    if (y * row_bytes + most <= readable) return there;
    uint8_t* copy = edges.data() + which * most;
    std::memcpy(copy, there, length);
    return (const uint8_t*)copy;
  };
  int64_t done = 0;
  for (int64_t y = 0; y < to_rows; y++) {
    const int64_t last = std::min(rows, (int64_t)y_first[y] + y_taps);
    for (; done < last; done += 2) {
      const int64_t other = std::min(done + 1, rows - 1);
      along_rows(readied(done, 0), readied(other, 1), &ring[done % held * pitch],
                 &ring[(done + 1) % held * pitch], to_columns, along);
    }
    for (int tap = 0; tap < y_taps; tap++)
      needed[tap] = &ring[std::min((int64_t)y_first[y] + tap, rows - 1) % held * pitch];
    across_rows(needed.data(), row.data(), bytes, y, across);
    part(row.data(), to + y * to_columns, to_rows * to_columns, to_columns);
  }
  return DONE;
} catch (...) {
  return ending_of_exception();
}

// Sums of the numbers of each plane, and of their squares.
int reslab_moments(const uint8_t* planes, int64_t* sums, int64_t* squares, int64_t count,
                   int64_t numbers) try {
  for (int64_t plane = 0; plane < count; plane++) {
    const uint8_t* from = planes + plane * numbers;
    sums[plane] = squares[plane] = 0;
    for (int64_t first = 0; first < numbers; first += BLOCK) {
      // Of so few numbers the squares come to less than 32 bits hold.
      uint32_t sum = 0, square = 0;
      const int64_t end = std::min(numbers, first + BLOCK);
      for (int64_t i = first; i < end; i++) {
        const uint32_t number = from[i];
        sum += number;
        square += number * number;
      }
      sums[plane] += sum;
      squares[plane] += square;
    }
  }
  return DONE;
} catch (...) {
  return ending_of_exception();
}

}  // extern "C"
