// SPDX-License-Identifier: BSD-3-Clause
#include "measure/feature_tiles.hpp"
#include "measure/routes.hpp"

#include <memory>

namespace fastcka {
namespace {

template <class T> struct FeatureLayer {
    Panels<T> panels;  // a vector is a feature
    SampleSums norms;
    LayerReport report;
};

template <class T>
FeatureLayer<T> make_feature_layer(const MatrixView& view, const Kernel& kernel, const Engine& engine) {
    FeatureLayer<T> layer;
    std::vector<double> row_scale;
    if (kernel.kind == KernelKind::cosine) row_scale = inverse_row_norms(view, engine);
    const double* const scaled = row_scale.empty() ? nullptr : row_scale.data();
    const Centring centring = centring_of(view, scaled, engine);
    if (centring.largest == 0) layer.report.status = Status::constant;
    layer.report.unit = 1 / (centring.scale * centring.scale);
    layer.panels = pack<T>(view, false, &centring, scaled, {}, layer.norms, engine);
    if (sizeof(T) == 4 && has_massive_sample(layer.norms)) throw NeedsDouble{};
    return layer;
}

template <class T> class FeatureSweep {
  public:
    FeatureSweep(const Sides& sides, const Kernel& kernel, const Plan& plan, const Engine& engine)
        : engine_(engine), plan_(plan), width_(engine.operations<T>().panel_width) {
        sides.for_each_layer([&](index, const MatrixView& view) {
            layers_.push_back(make_feature_layer<T>(view, kernel, engine));
        });
        layers_a_ = sides.layers_a();
        samples_ = sides.a.front().rows;
        LayerPairs pairs{{}, layers_a_, !sides.b};
        for (const FeatureLayer<T>& layer : layers_) pairs.widths.push_back(layer.panels.vectors());
        tiles_ = feature_tiles(pairs, plan.tile);
        squares_.setZero(pairs.count(), pairs.count());
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
            const FeatureTile& tile = tiles_[static_cast<std::size_t>(number)];
            double* wide = segments > 1 ? parts.data() + task * values : workspace->wide.data();
            const bool carried = form(tile, task % segments, workspace->tile.data(), wide, worker);
            if (segments > 1) {
                if (!carried)
                    engine_.operations<T>().carry(workspace->tile.data(),
                                                  tile.range.blocks(width_) * width_ * width_, true, wide);
            } else if (carried) {
                squares[static_cast<std::size_t>(number)] = sum_of_squares(tile, wide);
            } else {
                squares[static_cast<std::size_t>(number)] = sum_of_squares(tile, workspace->tile.data());
            }
        });
        if (segments > 1)
            engine_.team.for_each(tiles, [&](index number, int) {
                const FeatureTile& tile = tiles_[static_cast<std::size_t>(number)];
                double* first = parts.data() + number * segments * values;
                for (index segment = 1; segment < segments; ++segment)
                    for (index v = 0; v < tile.range.blocks(width_) * width_ * width_; ++v)
                        first[v] += first[segment * values + v];
                squares[static_cast<std::size_t>(number)] = sum_of_squares(tile, first);
            });
        for (std::size_t t = 0; t < tiles_.size(); ++t)
            squares_(tiles_[t].left, tiles_[t].right) += squares[t];
    }

    RouteResult result(bool two_sided) const {
        const index a = layers_a_, all = static_cast<index>(layers_.size());
        Eigen::MatrixXd norms(samples_, all);
        for (index l = 0; l < all; ++l)
            norms.col(l) = Eigen::Map<const Eigen::VectorXd>(
                layers_[static_cast<std::size_t>(l)].norms.squared.data(), samples_);
        const auto margins = [&](index first, index last) {
            const Eigen::MatrixXd diagonal = norms.middleCols(first, last - first);
            return Margins{diagonal, -diagonal};
        };
        const auto reports = [&](index first, index last) {
            std::vector<LayerReport> list;
            for (index l = first; l < last; ++l) list.push_back(layers_[static_cast<std::size_t>(l)].report);
            return list;
        };
        const index b = two_sided ? a : 0;  // the first layer of side b
        const Margins margins_a = margins(0, a), margins_b = margins(b, all);
        const Eigen::MatrixXd full = squares_.selfadjointView<Eigen::Upper>();
        const Eigen::VectorXd self = full.diagonal();
        return {{static_cast<double>(samples_),
                 pair_sums_of_full(full.block(0, b, a, all - b), margins_a, margins_b),
                 self_sums_of_full(self.head(a), margins_a), self_sums_of_full(self.tail(all - b), margins_b),
                 centred_traces(margins_a), centred_traces(margins_b)},
                reports(0, a),
                reports(b, all)};
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

    bool form(const FeatureTile& tile, index segment, T* values, double* wide, int worker) const {
        const index blocks = (samples_ + coordinate_block - 1) / coordinate_block;
        const index first = segment * blocks / plan_.segments * coordinate_block;
        const index last = std::min(samples_, (segment + 1) * blocks / plan_.segments * coordinate_block);
        return tile_products(layers_[static_cast<std::size_t>(tile.left)].panels,
                             layers_[static_cast<std::size_t>(tile.right)].panels, tile.range, first, last,
                             values, wide, engine_, worker);
    }

    // What is off the diagonal of a symmetric product counts twice: blocks of a triangle, tiles of a self product.
    template <class Value> double sum_of_squares(const FeatureTile& tile, const Value* values) const {
        const auto& operations = engine_.operations<Value>();
        const index size = width_ * width_;
        if (!tile.range.triangle)
            return (tile.left == tile.right ? 2 : 1) *
                   operations.sum_of_squares(values, tile.range.blocks(width_) * size);
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
    std::vector<FeatureTile> tiles_;
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
