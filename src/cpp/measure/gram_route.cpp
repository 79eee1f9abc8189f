// SPDX-License-Identifier: BSD-3-Clause
#include "measure/bandwidth.hpp"
#include "measure/routes.hpp"

#include <atomic>
#include <cmath>
#include <exception>
#include <memory>

namespace fastcka {
namespace {

// Row sums gathered by many threads as integers: integers add up to the same sum in any order. A sum is kept in two of
// them, multiples of a coarse and of a fine unit. `bound` is the largest |Gram value|, so that n of them fill at most 62
// bits of the coarse one; the fine one takes a few thousand remainders of 47 bits, one for each tile of a row.
class RowSums {
  public:
    RowSums(index samples, double bound)
        : sums_(std::make_unique<Sum[]>(static_cast<std::size_t>(samples))), samples_(samples) {
        std::frexp(static_cast<double>(samples) * bound, &coarse_exponent_);
        coarse_exponent_ -= 62;
    }
    void add(index first, index count, const double* values) {
        for (index i = 0; i < count; ++i) {
            Sum& sum = sums_[static_cast<std::size_t>(first + i)];
            const double coarse = std::nearbyint(std::ldexp(values[i], -coarse_exponent_));
            const double rest = values[i] - std::ldexp(coarse, coarse_exponent_);
            sum.coarse.fetch_add(static_cast<std::int64_t>(coarse), std::memory_order_relaxed);
            sum.fine.fetch_add(std::llrint(std::ldexp(rest, fine_bits - coarse_exponent_)),
                               std::memory_order_relaxed);
        }
    }
    void copy_to(double* out) const {
        for (index i = 0; i < samples_; ++i) {
            const Sum& sum = sums_[static_cast<std::size_t>(i)];
            out[i] = std::ldexp(static_cast<double>(sum.coarse.load()), coarse_exponent_) +
                     std::ldexp(static_cast<double>(sum.fine.load()), coarse_exponent_ - fine_bits);
        }
    }

  private:
    static constexpr int fine_bits = 48;
    struct Sum {
        std::atomic<std::int64_t> coarse{0}, fine{0};
    };
    std::unique_ptr<Sum[]> sums_;
    index samples_;
    int coarse_exponent_ = 0;
};

// A worker's memory: one tile of every layer, unless all tiles are at hand, and row sums of one.
template <class T> struct Workspace {
    std::vector<Buffer<T>> tiles;
    std::vector<const T*> pointers;
    Buffer<double> wide;
    std::vector<double> row, column;

    Workspace(std::size_t layers, bool owns_tiles, index side, index values)
        : pointers(layers), wide(sizeof(T) == 4 && owns_tiles ? values : 1),
          row(static_cast<std::size_t>(side)), column(static_cast<std::size_t>(side)) {
        for (std::size_t l = 0; owns_tiles && l < layers; ++l) {
            tiles.emplace_back(values);
            pointers[l] = tiles.back().data();
        }
    }
};

// All layers of both sides, a first, and the sums that their tiles are folded into.
template <class T> class GramSweep {
  public:
    GramSweep(const Sides& sides, const Kernel& kernel, const Plan& plan, const Engine& engine)
        : engine_(engine), plan_(plan), centred_(kernel.is_centred()), n_(sides.a.front().rows),
          grid_(n_, plan.tile), tile_values_(grid_.tile_values(engine.operations<T>().panel_width)),
          layers_(static_cast<std::size_t>(sides.layers())), layers_a_(sides.layers_a()) {
        diagonals_.setZero(n_, sides.layers());
        if (plan.layer_by_layer)
            form_layer_by_layer(sides, kernel);
        else
            sides.for_each_layer(
                [&](index l, const MatrixView& view) { layer(l) = make_layer(l, view, kernel, engine_); });
        if (!centred_)
            for (const GramLayer<T>& layer : layers_) row_sums_.emplace_back(n_, layer.bound);
        // For one pair, the products of both with both are as cheap as the three that are needed.
        joint_ = !sides.b || layers_.size() == 2;
    }

    void run() {
        const index stride = layers();
        const index entries = joint_ ? stride * stride : layers_a_ * (stride - layers_a_) + stride;
        std::vector<double> partials(static_cast<std::size_t>(plan_.partials * entries), 0.0);
        std::vector<std::unique_ptr<Workspace<T>>> workspaces(
            static_cast<std::size_t>(engine_.team.threads()));
        const auto fold_part = [&](index part, int worker) {
            auto& workspace = workspaces[static_cast<std::size_t>(worker)];
            if (!workspace)
                workspace = std::make_unique<Workspace<T>>(layers_.size(), !plan_.layer_by_layer, plan_.tile,
                                                           tile_values_);
            const index first = part * grid_.tiles() / plan_.partials,
                        last = (part + 1) * grid_.tiles() / plan_.partials;
            for (index number = first; number < last; ++number)
                fold(number, *workspace, partials.data() + part * entries, worker);
        };
        if (plan_.layer_by_layer)  // which was the main loop
            engine_.team.for_each(plan_.partials, fold_part);
        else
            engine_.team.for_each_observed(plan_.partials, fold_part);
        products_.setZero(entries);
        for (index part = 0; part < plan_.partials; ++part)
            products_ += Eigen::Map<const Eigen::VectorXd>(partials.data() + part * entries, entries);
        products_ *= 2;  // tiles hold what is above the diagonal
    }

    RouteResult result(bool two_sided) const {
        const index a = layers_a_, all = layers();
        using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
        Eigen::MatrixXd pairs;
        Eigen::VectorXd self;
        if (joint_) {
            pairs = Eigen::Map<const RowMajor>(products_.data(), all, all)
                        .template selfadjointView<Eigen::Upper>();
            self = pairs.diagonal();
            if (two_sided) pairs = Eigen::MatrixXd(pairs.topRightCorner(a, all - a));
        } else {
            pairs = Eigen::Map<const RowMajor>(products_.data(), a, all - a);
            self = products_.tail(all);
        }
        const index b = two_sided ? a : 0;  // the first layer of side b
        const Margins margins_a = margins(0, a), margins_b = margins(b, all);
        return {{static_cast<double>(n_), pair_sums(pairs, margins_a, margins_b),
                 self_sums(self.head(a), margins_a), self_sums(self.tail(all - b), margins_b)},
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

    // Few samples, many layers: a thread makes all tiles of a layer while its panels are in the cache, and forgets them.
    void form_layer_by_layer(const Sides& sides, const Kernel& kernel) {
        tiles_ = Buffer<T>(layers() * grid_.tiles() * tile_values_);
        std::vector<std::exception_ptr> failures(layers_.size());
        engine_.team.for_each_observed(layers(), [&](index l, int worker) {
            Team alone(1, [&](index, index) { engine_.team.poll(worker); });
            const Engine engine{engine_.level, alone};
            const Buffer<double> wide(sizeof(T) == 4 ? tile_values_ : 1);
            try {
                sides.at_layer(l, [&](index, const MatrixView& view) {
                    layer(l) = make_layer(l, view, kernel, engine);
                });
            } catch (const std::invalid_argument&) {  // to be reported in the order of the layers
                failures[static_cast<std::size_t>(l)] = std::current_exception();
                return;
            }
            for (index number = 0; number < grid_.tiles(); ++number)
                layer(l).fill(grid_, number, stored_tile(l, number), wide.data(), diagonals_.col(l).data(),
                              engine, 0);
            layer(l).panels = {};
            layer(l).kept = {};
            layer(l).centring.mean = {};
        });
        for (const std::exception_ptr& failure : failures)
            if (failure) std::rethrow_exception(failure);
    }

    T* stored_tile(index layer, index number) const {
        return tiles_.data() + (layer * grid_.tiles() + number) * tile_values_;
    }

    // Forms the tile of every layer, or finds it, and folds all their products into `out`.
    void fold(index number, Workspace<T>& workspace, double* out, int worker) {
        const auto& operations = engine_.operations<T>();
        const index width = operations.panel_width;
        const TileRange range = grid_[number];
        for (index l = 0; l < layers(); ++l) {
            const auto at = static_cast<std::size_t>(l);
            if (plan_.layer_by_layer)
                workspace.pointers[at] = stored_tile(l, number);
            else
                layers_[at].fill(grid_, number, workspace.tiles[at].data(), workspace.wide.data(),
                                 diagonals_.col(l).data(), engine_, worker);
            if (!centred_) add_row_sums(range, workspace.pointers[at], workspace, row_sums_[at]);
        }
        const index length = range.blocks(width) * width * width;
        const index all = layers(), a = layers_a_;
        const T* const* tiles = workspace.pointers.data();
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

    void add_row_sums(const TileRange& range, const T* tile, Workspace<T>& workspace, RowSums& sums) {
        const auto& operations = engine_.operations<T>();
        const index width = operations.panel_width;
        workspace.row.assign(static_cast<std::size_t>(range.row_panels(width) * width), 0.0);
        workspace.column.assign(static_cast<std::size_t>(range.column_panels(width) * width), 0.0);
        range.for_each_block(width, [&](index block, index row, index column) {
            operations.block_sums(tile + block * width * width, workspace.row.data() + row - range.first_row,
                                  workspace.column.data() + column - range.first_column);
        });
        sums.add(range.first_row, range.rows, workspace.row.data());
        sums.add(range.first_column, range.columns, workspace.column.data());
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
                row_sums_[static_cast<std::size_t>(l)].copy_to(margins.row_sums.col(l - first).data());
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
    Buffer<T> tiles_;  // of all layers, layer by layer; or empty
    std::vector<RowSums> row_sums_;
    Eigen::MatrixXd diagonals_;
    Eigen::VectorXd products_;
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
