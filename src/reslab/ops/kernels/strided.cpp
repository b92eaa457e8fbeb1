// The 3x3 convolution of stride 2, row by row, with the norms and ReLUs around it on the way.
//
// Of each row all that a sum runs over lies side by side: for the output three taps of all
// channels in each of three rows, for the gradient of the input one or two taps. So all three
// passes are products of small matrices.

#include <algorithm>

#include "operands.h"
#include "product.h"

namespace {

struct Shape {
  int64_t images;
  int height, width;

  int down() const { return (height + 1) / 2; }
  int across() const { return (width + 1) / 2; }
};

template <int IN, int OUT>
struct Strided {
  static constexpr int COLUMNS = 2, ROWS = (LANES == 16 ? 16 : 8) / COLUMNS;
  // Of the backward's second factor, whose columns are the inputs' channels.
  static constexpr int IN_COLUMNS = BLOCK_COLUMNS<IN>, IN_ROWS = BLOCK_ROWS<IN>;
  static constexpr int LINE = 3 * IN * OUT;  // weights of three taps

  // Columns of the output, up to a whole number of blocks; with its neighbours a row of input has
  // twice as many and two more.
  static constexpr int BLOCK = IN_ROWS > ROWS ? IN_ROWS : ROWS;
  static int padded(const Shape& shape) { return (shape.across() + BLOCK - 1) / BLOCK * BLOCK; }
  static int64_t input_line(const Shape& shape) { return (2 * padded(shape) + 2) * (int64_t)IN; }
  static int64_t output_line(const Shape& shape) { return (padded(shape) + 1) * (int64_t)OUT; }

  // A row of input, one column to the right. Around it a line keeps the zeros that it began with.
  static INLINE void read_input(const Shape& shape, const Source& source, int64_t image, int row,
                                float* line) {
    if (row < 0 || row >= shape.height) {
      std::memset(line, 0, sizeof(float) * input_line(shape));
      return;
    }
    const int64_t begin = (image * shape.height + row) * shape.width * IN;
    for (int c = 0; c < IN; c += LANES)
      source.reader(c, [&](auto read) FLAT {
        for (int x = 0; x < shape.width; x++)
          store(line + (x + 1) * IN + c, read(begin + x * IN + c));
      });
  }

  // A row of the output's gradient, with zeros behind it as above.
  static INLINE void read_gradient(const Shape& shape, const Gradient& gradient, int64_t image,
                                   int row, float* line) {
    if (row >= shape.down()) {
      std::memset(line, 0, sizeof(float) * output_line(shape));
      return;
    }
    const int64_t begin = (image * shape.down() + row) * shape.across() * OUT;
    for (int c = 0; c < OUT; c += LANES)
      gradient.reader(c, OUT, [&](auto read) FLAT {
        for (int x = 0; x < shape.across(); x++) store(line + x * OUT + c, read(begin + x * OUT + c));
      });
  }

  // weights (row, column, in, out)
  static void forward(const Shape& shape, const Source& source, const float* weights, float* z,
                      double* total, int threads) {
    Sums sums(2, OUT, threads);
    const int columns = padded(shape);
#pragma omp parallel num_threads(threads)
    {
      const int64_t size = input_line(shape);
      Buffer lines(3 * size), output(output_line(shape));
      float* rows[3] = {lines.at(0), lines.at(size), lines.at(2 * size)};
      const Share share(shape.images);
      for (int64_t image = share.first; image < share.last; image++) {
        read_input(shape, source, image, -1, rows[0]);
        for (int y = 0; y < shape.down(); y++) {
          read_input(shape, source, image, 2 * y, rows[1]);
          read_input(shape, source, image, 2 * y + 1, rows[2]);
          for (int n = 0; n < OUT; n += COLUMNS * LANES)
            for (int x = 0; x < columns; x += ROWS) {
              const int64_t from = 2 * x * IN;
              float* to = output.at(x * OUT + n);
              multiply_block<ROWS, COLUMNS, 2 * IN, 1, OUT, OUT, false>(rows[0] + from,
                                                                       weights + n, to, 3 * IN);
              multiply_block<ROWS, COLUMNS, 2 * IN, 1, OUT, OUT, true>(
                  rows[1] + from, weights + LINE + n, to, 3 * IN);
              multiply_block<ROWS, COLUMNS, 2 * IN, 1, OUT, OUT, true>(
                  rows[2] + from, weights + 2 * LINE + n, to, 3 * IN);
            }
          float* into = z + (image * shape.down() + y) * shape.across() * OUT;
          for (int c = 0; c < OUT; c += LANES) {
            Vec sum{}, sum_squares{};
            for (int x = 0; x < shape.across(); x++) {
              const Vec value = load(output.at(x * OUT + c));
              store(into + x * OUT + c, value);
              sum += value;
              sum_squares += value * value;
            }
            add_to(sums.mine() + c, sum);
            add_to(sums.mine() + OUT + c, sum_squares);
          }
          std::swap(rows[0], rows[2]);
        }
      }
    }
    sums.total(total);
  }

  // A row of the input's gradient from a row of the output's: even columns from the middle tap,
  // odd ones from the right tap of one number and the left tap of the next. `weights` are (out, in)
  // of the middle, right and left tap.
  template <bool ADD>
  static INLINE void spread(const float* gradient, const float* weights, float* line, int columns) {
    for (int n = 0; n < IN; n += IN_COLUMNS * LANES)
      for (int x = 0; x < columns; x += IN_ROWS) {
        float* to = line + 2 * x * IN + n;
        multiply_block<IN_ROWS, IN_COLUMNS, OUT, 1, IN, 2 * IN, ADD>(gradient + x * OUT,
                                                                    weights + n, to, OUT);
        multiply_block<IN_ROWS, IN_COLUMNS, OUT, 1, IN, 2 * IN, ADD>(
            gradient + x * OUT, weights + OUT * IN + n, to + IN, 2 * OUT);
      }
  }

  // weights (row, tap, out, in) with the taps as `spread` has them
  static void backward(const Shape& shape, const Gradient& gradient, const Finish& finish,
                       const float* weights, float* weight_sums, double* total, int threads) {
    Sums sums(2, IN, threads);
    const int columns = padded(shape);
#pragma omp parallel num_threads(threads)
    {
      const int64_t size = input_line(shape), out_size = output_line(shape);
      Buffer lines(3 * size), gradients(2 * out_size), results(size);
      float* rows[3] = {lines.at(0), lines.at(size), lines.at(2 * size)};
      float *here = gradients.at(0), *below = gradients.at(out_size);
      float* added = weight_sums + (int64_t)omp_get_thread_num() * 3 * LINE;
      const auto finish_row = [&](int64_t image, int row) {
        if (row >= shape.height) return;
        const int64_t begin = (image * shape.height + row) * shape.width * IN;
        for (int c = 0; c < IN; c += LANES) {
          Vec sum{}, sum_z{};
          finish.writer(c, sum, sum_z, [&](auto write) FLAT {
            for (int x = 0; x < shape.width; x++)
              write(begin + x * IN + c, load(results.at(x * IN + c)));
          });
          add_to(sums.mine() + c, sum);
          add_to(sums.mine() + IN + c, sum_z);
        }
      };
      const Share share(shape.images);
      for (int64_t image = share.first; image < share.last; image++) {
        read_input(shape, finish.source, image, -1, rows[0]);
        read_gradient(shape, gradient, image, 0, here);
        for (int y = 0; y < shape.down(); y++) {
          read_input(shape, finish.source, image, 2 * y, rows[1]);
          read_input(shape, finish.source, image, 2 * y + 1, rows[2]);
          read_gradient(shape, gradient, image, y + 1, below);
          for (int row = 0; row < 3; row++)
            for (int n = 0; n < OUT; n += COLUMNS * LANES)
              for (int m = 0; m < 3 * IN; m += ROWS)
                multiply_block<ROWS, COLUMNS, 1, 2 * IN, OUT, OUT, true>(
                    rows[row] + m, here + n, added + row * LINE + m * OUT + n, shape.across());
          if (finish.to) {
            spread<false>(here, weights + LINE, results.at(0), columns);
            finish_row(image, 2 * y);
            spread<false>(here, weights + 2 * LINE, results.at(0), columns);
            spread<true>(below, weights, results.at(0), columns);
            finish_row(image, 2 * y + 1);
          }
          std::swap(rows[0], rows[2]);
          std::swap(here, below);
        }
      }
    }
    sums.total(total);
  }
};

}  // namespace

extern "C" {

// z = w * source at stride 2, with z's sums and sums of squares (2, OUT). Weights come as (row,
// column, in, out).
void reslab_stride(const float* x, const float* scale, const float* shift, const float* weights,
                   float* z, double* sums, int64_t images, int height, int width, int in, int out,
                   int threads) {
  const Shape shape{images, height, width};
  const Source source{x, scale, shift};
  if (in == 16 && out == 32) Strided<16, 32>::forward(shape, source, weights, z, sums, threads);
  if (in == 32 && out == 64) Strided<32, 64>::forward(shape, source, weights, z, sums, threads);
}

// The gradients of source, unless `to` is null, and weights, as sums (threads, row, column, in,
// out) that are added to. Weights come as (row, tap, out, in), the taps as in `spread`.
void reslab_stride_backward(const float* gradient, const float* z, const float* coefficients,
                            const float* x, const float* scale, const float* shift,
                            const float* residual, const float* weights, float* to,
                            float* weight_sums, double* sums, int64_t images, int height,
                            int width, int in, int out, int threads) {
  const Shape shape{images, height, width};
  const Gradient from{gradient, z, coefficients};
  const Finish finish{{x, scale, shift}, residual, to};
  if (in == 16 && out == 32)
    Strided<16, 32>::backward(shape, from, finish, weights, weight_sums, sums, threads);
  if (in == 32 && out == 64)
    Strided<32, 64>::backward(shape, from, finish, weights, weight_sums, sums, threads);
}

}  // extern "C"
