// SPDX-License-Identifier: BSD-3-Clause
// Inner products of RV2 and of representational similarity analysis (RSA), and their means over permutations.
#pragma once

#include "measures/hsic.hpp"

namespace fastcka {

// sum_{i != j} Kc_ij Lc_ij: the modified RV coefficient (Smilde et al. 2009).
Estimates off_diagonal_product(const PairSums& sums, double samples);
double chance_of_off_diagonal(double samples);

// sum_{i != j} of the products of squared dissimilarities D_ij = k_i + k_j - 2 Kc_ij, and of their deviations from the
// mean over all i != j.
Estimates dissimilarity_product(const PairSums& sums, double samples);
Estimates dissimilarity_covariance(const PairSums& sums, double samples);
double chance_of_dissimilarities(double samples);

}  // namespace fastcka
