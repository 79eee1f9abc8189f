// SPDX-License-Identifier: BSD-3-Clause
#include "sums/moments.hpp"

#include <cmath>
#include <utility>

namespace fastcka {

using Eigen::MatrixXd;
using Eigen::VectorXd;

CrossProducts::CrossProducts(const LayerSet& set, index side)
    : side_(side), tiles_(feature_tiles(set, side)),
      number_(Eigen::MatrixXi::Constant(set.count(), set.count(), -1)) {
    set.for_each_pair([&](index i, index j) {
        number_(i, j) = static_cast<int>(values_.size());
        const index p = set.width(i), q = set.width(j);
        values_.push_back({p, q, Buffer<double>(size_product(p, q))});
    });
}

Eigen::Map<CrossProducts::Matrix> CrossProducts::of_pair(index pair) const {
    const Values& values = values_[static_cast<std::size_t>(pair)];
    return {values.data.data(), values.rows, values.columns};
}

double* CrossProducts::at(const FeatureTile& tile) const {
    auto matrix_of_pair = matrix(tile.left, tile.right);
    return matrix_of_pair.data() + tile.range.first_row * matrix_of_pair.cols() + tile.range.first_column;
}

MatrixXd CrossProducts::whole(index i, index j) const {
    if (i != j) return matrix(i, j);
    const MatrixXd upper = matrix(i, i);
    return upper.selfadjointView<Eigen::Upper>();
}

// 2^1000: no sample has varied yet.
Moments::Moments(LayerSet layers)
    : set(std::move(layers)), scale(set.widths().size(), 0x1p1000),
      ss(MatrixXd::Zero(set.count() + 1, set.count() + 1)) {
    for (index p : set.widths()) {
        origin.push_back(VectorXd::Zero(p));
        zs.push_back(MatrixXd::Zero(p, set.count() + 1));
    }
}

void Moments::make_room(index layer, double largest) {
    if (largest == 0) return;
    int exponent = 0;
    std::frexp(largest, &exponent);
    shrink(layer, std::ldexp(1.0, -std::clamp(exponent, -1000, 1000)));
}

void Moments::shrink(index layer, double scale_at_most) {
    double& now = scale[static_cast<std::size_t>(layer)];
    if (scale_at_most >= now) return;
    const double factor = scale_at_most / now;
    now = scale_at_most;
    zs[static_cast<std::size_t>(layer)] *= factor;
    for (MatrixXd& sums : zs) sums.col(layer) *= factor * factor;
    ss.row(layer) *= factor * factor;
    ss.col(layer) *= factor * factor;
}

Move move_between(const Moments& from, Moments& to) {
    Move move;
    for (std::size_t l = 0; l < from.scale.size(); ++l) {
        const auto layer = static_cast<index>(l);
        const VectorXd distance = from.origin[l] - to.origin[l];
        to.make_room(layer, distance.cwiseAbs().maxCoeff());
        to.shrink(layer, from.scale[l]);
        move.factor.push_back(to.scale[l] / from.scale[l]);
        move.offset.push_back(to.scale[l] * distance);
    }
    return move;
}

// With f and e of each layer, r -> f^2 r + 2 f e'z + |e|^2: so s -> E s + t with t_l = a_l'z_l, a_l = 2 f e.
void add_moved(const Moments& from, const CrossProducts& zz, const Move& move, Moments& to) {
    const index one = from.set.count();  // where s has its one
    MatrixXd E = MatrixXd::Zero(one + 1, one + 1), st = E, tt = E;
    E(one, one) = 1;
    std::vector<VectorXd> a;
    for (index l = 0; l < one; ++l) {
        const double f = move.factor[static_cast<std::size_t>(l)];
        const VectorXd& e = move.offset[static_cast<std::size_t>(l)];
        E(l, l) = f * f;
        E(l, one) = e.squaredNorm();
        a.push_back(2 * f * e);
        st.col(l) = from.z_with(l).transpose() * a.back();
    }
    for (std::size_t l = 0; l < a.size(); ++l)  // sum (f z + e) (E s + t)' but for sum f z t'
        to.zs[l] += (move.factor[l] * from.zs[l] + move.offset[l] * from.ss.row(one)) * E.transpose() +
                    move.offset[l] * st.row(one);
    from.set.for_each_pair([&](index i, index j) {
        const auto left = static_cast<std::size_t>(i), right = static_cast<std::size_t>(j);
        const MatrixXd products = zz.whole(i, j);
        const VectorXd zt = products * a[right];  // sum z_i t_j
        to.zs[left].col(j) += move.factor[left] * zt;
        if (i != j) to.zs[right].col(i) += move.factor[right] * (products.transpose() * a[left]);
        tt(i, j) = tt(j, i) = a[left].dot(zt);
    });
    const MatrixXd Est = E * st;
    to.ss += E * from.ss * E.transpose() + Est + Est.transpose() + tt;
}

void add_moved(const Moments& from, const CrossProducts& zz, const Move& move, const FeatureTile& tile,
               CrossProducts& to) {
    const auto& [left, right, range] = tile;
    const auto l = static_cast<std::size_t>(left), r = static_cast<std::size_t>(right);
    const double f = move.factor[l], g = move.factor[r];
    const VectorXd &d = move.offset[l], &e = move.offset[r];
    auto mine = to.matrix(left, right);
    const auto theirs = zz.matrix(left, right);
    const index one = from.set.count(), last = range.first_column + range.columns;
    for (index i = range.first_row; i < range.first_row + range.rows; ++i) {
        const index j = left == right ? std::max(i, range.first_column) : range.first_column;
        const auto part = [&](const auto& vector) { return vector.segment(j, last - j).transpose(); };
        mine.row(i).segment(j, last - j) += f * g * theirs.row(i).segment(j, last - j) +
                                            (f * from.zs[l](i, one) + from.samples() * d(i)) * part(e) +
                                            d(i) * g * part(from.zs[r].col(one));
    }
}

}  // namespace fastcka
