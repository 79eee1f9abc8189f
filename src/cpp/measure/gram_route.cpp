// SPDX-License-Identifier: BSD-3-Clause
#include "measure/bandwidth.hpp"
#include "measure/pair_products.hpp"
#include "measure/routes.hpp"
#include "measure/sum_tree.hpp"

#include <cmath>
#include <exception>
#include <memory>

namespace fastcka {
namespace {

// What the tiles of a block add up to.
struct GramSums {
    Eigen::VectorXd products;  // sum_{i < j} K_ij L_ij, an entry for each wanted pair
    Eigen::MatrixXd row_sums;  // sum_{j != i} K_ij, samples x layers; empty where all rows of K sum to zero

    void merge(const GramSums& right) {
        products += right.products;
        row_sums += right.row_sums;
    }
};

// A worker's memory: one tile of every layer, unless the team shares a block of them, and row sums of one.
template <class T> struct Workspace {
    std::vector<Buffer<T>> tiles;
    std::vector<const T*> pointers;
    Buffer<double> wide;
    std::vector<double> row, column;

    Workspace(std::size_t layers, index tile_values) : wide(sizeof(T) == 4 ? tile_values : 1) {
        for (std::size_t l = 0; l < layers; ++l) {
            tiles.emplace_back(tile_values);
            pointers.push_back(tiles.back().data());
        }
    }
};

// All layers of both sides, a first, and the sums that their tiles are folded into.
template <class T> class GramSweep {
  public:
    GramSweep(const Sides& sides, const Kernel& kernel, const Plan& plan, const Engine& engine)
        : engine_(engine), plan_(plan), centred_(kernel.is_centred()), n_(sides.a.front().rows),
          grid_(n_, plan.tile), tile_values_(grid_.tile_values(engine.operations<T>().panel_width)),
          layers_(static_cast<std::size_t>(sides.layers())), layers_a_(sides.layers_a()),
          workspaces_(static_cast<std::size_t>(engine.team.threads())) {
        diagonals_.setZero(n_, sides.layers());
        // For one pair, the products of both with both are as cheap as the three that are needed.
        joint_ = !sides.b || layers_.size() == 2;
        if (plan.shared_block) block_ = Buffer<T>(layers() * tile_values_);
        if (plan.whole_tile)
            form_layer_by_layer(sides, kernel);
        else
            sides.for_each_layer(
                [&](index l, const MatrixView& view) { layer(l) = make_layer(l, view, kernel, engine_); });
    }

    void run() {
        SumTree<GramSums> tree(plan_.partials);
        if (plan_.shared_block)
            share_blocks(tree);
        else
            engine_.team.for_each_observed(plan_.partials, [&](index part, int worker) {
                GramSums sums = no_sums();
                Workspace<T>& mine = workspace(worker, layers_.size());
                for (index number = first_tile(part); number < first_tile(part + 1); ++number)
                    fold(number, mine, sums, worker);
                tree.add(part, std::move(sums));
            });
        sums_ = tree.root();
        sums_.products *= 2;  // tiles hold what is above the diagonal
    }

    RouteResult result(bool two_sided) const {
        const index a = layers_a_, all = layers();
        using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
        Eigen::MatrixXd pairs;
        Eigen::VectorXd self;
        if (joint_) {
            pairs = Eigen::Map<const RowMajor>(sums_.products.data(), all, all)
                        .template selfadjointView<Eigen::Upper>();
            self = pairs.diagonal();
            if (two_sided) pairs = Eigen::MatrixXd(pairs.topRightCorner(a, all - a));
        } else {
            pairs = Eigen::Map<const RowMajor>(sums_.products.data(), a, all - a);
            self = sums_.products.tail(all);
        }
        const index b = two_sided ? a : 0;  // the first layer of side b
        const Margins margins_a = margins(0, a), margins_b = margins(b, all);
        return {{static_cast<double>(n_), pair_sums(pairs, margins_a, margins_b),
                 self_sums(self.head(a), margins_a), self_sums(self.tail(all - b), margins_b),
                 centred_traces(margins_a), centred_traces(margins_b)},
                reports(0, a),
                reports(b, all)};
    }

  private:
    index layers() const { return static_cast<index>(layers_.size()); }
    GramLayer<T>& layer(index number) { return layers_[static_cast<std::size_t>(number)]; }

    GramLayer<T> make_layer(index number, const MatrixView& view, const Kernel& kernel,
                            const Engine& engine) const {
        GramLayer<T> layer = make_gram_layer<T>(view, kernel, false, engine);
        if (!kernel.needs_median()) return layer;
        if (layer.status != Status::fine) {  // any bandwidth will do: its values will not count
            set_sigma(layer, 1.0);
            layer.sigma = not_given;
            return layer;
        }
        const bool keep = number < plan_.kept_layers;
        const double median = median_squared_distance(layer, grid_, kernel.offdiagonal, keep, engine);
        if (median > 0) {
            set_sigma(layer, kernel.bandwidth * std::sqrt(median) / layer.centring.scale);
        } else {
            layer.status = Status::zero_bandwidth;
            set_sigma(layer, 1.0);
            layer.sigma = 0;
        }
        return layer;
    }

    // Few samples, many layers: a thread makes the one tile of a layer while its panels are in the cache, and forgets them.
    void form_layer_by_layer(const Sides& sides, const Kernel& kernel) {
        std::vector<std::exception_ptr> failures(layers_.size());
        engine_.team.for_each_observed(layers(), [&](index l, int worker) {
            Team alone(1, [&](index, index) { engine_.team.poll(worker); });
            const Engine engine{engine_.level, alone};
            try {
                sides.at_layer(l, [&](index, const MatrixView& view) {
                    layer(l) = make_layer(l, view, kernel, engine);
                });
            } catch (const std::invalid_argument&) {  // to be reported in the order of the layers
                failures[static_cast<std::size_t>(l)] = std::current_exception();
                return;
            }
            layer(l).fill(grid_, 0, shared_tile(l), workspace(worker, 0).wide.data(),
                          diagonals_.col(l).data(), engine, 0);
            layer(l).panels = {};
            layer(l).kept = {};
            layer(l).centring.mean = {};
        });
        for (const std::exception_ptr& failure : failures)
            if (failure) std::rethrow_exception(failure);
    }

    // Many layers: the team makes whole tiles of one block of the grid, each thread those of some layers, and then all
    // products of pairs of layers over that block.
    void share_blocks(SumTree<GramSums>& tree) {
        const index width = engine_.operations<T>().panel_width;
        PairProducts<T> pairs(layer_block(), tile_values_, engine_);
        if (!plan_.whole_tile) engine_.team.expect(grid_.tiles() * layers());
        for (index part = 0; part < plan_.partials; ++part) {
            GramSums sums = no_sums();
            for (index number = first_tile(part); number < first_tile(part + 1); ++number) {
                const TileRange range = grid_[number];
                const index length = range.blocks(width) * width * width;
                const auto add_layer = [&](index l, int worker) {
                    Workspace<T>& mine = workspace(worker, 0);
                    if (!plan_.whole_tile)
                        layer(l).fill(grid_, number, shared_tile(l), mine.wide.data(),
                                      diagonals_.col(l).data(), engine_, worker);
                    if (!centred_) add_row_sums(range, shared_tile(l), mine, sums.row_sums.col(l).data());
                    if (!joint_)
                        sums.products(layer_block().entries() + l) +=
                            engine_.operations<T>().sum_of_squares(shared_tile(l), length);
                };
                if (plan_.whole_tile)  // forming the tiles was the main loop
                    engine_.team.for_each(layers(), add_layer);
                else
                    engine_.team.for_each_observed(layers(), add_layer);
                pairs.add(block_.data(), tile_values_, length);
            }
            pairs.finish(sums.products.data());
            tree.add(part, std::move(sums));
        }
    }

    LayerBlock layer_block() const { return {layers(), joint_ ? 0 : layers_a_}; }
    T* shared_tile(index layer) const { return block_.data() + layer * tile_values_; }
    index first_tile(index part) const { return part * grid_.tiles() / plan_.partials; }

    GramSums no_sums() const {
        const index entries = layer_block().entries() + (joint_ ? 0 : layers());
        return {Eigen::VectorXd::Zero(entries),
                Eigen::MatrixXd::Zero(centred_ ? 0 : n_, centred_ ? 0 : layers())};
    }

    Workspace<T>& workspace(int worker, std::size_t tiles) {
        auto& mine = workspaces_[static_cast<std::size_t>(worker)];
        if (!mine) mine = std::make_unique<Workspace<T>>(tiles, tile_values_);
        return *mine;
    }

    // Forms the tile of every layer, and folds all their products into `sums`.
    void fold(index number, Workspace<T>& workspace, GramSums& sums, int worker) {
        const auto& operations = engine_.operations<T>();
        const index width = operations.panel_width;
        const TileRange range = grid_[number];
        for (index l = 0; l < layers(); ++l) {
            const auto at = static_cast<std::size_t>(l);
            layers_[at].fill(grid_, number, workspace.tiles[at].data(), workspace.wide.data(),
                             diagonals_.col(l).data(), engine_, worker);
            if (!centred_)
                add_row_sums(range, workspace.pointers[at], workspace, sums.row_sums.col(l).data());
        }
        const index length = range.blocks(width) * width * width;
        const index all = layers(), a = layers_a_;
        const T* const* tiles = workspace.pointers.data();
        double* const out = sums.products.data();
        if (joint_) {
            constexpr index rows = 4;  // of the upper half at a time
            for (index i = 0; i < all; i += rows)
                operations.products(tiles + i, std::min(rows, all - i), tiles + i, all - i, length,
                                    out + i * all + i, all);
        } else {
            operations.products(tiles, a, tiles + a, all - a, length, out, all - a);
            for (index l = 0; l < all; ++l)
                out[a * (all - a) + l] += operations.sum_of_squares(tiles[l], length);
        }
    }

    void add_row_sums(const TileRange& range, const T* tile, Workspace<T>& workspace, double* sums) {
        const auto& operations = engine_.operations<T>();
        const index width = operations.panel_width;
        workspace.row.assign(static_cast<std::size_t>(range.row_panels(width) * width), 0.0);
        workspace.column.assign(static_cast<std::size_t>(range.column_panels(width) * width), 0.0);
        range.for_each_block(width, [&](index block, index row, index column) {
            operations.block_sums(tile + block * width * width, workspace.row.data() + row - range.first_row,
                                  workspace.column.data() + column - range.first_column);
        });
        for (index i = 0; i < range.rows; ++i)
            sums[range.first_row + i] += workspace.row[static_cast<std::size_t>(i)];
        for (index j = 0; j < range.columns; ++j)
            sums[range.first_column + j] += workspace.column[static_cast<std::size_t>(j)];
    }

    Margins margins(index first, index last) const {
        Margins margins{diagonals_.middleCols(first, last - first), {}};
        margins.row_sums.resize(n_, last - first);
        for (index l = first; l < last; ++l) {
            const GramLayer<T>& layer = layers_[static_cast<std::size_t>(l)];
            if (!layer.norms.squared.empty() && centred_)  // float64 norms are better than a float32 diagonal
                margins.diagonal.col(l - first) =
                    Eigen::Map<const Eigen::VectorXd>(layer.norms.squared.data(), n_);
            if (centred_)
                margins.row_sums.col(l - first) = -margins.diagonal.col(l - first);
            else
                margins.row_sums.col(l - first) = sums_.row_sums.col(l);
        }
        return margins;
    }

    std::vector<LayerReport> reports(index first, index last) const {
        std::vector<LayerReport> reports;
        for (index l = first; l < last; ++l) {
            const GramLayer<T>& layer = layers_[static_cast<std::size_t>(l)];
            reports.push_back({layer.status, layer.unit, layer.sigma, layer.rounding});
        }
        return reports;
    }

    const Engine& engine_;
    const Plan& plan_;
    bool centred_;
    bool joint_ = false;
    index n_;
    TileGrid grid_;
    index tile_values_;
    std::vector<GramLayer<T>> layers_;
    index layers_a_;
    Buffer<T> block_;  // a tile of every layer, which the team shares; or empty
    std::vector<std::unique_ptr<Workspace<T>>> workspaces_;  // per thread
    Eigen::MatrixXd diagonals_;
    GramSums sums_;
};

}  // namespace

template <class T>
RouteResult gram_route(const Sides& sides, const Kernel& kernel, const Plan& plan, const Engine& engine) {
    GramSweep<T> sweep(sides, kernel, plan, engine);
    sweep.run();
    return sweep.result(sides.b.has_value());
}

template RouteResult gram_route<float>(const Sides&, const Kernel&, const Plan&, const Engine&);
template RouteResult gram_route<double>(const Sides&, const Kernel&, const Plan&, const Engine&);

}  // namespace fastcka
