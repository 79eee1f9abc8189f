// SPDX-License-Identifier: BSD-3-Clause
#include "sums/feature_tiles.hpp"
#include "sums/sweep.hpp"

#include <memory>

namespace fastcka {
namespace {

template <class T> struct FeatureLayer {
    Panels<T> panels;  // a vector is a feature
    SampleSums norms;
    Centring centring;
    LayerNote note;
};

template <class T>
FeatureLayer<T> make_feature_layer(const MatrixView& view, const Kernel& kernel, const Centring* known,
                                   const Engine& engine) {
    FeatureLayer<T> layer;
    const std::optional<RowScaling> scaling = row_scaling(view, kernel.traits().rows, engine);
    const RowScaling* const rows = scaling ? &*scaling : nullptr;
    layer.centring = known != nullptr ? *known : centring_of(view, rows, engine);
    if (layer.centring.largest == 0) layer.note.status = Status::constant;
    layer.note.unit = 1 / (layer.centring.scale * layer.centring.scale);
    layer.panels = pack<T>(view, false, &layer.centring, rows, {}, layer.norms, engine);
    if (sizeof(T) == 4 && has_massive_sample(layer.norms)) throw NeedsDouble{};
    return layer;
}

template <class T> class FeatureBlocks {
  public:
    FeatureBlocks(const Sweep& sweep, const Statistics* known)
        : engine_(sweep.engine), plan_(sweep.plan), width_(engine_.operations<T>().panel_width),
          samples_(sweep.layers.samples()), tiles_(feature_tiles(sweep.layers.set(), plan_.tile)) {
        sweep.layers.for_each([&](index l, const MatrixView& view) {
            layers_.push_back(make_feature_layer<T>(
                view, sweep.kernel,
                known != nullptr ? &known->layers[static_cast<std::size_t>(l)]->centring : nullptr, engine_));
        });
    }

    // A block is some tiles of all samples, or one tile of a segment of them.
    Partial run(index first, index last) const {
        const auto all = static_cast<index>(layers_.size());
        Partial partial(plan_.blocks, samples_, all);
        std::vector<std::unique_ptr<Workspace>> workspaces(static_cast<std::size_t>(engine_.team.threads()));
        engine_.team.for_each_observed(last - first, [&](index task, int worker) {
            auto& workspace = workspaces[static_cast<std::size_t>(worker)];
            if (!workspace) workspace = std::make_unique<Workspace>(tile_values());
            const index block = first + task;
            BlockSums sums;
            if (plan_.segments > 1) {
                const FeatureTile& tile = tiles_[static_cast<std::size_t>(block / plan_.segments)];
                sums.open = open(tile, block % plan_.segments, *workspace, worker);
            } else {
                for (index t = first_tile(block); t < first_tile(block + 1); ++t) {
                    const FeatureTile& tile = tiles_[static_cast<std::size_t>(t)];
                    const bool carried = form(tile, 0, *workspace, worker);
                    sums.add(entry(tile), carried ? sum_of_squares(tile, workspace->wide.data())
                                                  : sum_of_squares(tile, workspace->tile.data()));
                }
            }
            partial.sums.add(block, std::move(sums));
        });
        for (index l = 0; l < all; ++l) {
            const FeatureLayer<T>& layer = layers_[static_cast<std::size_t>(l)];
            partial.layers[static_cast<std::size_t>(l)] = layer.note;
            partial.diagonals.col(l) =
                Eigen::Map<const Eigen::VectorXd>(layer.norms.squared.data(), samples_);
        }
        return partial;
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

    index first_tile(index block) const { return block * static_cast<index>(tiles_.size()) / plan_.blocks; }
    index entry(const FeatureTile& tile) const {
        return tile.left * static_cast<index>(layers_.size()) + tile.right;
    }

    // Inner products over a segment; true: they were carried, and lie in `wide`.
    bool form(const FeatureTile& tile, index segment, const Workspace& workspace, int worker) const {
        const index blocks = (samples_ + coordinate_block - 1) / coordinate_block;
        const index first = segment * blocks / plan_.segments * coordinate_block;
        const index last = std::min(samples_, (segment + 1) * blocks / plan_.segments * coordinate_block);
        return tile_products(layers_[static_cast<std::size_t>(tile.left)].panels,
                             layers_[static_cast<std::size_t>(tile.right)].panels, tile.range, first, last,
                             workspace.tile.data(), workspace.wide.data(), engine_, worker);
    }

    OpenTile open(const FeatureTile& tile, index segment, const Workspace& workspace, int worker) const {
        const TileRange& range = tile.range;
        const index values = range.blocks(width_) * width_ * width_;
        OpenTile open{entry(tile),    range.rows, width_,         tile.left == tile.right,
                      range.triangle, 1,          plan_.segments, TileValues(values)};
        const bool carried = form(tile, segment, workspace, worker);
        if (carried)
            std::copy_n(workspace.wide.data(), values, open.values.data());
        else
            std::copy_n(workspace.tile.data(), values, open.values.data());
        return open;
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
    index width_, samples_;
    std::vector<FeatureLayer<T>> layers_;
    std::vector<FeatureTile> tiles_;
};

}  // namespace

template <class T> LayerStatistics feature_statistics(const Sweep& sweep, index layer) {
    LayerStatistics statistics;
    sweep.layers.at(layer, [&](index, const MatrixView& view) {
        statistics.centring = make_feature_layer<T>(view, sweep.kernel, nullptr, sweep.engine).centring;
    });
    return statistics;
}

template <class T>
Partial feature_blocks(const Sweep& sweep, index first, index last, const Statistics* known) {
    return FeatureBlocks<T>(sweep, known).run(first, last);
}

template LayerStatistics feature_statistics<float>(const Sweep&, index);
template LayerStatistics feature_statistics<double>(const Sweep&, index);
template Partial feature_blocks<float>(const Sweep&, index, index, const Statistics*);
template Partial feature_blocks<double>(const Sweep&, index, index, const Statistics*);

}  // namespace fastcka
