// The 3x3 convolution of stride 2, image by image, with the norms and ReLUs around it on the way.
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
  // Of products whose columns are the inputs' channels.
  static constexpr int IN_COLUMNS = BLOCK_COLUMNS<IN>, IN_ROWS = BLOCK_ROWS<IN>;
  static constexpr int LINE = 3 * IN * OUT;  // weights of three taps

  Shape shape;
  int columns;                     // of the output, up to a whole number of blocks
  int64_t input_line, output_line;  // floats of a row with what is around it

  explicit Strided(const Shape& shape) : shape(shape) {
    constexpr int BLOCK = IN_ROWS > ROWS ? IN_ROWS : ROWS;
    columns = (shape.across() + BLOCK - 1) / BLOCK * BLOCK;
    input_line = (2 * columns + 2) * (int64_t)IN;
    output_line = (columns + 1) * (int64_t)OUT;
  }

  int64_t input_floats() const { return (2 * shape.down() + 1) * input_line; }
  int64_t output_floats() const { return (shape.down() + 1) * output_line; }

  // An image of input, one row down and one column to the right; around it `to` keeps its zeros.
  INLINE void read_input(const Source& source, int64_t image, float* to) const {
    for (int c = 0; c < IN; c += LANES)
      source.reader(c, [&](auto read) FLAT {
        for (int y = 0; y < shape.height; y++) {
          const int64_t from = (image * shape.height + y) * shape.width * IN + c;
          float* line = to + (y + 1) * input_line + IN + c;
          for (int x = 0; x < shape.width; x++) store(line + x * IN, read(from + x * IN));
        }
      });
  }

  // An image of the output's gradient; zeros below and to the right.
  INLINE void read_gradient(const Gradient& gradient, int64_t image, float* to) const {
    for (int c = 0; c < OUT; c += LANES)
      gradient.reader(c, OUT, [&](auto read) FLAT {
        for (int y = 0; y < shape.down(); y++) {
          const int64_t from = (image * shape.down() + y) * shape.across() * OUT + c;
          for (int x = 0; x < shape.across(); x++)
            store(to + y * output_line + x * OUT + c, read(from + x * OUT));
        }
      });
  }

  // weights (row, column, in, out)
  void forward(const Source& source, const float* weights, float* z, double* total,
               int threads) const {
    Sums sums(2, OUT, threads);
    const Scratch scratch(threads, input_floats() + output_line);
#pragma omp parallel num_threads(threads)
    {
      float* input = scratch.mine();
      float* line = input + input_floats();
      const Share share(shape.images);
      for (int64_t image = share.first; image < share.last; image++) {
        read_input(source, image, input);
        for (int y = 0; y < shape.down(); y++) {
          for (int n = 0; n < OUT; n += COLUMNS * LANES)
            for (int x = 0; x < columns; x += ROWS)
              multiply_block<ROWS, COLUMNS, 2 * IN, 1, OUT, OUT, false>(
                  input + 2 * y * input_line + 2 * x * IN, weights + n, line + x * OUT + n,
                  3 * IN, {3, input_line, LINE});
          float* to = z + (image * shape.down() + y) * shape.across() * OUT;
          for (int c = 0; c < OUT; c += LANES) {
            Vec sum{}, sum_squares{};
            for (int x = 0; x < shape.across(); x++) {
              const Vec value = load(line + x * OUT + c);
              store(to + x * OUT + c, value);
              sum += value;
              sum_squares += value * value;
            }
            add_to(sums.mine() + c, sum);
            add_to(sums.mine() + OUT + c, sum_squares);
          }
        }
      }
    }
    sums.total(total);
  }

  // A row of the input's gradient from one row of the output's, or from two: even columns from the
  // middle tap, odd ones from the right tap of one number and the left tap of the next. `weights`
  // are (out, in) of the middle, right and left tap, those for the second row so many floats
  // further.
  INLINE void spread(const float* gradient, const float* weights, int rows, int64_t further,
                     float* line) const {
    const Runs runs{rows, output_line, further};
    for (int n = 0; n < IN; n += IN_COLUMNS * LANES)
      for (int x = 0; x < columns; x += IN_ROWS) {
        const float* from = gradient + x * OUT;
        float* to = line + 2 * x * IN + n;
        multiply_block<IN_ROWS, IN_COLUMNS, OUT, 1, IN, 2 * IN, false>(from, weights + n, to, OUT,
                                                                     runs);
        multiply_block<IN_ROWS, IN_COLUMNS, OUT, 1, IN, 2 * IN, false>(
            from, weights + OUT * IN + n, to + IN, 2 * OUT, runs);
      }
  }

  // weights (row, tap, out, in) with the taps as `spread` has them
  void backward(const Gradient& gradient, const Finish& finish, const float* weights,
                float* weight_sums, double* total, int threads) const {
    Sums sums(Finish::SUMS, IN, threads);
    const Scratch scratch(threads, input_floats() + output_floats() + input_line);
#pragma omp parallel num_threads(threads)
    {
      float* input = scratch.mine();
      float* output = input + input_floats();
      float* line = output + output_floats();
      float* added = weight_sums ? weight_sums + (int64_t)omp_get_thread_num() * 3 * LINE : nullptr;
      const Share share(shape.images);
      for (int64_t image = share.first; image < share.last; image++) {
        if (added) read_input(finish.source, image, input);
        read_gradient(gradient, image, output);
        for (int row = 0; added && row < 3; row++)
          for (int n = 0; n < OUT; n += COLUMNS * LANES)
            for (int m = 0; m < 3 * IN; m += ROWS)
              multiply_block<ROWS, COLUMNS, 1, 2 * IN, OUT, OUT, true>(
                  input + row * input_line + m, output + n, added + row * LINE + m * OUT + n,
                  shape.across(), {shape.down(), 2 * input_line, output_line});
        if (!finish.to) continue;
        for (int row = 0; row < shape.height; row++) {
          const float* from = output + row / 2 * output_line;
          if (row % 2)
            spread(from, weights + 2 * LINE, 2, -2 * LINE, line);
          else
            spread(from, weights + LINE, 1, 0, line);
          const int64_t begin = (image * shape.height + row) * shape.width * IN;
          for (int c = 0; c < IN; c += LANES) {
            Vec found[Finish::SUMS] = {};
            finish.writer(c, found, [&](auto write) FLAT {
              for (int x = 0; x < shape.width; x++)
                write(begin + x * IN + c, load(line + x * IN + c));
            });
            for (int kind = 0; kind < Finish::SUMS; kind++)
              add_to(sums.mine() + kind * IN + c, found[kind]);
          }
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
int reslab_stride(const float* x, const float* scale, const float* shift, const float* weights,
                  float* z, double* sums, int64_t images, int height, int width, int in, int out,
                  int threads) try {
  const Shape shape{images, height, width};
  const Source source{x, scale, shift};
  if (in == 16 && out == 32) Strided<16, 32>(shape).forward(source, weights, z, sums, threads);
  if (in == 32 && out == 64) Strided<32, 64>(shape).forward(source, weights, z, sums, threads);
  return DONE;
} catch (...) {
  return ending_of_exception();
}

// The gradients of source and weights, unless `to` or `weight_sums` is null; the latter as sums
// (threads, row, column, in, out) that are added to. Weights come as (row, tap, out, in), the taps
// as in `spread`.
int reslab_stride_backward(const float* gradient, const float* z, const float* coefficients,
                           const float* x, const float* scale, const float* shift,
                           const float* residual, const float* before,
                           const float* shortcut, const float* weights, float* to,
                           float* weight_sums, double* sums, int64_t images, int height,
                           int width, int in, int out, int threads) try {
  const Shape shape{images, height, width};
  const Gradient from{gradient, z, coefficients};
  const Finish finish{{x, scale, shift}, residual, before, shortcut, to};
  if (in == 16 && out == 32)
    Strided<16, 32>(shape).backward(from, finish, weights, weight_sums, sums, threads);
  if (in == 32 && out == 64)
    Strided<32, 64>(shape).backward(from, finish, weights, weight_sums, sums, threads);
  return DONE;
} catch (...) {
  return ending_of_exception();
}

}  // extern "C"
