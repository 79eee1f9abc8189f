// SPDX-License-Identifier: BSD-3-Clause
#include "measure/bandwidth.hpp"
#include "measure/routes.hpp"

#include <atomic>
#include <cmath>
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

// A worker's memory: one tile of every layer, and row sums of one.
template <class T> struct Workspace {
    std::vector<Buffer<T>> tiles;
    std::vector<const T*> pointers;
    Buffer<double> wide;
    std::vector<double> row, column;

    Workspace(std::size_t layers, index side, index values)
        : wide(sizeof(T) == 4 ? values : 1), row(static_cast<std::size_t>(side)),
          column(static_cast<std::size_t>(side)) {
        for (std::size_t l = 0; l < layers; ++l) {
            tiles.emplace_back(values);
            pointers.push_back(tiles.back().data());
        }
    }
};

// All layers of both sides, a first, and the sums that their tiles are folded into.
template <class T> class GramSweep {
  public:
    GramSweep(const Sides& sides, const Kernel& kernel, const Plan& plan, const Engine& engine)
        : engine_(engine), plan_(plan), centred_(kernel.is_centred()), n_(sides.a.front().rows),
          grid_(n_, plan.tile) {
        const auto add = [&](const MatrixView& view) {
            layers_.push_back(make_gram_layer<T>(view, kernel, false, engine));
            if (kernel.needs_median()) set_bandwidth(layers_.back(), kernel);
        };
        make_each(sides.a, 0, add);
        layers_a_ = layers_.size();
        if (sides.b) make_each(*sides.b, 1, add);
        if (!centred_)
            for (const GramLayer<T>& layer : layers_) row_sums_.emplace_back(n_, layer.bound);
        // For one pair, the products of both with both are as cheap as the three that are needed.
        joint_ = !sides.b || layers_.size() == 2;
        diagonals_.setZero(n_, static_cast<index>(layers_.size()));
    }

    void run() {
        const index stride = static_cast<index>(layers_.size());
        const index entries =
            joint_ ? stride * stride
                   : static_cast<index>(layers_a_) * (stride - static_cast<index>(layers_a_)) + stride;
        std::vector<double> partials(static_cast<std::size_t>(plan_.partials * entries), 0.0);
        std::vector<std::unique_ptr<Workspace<T>>> workspaces(
            static_cast<std::size_t>(engine_.team.threads()));
        engine_.team.for_each_observed(plan_.partials, [&](index part, int worker) {
            auto& workspace = workspaces[static_cast<std::size_t>(worker)];
            if (!workspace)
                workspace = std::make_unique<Workspace<T>>(
                    layers_.size(), plan_.tile, grid_.tile_values(engine_.operations<T>().panel_width));
            const index first = part * grid_.tiles() / plan_.partials,
                        last = (part + 1) * grid_.tiles() / plan_.partials;
            for (index number = first; number < last; ++number)
                fold(number, *workspace, partials.data() + part * entries, worker);
        });
        products_.setZero(entries);
        for (index part = 0; part < plan_.partials; ++part)
            products_ += Eigen::Map<const Eigen::VectorXd>(partials.data() + part * entries, entries);
        products_ *= 2;  // tiles hold what is above the diagonal
    }

    RouteResult result(bool two_sided) const {
        const index a = static_cast<index>(layers_a_), all = static_cast<index>(layers_.size());
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
    void set_bandwidth(GramLayer<T>& layer, const Kernel& kernel) {
        if (layer.status != Status::fine) {  // any bandwidth will do: its values will not count
            set_sigma(layer, 1.0);
            layer.sigma = not_given;
            return;
        }
        const bool keep = kept_layers_++ < plan_.kept_layers;
        const double median = median_squared_distance(layer, grid_, kernel.offdiagonal, keep, engine_);
        if (median > 0) return set_sigma(layer, kernel.bandwidth * std::sqrt(median) / layer.centring.scale);
        layer.status = Status::zero_bandwidth;
        set_sigma(layer, 1.0);
        layer.sigma = 0;
    }

    // Forms the tile of every layer and folds all their products into `out`.
    void fold(index number, Workspace<T>& workspace, double* out, int worker) {
        const auto& operations = engine_.operations<T>();
        const index width = operations.panel_width;
        const TileRange range = grid_[number];
        for (std::size_t l = 0; l < layers_.size(); ++l) {
            T* tile = workspace.tiles[l].data();
            layers_[l].fill(grid_, number, tile, workspace.wide.data(),
                            diagonals_.col(static_cast<index>(l)).data(), engine_, worker);
            if (!centred_) add_row_sums(range, tile, workspace, row_sums_[l]);
        }
        const index length = range.blocks(width) * width * width;
        const index all = static_cast<index>(layers_.size()), a = static_cast<index>(layers_a_);
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
    std::vector<GramLayer<T>> layers_;
    std::size_t layers_a_ = 0;
    index kept_layers_ = 0;
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
