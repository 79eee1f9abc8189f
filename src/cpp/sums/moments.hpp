// SPDX-License-Identifier: BSD-3-Clause
// The moments of a stream: M = sum u u' over its samples, with u = (z, |z|^2, 1) for each layer, for all wanted pairs of
// layers. A shift and a scale of z is a linear map A of u, so it takes M to A M A' (docs/theory.md), and every sum of the
// linear kernel is w' M w for some w.
#pragma once

#include "base/buffer.hpp"
#include "sums/feature_tiles.hpp"

#include <Eigen/Core>

#include <vector>

namespace fastcka {

// The large part of M: sum z_i z_j' for every wanted pair of layers i <= j; of a layer with itself the upper half. While it
// is `empty` nothing has been written, and all values count as zero.
class CrossProducts {
  public:
    using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

    // `side` of a tile, in features
    CrossProducts(const LayerSet& set, index side);

    bool empty = true;
    index side() const { return side_; }
    const std::vector<FeatureTile>& tiles() const { return tiles_; }
    index pairs() const { return static_cast<index>(values_.size()); }
    Eigen::Map<Matrix> matrix(index i, index j) const { return of_pair(number_(i, j)); }
    Eigen::Map<Matrix> of_pair(index pair) const;
    // Where the values of a tile begin; rows are matrix(i, j).outerStride() apart.
    double* at(const FeatureTile& tile) const;
    Eigen::MatrixXd whole(index i, index j) const;  // a copy, with the lower half where i == j

  private:
    struct Values {
        index rows, columns;
        Buffer<double> data;  // huge pages, and no zeros written before the first block
    };
    index side_;
    std::vector<FeatureTile> tiles_;
    Eigen::MatrixXi number_;
    std::vector<Values> values_;
};

// The small part of M, and the definition of z. s = (r_1, .., r_L, 1) with r_l = |z_l|^2, for one sample in all L layers.
struct Moments {
    LayerSet set;
    std::vector<double> scale;            // per layer, a power of two: z = scale * (x - origin)
    std::vector<Eigen::VectorXd> origin;  // per layer, the mean of the first block
    std::vector<Eigen::MatrixXd> zs;      // per layer, sum z s'
    Eigen::MatrixXd ss;                   // sum s s'

    explicit Moments(LayerSet layers);

    double samples() const { return ss(set.count(), set.count()); }
    const Eigen::MatrixXd& z_with(index layer) const { return zs[static_cast<std::size_t>(layer)]; }
    Eigen::VectorXd sum_of_z(index layer) const { return z_with(layer).col(set.count()); }

    // Makes the scale of a layer so small that values up to `largest` from the origin are z of at most about 1.
    void make_room(index layer, double largest);
    // Lowers the scale of a layer to `scale_at_most`, a power of two; does nothing where it is lower already.
    void shrink(index layer, double scale_at_most);
};

// z -> factor * z + offset, for each layer.
struct Move {
    std::vector<double> factor;
    std::vector<Eigen::VectorXd> offset;
};

// The map from the z of one stream to the z of another, after making room for the first in the second.
Move move_between(const Moments& from, Moments& to);
// Adds A M A' to the small moments `to`; `zz` are the cross products of M.
void add_moved(const Moments& from, const CrossProducts& zz, const Move& move, Moments& to);
// The same for a tile of cross products.
void add_moved(const Moments& from, const CrossProducts& zz, const Move& move, const FeatureTile& tile,
               CrossProducts& to);

}  // namespace fastcka
