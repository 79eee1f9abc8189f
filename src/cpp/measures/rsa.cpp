// SPDX-License-Identifier: BSD-3-Clause
#include "measures/rsa.hpp"

namespace fastcka {
namespace {

// Off the diagonal, Kc and D are sums of three parts that are orthogonal to each other: a constant, a_i + a_j with
// sum a = 0, and rows that sum to zero. With k = diag(Kc), the last part is Ku for Kc and -2 Ku for D; a is
// -(k - mean k) / (n - 2) for Kc and n (k - mean k) / (n - 2) for D; the constants are -sum k / (n (n - 1)) and
// 2 sum k / (n - 1). So each inner product is <Ku, Lu> = n (n - 3) HSIC_1, sum (k - mean k) (l - mean l) and sum k sum l
// with weights, none of them negative: of a layer with itself nothing cancels. The weights count n (n - 1) products of
// constants, and 2 (n - 2) a_i b_i in sum_{i != j} (a_i + a_j) (b_i + b_j). Over permutations the first two have mean zero.
struct Weights {
    double u_centred, spread, constant;
};

Estimates weighted(const PairSums& sums, double n, Weights weights) {
    const Estimates hsic = unbiased_hsic(sums, n);
    const double scale = weights.u_centred * n * (n - 3);
    const Eigen::ArrayXXd spread = weights.spread * sums.spreads, constant = weights.constant * sums.traces;
    return {scale * hsic.value + spread + constant, scale * hsic.magnitude + spread.abs() + constant.abs()};
}

}  // namespace

double chance_of_off_diagonal(double n) { return 1 / (n * (n - 1)); }
double chance_of_dissimilarities(double n) { return 4 * n / (n - 1); }

Estimates off_diagonal_product(const PairSums& sums, double n) {
    return weighted(sums, n, {1, 2 / (n - 2), chance_of_off_diagonal(n)});
}

Estimates dissimilarity_product(const PairSums& sums, double n) {
    return weighted(sums, n, {4, 2 * n * n / (n - 2), chance_of_dissimilarities(n)});
}

Estimates dissimilarity_covariance(const PairSums& sums, double n) {
    return weighted(sums, n, {4, 2 * n * n / (n - 2), 0});
}

}  // namespace fastcka
