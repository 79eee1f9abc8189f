// SPDX-License-Identifier: BSD-3-Clause
#include "measure/routes.hpp"

#include <memory>

namespace fastcka {
namespace {

template <class T> struct FeatureLayer {
    Panels<T> panels;  // a vector is a feature
    SampleNorms norms;
    LayerReport report;
};

template <class T> FeatureLayer<T> make_feature_layer(const MatrixView& view, const Kernel& kernel, const Engine& engine) {
    FeatureLayer<T> layer;
    std::vector<double> row_scale;
    if (kernel.kind == KernelKind::cosine) row_scale = inverse_row_norms(view, engine);
    const double* const scaled = row_scale.empty() ? nullptr : row_scale.data();
    const Centring centring = centring_of(view, scaled, engine);
    if (centring.largest == 0) layer.report.status = Status::constant;
    layer.report.unit = 1 / (centring.scale * centring.scale);
    layer.panels = pack<T>(view, false, &centring, scaled, false, layer.norms, engine);
    return layer;
}

// A tile of X'Y for a pair of layers.
struct Tile {
    index left, right;  // layers
    TileRange range;
};

template <class T> class FeatureSweep {
  public:
    FeatureSweep(const Sides& sides, const Kernel& kernel, const Plan& plan, const Engine& engine)
        : engine_(engine), plan_(plan), width_(engine.operations<T>().panel_width) {
        const auto add = [&](const MatrixView& view) { layers_.push_back(make_feature_layer<T>(view, kernel, engine)); };
        make_each(sides.a, 0, add);
        layers_a_ = static_cast<index>(layers_.size());
        if (sides.b) make_each(*sides.b, 1, add);
        samples_ = sides.a.front().rows;
        const index all = static_cast<index>(layers_.size());
        squares_.setZero(all, all);
        for (index i = 0; i < all; ++i)
            for (index j = i; j < all; ++j)
                if (!sides.b || i == j || (i < layers_a_ && j >= layers_a_)) add_tiles(i, j);
    }

    // ||X'Y||_F^2 of every pair into squares_.
    void run() {
        const index tiles = static_cast<index>(tiles_.size()), segments = plan_.segments;
        const index values = tile_values();
        Buffer<double> parts(segments > 1 ? tiles * segments * values : 1);
        std::vector<double> squares(tiles_.size(), 0.0);
        std::vector<std::unique_ptr<Workspace>> workspaces(static_cast<std::size_t>(engine_.team.threads()));
        engine_.team.for_each_observed(tiles * segments, [&](index task, int worker) {
            auto& workspace = workspaces[static_cast<std::size_t>(worker)];
            if (!workspace) workspace = std::make_unique<Workspace>(values);
            const index number = task / segments;
            const Tile& tile = tiles_[static_cast<std::size_t>(number)];
            double* wide = segments > 1 ? parts.data() + task * values : workspace->wide.data();
            const bool carried = form(tile, task % segments, workspace->tile.data(), wide, worker);
            if (segments > 1) {
                if (!carried) engine_.operations<T>().carry(workspace->tile.data(), tile.range.blocks(width_) * width_ * width_, true, wide);
            } else if (carried) {
                squares[static_cast<std::size_t>(number)] = sum_of_squares(tile, wide);
            } else {
                squares[static_cast<std::size_t>(number)] = sum_of_squares(tile, workspace->tile.data());
            }
        });
        if (segments > 1)
            engine_.team.for_each(tiles, [&](index number, int) {
                const Tile& tile = tiles_[static_cast<std::size_t>(number)];
                double* first = parts.data() + number * segments * values;
                for (index segment = 1; segment < segments; ++segment)
                    for (index v = 0; v < tile.range.blocks(width_) * width_ * width_; ++v) first[v] += first[segment * values + v];
                squares[static_cast<std::size_t>(number)] = sum_of_squares(tile, first);
            });
        for (std::size_t t = 0; t < tiles_.size(); ++t) squares_(tiles_[t].left, tiles_[t].right) += squares[t];
    }

    RouteResult result(bool two_sided) const {
        const index a = layers_a_, all = static_cast<index>(layers_.size());
        Eigen::MatrixXd norms(samples_, all);
        for (index l = 0; l < all; ++l)
            norms.col(l) = Eigen::Map<const Eigen::VectorXd>(layers_[static_cast<std::size_t>(l)].norms.squared.data(), samples_);
        const auto margins = [&](index first, index last) {
            const Eigen::MatrixXd diagonal = norms.middleCols(first, last - first);
            return Margins{diagonal, -diagonal};
        };
        const auto reports = [&](index first, index last) {
            std::vector<LayerReport> list;
            for (index l = first; l < last; ++l) list.push_back(layers_[static_cast<std::size_t>(l)].report);
            return list;
        };
        RouteResult result;
        // ||X'Y||_F^2 = <K, L> with the diagonal; the sums leave it out.
        const Eigen::MatrixXd full = squares_.selfadjointView<Eigen::Upper>();
        const Eigen::VectorXd self = full.diagonal() - norms.colwise().squaredNorm().transpose();
        result.sums.a = margins(0, a);
        result.sums.b = two_sided ? margins(a, all) : result.sums.a;
        result.sums.products = (two_sided ? Eigen::MatrixXd(full.topRightCorner(a, all - a)) : full) -
                               result.sums.a.diagonal.transpose() * result.sums.b.diagonal;
        result.sums.self_a = self.head(a);
        result.sums.self_b = self.tail(two_sided ? all - a : all);
        result.a = reports(0, a);
        result.b = two_sided ? reports(a, all) : result.a;
        return result;
    }

  private:
    struct Workspace {
        Buffer<T> tile;
        Buffer<double> wide;
        explicit Workspace(index values) : tile(values), wide(sizeof(T) == 4 ? values : 1) {}
    };

    index tile_values() const {
        const index side = (plan_.tile + width_ - 1) / width_ * width_;
        return side * side;
    }

    void add_tiles(index i, index j) {
        const index p = layers_[static_cast<std::size_t>(i)].panels.vectors();
        const index q = layers_[static_cast<std::size_t>(j)].panels.vectors(), side = plan_.tile;
        for (index row = 0; row < p; row += side)
            for (index column = i == j ? row : 0; column < q; column += side)
                tiles_.push_back({i, j, {row, std::min(side, p - row), column, std::min(side, q - column), i == j && row == column}});
    }

    bool form(const Tile& tile, index segment, T* values, double* wide, int worker) const {
        const index blocks = (samples_ + coordinate_block - 1) / coordinate_block;
        const index first = segment * blocks / plan_.segments * coordinate_block;
        const index last = std::min(samples_, (segment + 1) * blocks / plan_.segments * coordinate_block);
        return tile_products(layers_[static_cast<std::size_t>(tile.left)].panels,
                             layers_[static_cast<std::size_t>(tile.right)].panels, tile.range, first, last, values,
                             wide, engine_, worker);
    }

    // What is off the diagonal of a symmetric product counts twice: blocks of a triangle, tiles of a self product.
    template <class Value> double sum_of_squares(const Tile& tile, const Value* values) const {
        const auto& operations = engine_.operations<Value>();
        const index size = width_ * width_;
        if (!tile.range.triangle) return (tile.left == tile.right ? 2 : 1) * operations.sum_of_squares(values, tile.range.blocks(width_) * size);
        double sum = 0;
        tile.range.for_each_block(width_, [&](index block, index row, index column) {
            sum += (row == column ? 1 : 2) * operations.sum_of_squares(values + block * size, size);
        });
        return sum;
    }

    const Engine& engine_;
    const Plan& plan_;
    index width_, samples_ = 0, layers_a_ = 0;
    std::vector<FeatureLayer<T>> layers_;
    std::vector<Tile> tiles_;
    Eigen::MatrixXd squares_;
};

}  // namespace

template <class T>
RouteResult feature_route(const Sides& sides, const Kernel& kernel, const Plan& plan, const Engine& engine) {
    FeatureSweep<T> sweep(sides, kernel, plan, engine);
    sweep.run();
    return sweep.result(sides.b.has_value());
}

template RouteResult feature_route<float>(const Sides&, const Kernel&, const Plan&, const Engine&);
template RouteResult feature_route<double>(const Sides&, const Kernel&, const Plan&, const Engine&);

}  // namespace fastcka
