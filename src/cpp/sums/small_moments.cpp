// SPDX-License-Identifier: BSD-3-Clause
#include "sums/small_moments.hpp"

namespace fastcka {

using Eigen::MatrixXd;
using Eigen::VectorXd;

SmallMoments moved(const SmallMoments& old, const LayerSet& set, const std::vector<double>& factor,
                   const std::vector<VectorXd>& e, const PairProducts& products) {
    const double n = old.samples;
    SmallMoments out = old;
    std::vector<double> norm, ez;  // |e|^2, e' sum z
    for (std::size_t l = 0; l < e.size(); ++l) {
        const double f = factor[l];
        const auto layer = static_cast<index>(l);
        norm.push_back(e[l].squaredNorm());
        ez.push_back(e[l].dot(old.z[l]));
        out.z[l] = f * old.z[l] + n * e[l];
        out.r(layer) = f * f * old.r(layer) + 2 * f * ez[l] + n * norm[l];
    }
    set.for_each_pair([&](index i, index j) {
        const auto a = static_cast<std::size_t>(i), b = static_cast<std::size_t>(j);
        const double f = factor[a], g = factor[b];
        const MatrixXd zz = products(i, j);
        const VectorXd za = zz * e[b], zb = zz.transpose() * e[a];  // sum z_i (e_j'z_j), sum (e_i'z_i) z_j
        const auto shifted = [&](std::size_t of, std::size_t by,
                                 const VectorXd& mixed) {  // sum z r' of `of` by `by`
            const auto column = static_cast<index>(by);
            const double r = factor[by] * factor[by] * old.r(column) + 2 * factor[by] * ez[by];
            return VectorXd(factor[of] * factor[by] * factor[by] * old.zr[of].col(column) +
                            2 * factor[of] * factor[by] * mixed + norm[by] * factor[of] * old.z[of] +
                            (r + n * norm[by]) * e[of]);
        };
        out.zr[b].col(i) = shifted(b, a, zb);
        out.zr[a].col(j) = shifted(a, b, za);
        out.rr(i, j) = out.rr(j, i) =
            f * f * g * g * old.rr(i, j) + 2 * f * f * g * e[b].dot(old.zr[b].col(i)) +
            f * f * norm[b] * old.r(i) + 2 * f * g * g * e[a].dot(old.zr[a].col(j)) +
            4 * f * g * e[a].dot(za) + 2 * f * norm[b] * ez[a] + g * g * norm[a] * old.r(j) +
            2 * g * norm[a] * ez[b] + n * norm[a] * norm[b];
    });
    return out;
}

}  // namespace fastcka
