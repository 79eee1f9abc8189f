// SPDX-License-Identifier: BSD-3-Clause
#include "sums/partial.hpp"

#include "base/errors.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace fastcka {
namespace {

bool same(double x, double y) { return x == y || (std::isnan(x) && std::isnan(y)); }

bool same(const LayerNote& x, const LayerNote& y) {
    return x.status == y.status && same(x.unit, y.unit) && same(x.sigma, y.sigma) &&
           same(x.rounding, y.rounding) && same(x.left_out, y.left_out);
}

}  // namespace

bool Statistics::needs_float64() const {
    return std::any_of(layers.begin(), layers.end(),
                       [](const auto& layer) { return layer && layer->needs_float64; });
}

void Statistics::merge(const Statistics& other) {
    check(layers.size() == other.layers.size(), "another number of layers");
    for (std::size_t l = 0; l < layers.size(); ++l)
        if (layers[l] && other.layers[l])
            throw std::invalid_argument("layer " + std::to_string(l) + " is in both");
    for (std::size_t l = 0; l < layers.size(); ++l)
        if (other.layers[l]) layers[l] = other.layers[l];
}

Partial::Partial(index blocks, index samples, index count)
    : sums(blocks), diagonals(Eigen::MatrixXd::Constant(samples, count, not_given)),
      layers(static_cast<std::size_t>(count)) {}

void Partial::merge(const Partial& other) {
    check(layers.size() == other.layers.size() && diagonals.rows() == other.diagonals.rows(),
          "another number of layers or samples");
    for (std::size_t l = 0; l < layers.size(); ++l)
        if (!same(layers[l], other.layers[l]))
            throw std::invalid_argument("layer " + std::to_string(l) + " has other values");
    for (index l = 0; l < diagonals.cols(); ++l)
        for (index i = 0; i < diagonals.rows(); ++i) {
            const double mine = diagonals(i, l), theirs = other.diagonals(i, l);
            if (mine != theirs && !std::isnan(mine) && !std::isnan(theirs))
                throw std::invalid_argument("layer " + std::to_string(l) + " has other values at sample " +
                                            std::to_string(i));
        }
    check(rows.size() == other.rows.size(), "one of them was made with inference, the other was not");
    sums.merge(other.sums);
    for (std::size_t strip = 0; strip < rows.size(); ++strip) rows[strip].merge(other.rows[strip]);
    diagonals = diagonals.array().isNaN().select(other.diagonals, diagonals);
}

}  // namespace fastcka
