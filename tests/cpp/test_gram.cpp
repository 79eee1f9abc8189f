// SPDX-License-Identifier: BSD-3-Clause
// Gram matrices as a whole, and double centring.
#include "base/errors.hpp"
#include "check.hpp"
#include "layers/gram.hpp"
#include "support.hpp"

namespace fastcka::test {
namespace {

template <class T> using RowMajor = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

template <class T> RowMajor<T> gram_of(const Stored& samples, const Kernel& kernel, int threads = 1) {
    RowMajor<T> out(samples.view.rows, samples.view.rows);
    gram<T>(samples.view, kernel, threads, {}, out.data());
    return out;
}

std::vector<Kernel> kernels() {
    return {Linear{},
            Cosine{},
            Correlation{},
            RBF{},
            RBF{{.relative = 7, .sigma = 2}},  // sigma counts
            Laplacian{{.relative = 0.5, .offdiagonal = true}},
            Polynomial{.degree = 3, .coef0 = 2},
            Distance{},
            Distance{.exponent = 0.75}};
}

}  // namespace

TEST(gram_is_the_kernel_as_defined) {
    Random random(61);
    for (index n : {1, 2, 50, 240})
        for (index p : {1, 7, 130}) {
            const Stored samples =
                store((random.normal(n, p).array() + 0.5).matrix(), Element::f32, Layout::odd);
            for (const Kernel& kernel : kernels()) {
                if (n == 1 && kernel.needs_median()) continue;
                const LongMatrix expected = gram_matrix(samples.values, kernel);
                const double largest = static_cast<double>(expected.cwiseAbs().maxCoeff());
                // |x|^2 + |y|^2 - 2 <x, y> knows a distance to a rounding of |x|^2. Samples of few features may be so near
                // that a root of it has half the digits.
                const auto* distance = kernel.as<Distance>();
                const bool root = kernel.as<Laplacian>() || distance;
                const double power = distance ? distance->exponent / 2 : 0.5;
                const auto tolerance = [&](double of_entries, double unit) {
                    return largest * (root && p < 100 ? 4 * std::pow(unit, power) : of_entries);
                };
                const RowMajor<double> wide = gram_of<double>(samples, kernel);
                const RowMajor<float> narrow = gram_of<float>(samples, kernel, 3);
                for (index i = 0; i < n; ++i)
                    for (index j = 0; j < n; ++j) {
                        CHECK_CLOSE(wide(i, j), expected(i, j), tolerance(2e-13, epsilon<double>));
                        CHECK_CLOSE(narrow(i, j), expected(i, j), tolerance(1e-5, epsilon<float>));
                        CHECK(wide(i, j) == wide(j, i) && narrow(i, j) == narrow(j, i));
                    }
            }
        }
}

TEST(gram_has_the_same_bits_for_any_threads_and_layout) {
    Random random(62);
    const Matrix values = random.normal(300, 40);
    for (const Kernel& kernel : kernels()) {
        const RowMajor<float> first = gram_of<float>(store(values, Element::f32), kernel);
        for (int threads : {2, 3, 8})
            CHECK(gram_of<float>(store(values, Element::f32), kernel, threads) == first);
        for (Layout layout : all_layouts)
            CHECK(gram_of<float>(store(values, Element::f32, layout), kernel) == first);
    }
}

TEST(gram_of_equal_samples_is_exact) {
    Random random(63);
    Matrix values = random.normal(60, 300);
    values.row(40) = values.row(3);
    const RowMajor<float> narrow = gram_of<float>(store(values, Element::f32), RBF{});
    const RowMajor<double> wide = gram_of<double>(store(values, Element::f32), RBF{});
    CHECK(narrow(3, 40) == 1 && wide(3, 40) == 1);
    CHECK((narrow.diagonal().array() == 1).all() && (wide.diagonal().array() == 1).all());
}

// |x|^2 + |y|^2 - 2 <x, y> does not know their distance at all: float64 has lost 16 digits of it at 1e-8, float32 7 at 1e-3.
TEST(gram_of_near_samples_keeps_its_digits) {
    Random random(65);
    for (index p : {3, 140}) {  // of one coordinate block, and of two
        const Matrix centres = random.normal(120, p), steps = random.normal(120, p);
        for (const Kernel& kernel :
             std::vector<Kernel>{Laplacian{}, Distance{}, Distance{.exponent = 0.5}, RBF{}})
            for (double step : {1e-3, 1e-8}) {
                // Samples that are near one another are neighbours, or half of all samples apart: in other tiles.
                Matrix values(240, p);
                values << centres, centres + step * steps;
                values.row(1) = values.row(0) + step * steps.row(0);
                const Stored stored = store(values, step == 1e-3 ? Element::f32 : Element::f64);
                const LongMatrix expected = gram_matrix(stored.values, kernel);
                const double largest = static_cast<double>(expected.cwiseAbs().maxCoeff());
                const RowMajor<double> wide = gram_of<double>(stored, kernel);
                CHECK_CLOSE((wide.cast<long double>() - expected).cwiseAbs().maxCoeff(), 0, 1e-11 * largest);
                if (step != 1e-3) continue;
                const RowMajor<float> narrow = gram_of<float>(stored, kernel, 3);
                CHECK_CLOSE((narrow.cast<long double>() - expected).cwiseAbs().maxCoeff(), 0, 1e-5 * largest);
            }
    }
}

TEST(gram_without_a_bandwidth_is_nan) {
    for (bool offdiagonal : {false, true}) {
        const Kernel kernel = RBF{{.offdiagonal = offdiagonal}};
        for (index n : {1, 2, 9})
            CHECK(gram_of<double>(store(Matrix::Ones(n, 2), Element::f64), kernel).array().isNaN().all());
    }
}

TEST(gram_refuses_what_it_cannot_read) {
    Matrix values = Matrix::Ones(5, 5);
    double out[25];
    CHECK_THROWS(std::invalid_argument,
                 gram<double>(store(values, Element::f64).view, Precomputed{}, 1, {}, out));
    values(3, 1) = std::numeric_limits<double>::quiet_NaN();
    for (const Kernel& kernel : kernels())
        CHECK_THROWS(NonFinite, gram<double>(store(values, Element::f64).view, kernel, 1, {}, out));
    CHECK_THROWS(NonFinite, center<double>(store(values, Element::f64).view, 1, {}, out));
    CHECK_THROWS(std::invalid_argument,
                 center<double>(store(Matrix::Ones(5, 4), Element::f64).view, 1, {}, out));
}

TEST(center_takes_off_the_means) {
    Random random(64);
    for (index n : {1, 2, 33, 200})
        for (double offset : {0.0, 1e6}) {
            const Stored stored = store((random.normal(n, n).array() + offset).matrix(), Element::f64,
                                        n % 2 == 0 ? Layout::rows : Layout::columns);
            LongMatrix expected = stored.values.cast<long double>();
            expected.rowwise() -= expected.colwise().mean().eval();
            expected.colwise() -= expected.rowwise().mean().eval();
            RowMajor<double> wide(n, n), threaded(n, n);
            RowMajor<float> narrow(n, n);
            center<double>(stored.view, 1, {}, wide.data());
            center<double>(stored.view, 3, {}, threaded.data());
            center<float>(stored.view, 1, {}, narrow.data());
            for (index i = 0; i < n; ++i)
                for (index j = 0; j < n; ++j) {
                    CHECK_CLOSE(wide(i, j), expected(i, j), 1e-14 + 1e-15 * offset);
                    CHECK_CLOSE(narrow(i, j), expected(i, j), 1e-6);
                }
            CHECK(wide == threaded);
        }
}

}  // namespace fastcka::test
