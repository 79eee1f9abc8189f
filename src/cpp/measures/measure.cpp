// SPDX-License-Identifier: BSD-3-Clause
#include "measures/measure.hpp"

#include "measures/rsa.hpp"

#include <stdexcept>

namespace fastcka {
namespace {

double zero(double) { return 0; }

// Permutations leave the mean of <Kc, P Lc P'> at tr(Kc) tr(Lc) / (n - 1) (Josse et al. 2008). HSIC_0 divides that by
// (n - 1)^2.
double chance_of_biased(double n) { return 1 / ((n - 1) * (n - 1) * (n - 1)); }

constexpr Formula formulas[] = {
    {Measure::cka, Estimator::biased, biased_hsic, chance_of_biased, 2, Status::constant},
    {Measure::cka, Estimator::unbiased, unbiased_hsic, zero, 4, Status::nonpositive},
    {Measure::rv2, Estimator::biased, off_diagonal_product, chance_of_off_diagonal, 4, Status::constant},
    {Measure::rsa_cosine, Estimator::biased, dissimilarity_product, chance_of_dissimilarities, 4,
     Status::constant},
    {Measure::rsa_pearson, Estimator::biased, dissimilarity_covariance, zero, 4, Status::equidistant},
};

}  // namespace

const Formula& formula_of(Measure measure, Estimator estimator) {
    for (const Formula& formula : formulas)
        if (formula.measure == measure && formula.estimator == estimator) return formula;
    throw std::invalid_argument("only CKA has an estimator");
}

}  // namespace fastcka
