// SPDX-License-Identifier: BSD-3-Clause
// Estimators from sums, against the formulas of the papers with their matrices written out.
#include "check.hpp"
#include "measures/cka.hpp"
#include "support.hpp"

namespace fastcka::test {
namespace {

Matrix random_gram(index n, Random& random) {
    const Matrix x = random.normal(n, 3);
    return (x * x.transpose()).array() + random.normal();
}

// A column per Gram matrix.
Margins margins_of(const std::vector<Matrix>& grams) {
    const index n = grams.front().rows(), layers = static_cast<index>(grams.size());
    Margins margins{Matrix(n, layers), Matrix(n, layers)};
    for (index l = 0; l < layers; ++l) {
        const Matrix& gram = grams[static_cast<std::size_t>(l)];
        margins.diagonal.col(l) = gram.diagonal();
        margins.row_sums.col(l) = gram.rowwise().sum() - gram.diagonal();
    }
    return margins;
}

double off_diagonal_product(const Matrix& k, const Matrix& l) {
    return k.cwiseProduct(l).sum() - k.diagonal().dot(l.diagonal());
}

// tr(K H L H) / (n - 1)^2 with H written out
long double gretton(const Matrix& k, const Matrix& l) {
    const index n = k.rows();
    const LongMatrix h =
        LongMatrix::Identity(n, n) - LongMatrix::Constant(n, n, 1.0L / static_cast<long double>(n));
    const long double m = static_cast<long double>(n - 1);
    return (k.cast<long double>() * h * l.cast<long double>() * h).trace() / (m * m);
}

// Song et al. 2012, equation 5, term by term
long double song(Matrix k, Matrix l) {
    k.diagonal().setZero();
    l.diagonal().setZero();
    const LongMatrix a = k.cast<long double>(), b = l.cast<long double>();
    const long double n = static_cast<long double>(k.rows());
    return ((a * b).trace() + a.sum() * b.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (a * b).sum()) /
           (n * (n - 3));
}

}  // namespace

TEST(estimators_are_those_of_the_papers) {
    Random random(41);
    for (index n : {4, 5, 30}) {
        const std::vector<Matrix> a{random_gram(n, random), random_gram(n, random)};
        const std::vector<Matrix> b{random_gram(n, random), a[0], random_gram(n, random)};
        const Terms terms(margins_of({a[0], a[1], b[0], b[1], b[2]}));
        Matrix products(2, 3);
        Eigen::VectorXd self = Eigen::VectorXd::Zero(5);
        for (index i = 0; i < 2; ++i) {
            const Matrix& k = a[static_cast<std::size_t>(i)];
            self(i) = off_diagonal_product(k, k);
            for (index j = 0; j < 3; ++j)
                products(i, j) = off_diagonal_product(k, b[static_cast<std::size_t>(j)]);
        }
        const PairSums pairs = pair_sums(products, terms, {0, 2}, {2, 3}), selves = self_sums(self, terms);
        for (bool unbiased : {false, true}) {
            const auto estimator = unbiased ? unbiased_hsic : biased_hsic;
            const Estimates estimates = estimator(pairs, static_cast<double>(n)),
                            own = estimator(selves, static_cast<double>(n));
            const auto check = [&](const Estimates& e, index i, index j, const Matrix& k, const Matrix& l) {
                const long double expected = hsic_of(k.cast<long double>(), l.cast<long double>(), unbiased);
                CHECK_CLOSE(e.value(i, j), expected, 4e-16 * e.magnitude(i, j));
                CHECK_CLOSE(e.value(i, j), unbiased ? song(k, l) : gretton(k, l), 4e-16 * e.magnitude(i, j));
                CHECK(e.magnitude(i, j) >= std::abs(e.value(i, j)));
            };
            for (index i = 0; i < 2; ++i) {
                const Matrix& k = a[static_cast<std::size_t>(i)];
                for (index j = 0; j < 3; ++j) check(estimates, i, j, k, b[static_cast<std::size_t>(j)]);
                check(own, i, 0, k, k);
            }
        }
    }
}

TEST(alignment_divides_by_the_roots) {
    Random random(42);
    const std::vector<Matrix> a{random_gram(20, random)}, b{random_gram(20, random)};
    for (bool unbiased : {false, true}) {
        const Terms terms(margins_of({a[0], b[0]}));
        const Sums sums{
            20, pair_sums(Matrix::Constant(1, 1, off_diagonal_product(a[0], b[0])), terms, {0, 1}, {1, 1}),
            self_sums(Eigen::Vector2d(off_diagonal_product(a[0], a[0]), off_diagonal_product(b[0], b[0])),
                      terms)};
        const Alignment out = alignment_of(
            sums, LayerSet({1, 1}, 1), {{Status::fine, 2, not_given}, {Status::fine, 1e200, not_given}},
            formula_of(Measure::cka, unbiased ? Estimator::unbiased : Estimator::biased));
        const LongMatrix k = a[0].cast<long double>(), l = b[0].cast<long double>();
        const long double hsic = hsic_of(k, l, unbiased), own_a = hsic_of(k, k, unbiased),
                          own_b = hsic_of(l, l, unbiased);
        CHECK_CLOSE(out.cka(0, 0), hsic / std::sqrt(own_a * own_b), 1e-13);
        const auto trace = [](const LongMatrix& gram) { return gram.trace() - gram.sum() / 20; };
        const long double chance =
            unbiased ? 0
                     : trace(k) * trace(l) / (19 * 361 * std::sqrt(own_a * own_b));  // |Kc| = 19 sqrt(HSIC)
        CHECK_CLOSE(out.chance(0, 0), chance, 1e-13);
        CHECK_CLOSE(out.hsic(0, 0), hsic * 2e200L, 1e-13 * 2e200);  // in the kernel's own units
        CHECK_CLOSE(out.self(0), own_a * 4, 1e-13);
        CHECK(std::isinf(out.self(1)));  // 1e400 is beyond float64; CKA is not
        CHECK(out.layers[0].status == Status::fine && out.layers[1].status == Status::fine);
    }
}

TEST(alignment_marks_degenerate_layers) {
    // Sums of a constant Gram matrix, whose terms cancel but for a rounding of 1e-16 of them.
    const index n = 10;
    const auto sums_of = [&](double rounding) {
        const Matrix gram = Matrix::Ones(n, n);
        PairSums sums = self_sums(Eigen::VectorXd::Constant(1, off_diagonal_product(gram, gram)),
                                  Terms(margins_of({gram})));
        sums.products += rounding;
        return sums;
    };
    for (bool unbiased : {false, true})
        for (double rounding : {0.0, 1e-14, -1e-14}) {
            const PairSums sums = sums_of(rounding);
            const Alignment out =
                alignment_of({static_cast<double>(n), sums, sums}, LayerSet({1}, 1), {{}},
                             formula_of(Measure::cka, unbiased ? Estimator::unbiased : Estimator::biased));
            CHECK(std::isnan(out.cka(0, 0)));
            CHECK(out.layers[0].status == (unbiased ? Status::nonpositive : Status::constant));
        }
    // A layer without a bandwidth has no Gram matrix, and so no HSIC; one that is constant has HSIC zero.
    PairSums zero = sums_of(0);
    for (auto* entry : {&zero.products, &zero.diagonals, &zero.rows, &zero.totals, &zero.full_rows,
                        &zero.full_totals, &zero.spreads, &zero.traces})
        entry->setZero();
    const Alignment none =
        alignment_of({static_cast<double>(n), zero, zero}, LayerSet({1}, 1), {{Status::zero_bandwidth, 1, 0}},
                     formula_of(Measure::cka, Estimator::biased));
    CHECK(std::isnan(none.cka(0, 0)) && std::isnan(none.hsic(0, 0)) &&
          none.layers[0].status == Status::zero_bandwidth);
    constexpr double infinity = std::numeric_limits<double>::infinity();
    const Alignment constant =
        alignment_of({static_cast<double>(n), zero, zero}, LayerSet({1}, 1),
                     {{Status::constant, infinity, not_given}}, formula_of(Measure::cka, Estimator::biased));
    CHECK(std::isnan(constant.cka(0, 0)) && constant.hsic(0, 0) == 0);
}

}  // namespace fastcka::test
