// SPDX-License-Identifier: BSD-3-Clause
#include "sums/moments.hpp"

#include "base/errors.hpp"
#include "simd/dispatch.hpp"

#include <cmath>
#include <numeric>
#include <stdexcept>
#include <utility>

namespace fastcka {
namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;

template <class T> MatrixView rows_of(const Buffer<T>& rows, index samples, index width) {
    const index size = static_cast<index>(sizeof(T));
    return {reinterpret_cast<const std::byte*>(rows.data()),         samples, width, width * size, size,
            sizeof(T) == sizeof(float) ? Element::f32 : Element::f64};
}

MatrixView part_of(const MatrixView& view, index first_row, index rows, index first_column, index columns) {
    return {
        view.at(first_row, first_column), rows, columns, view.row_stride, view.column_stride, view.element};
}

template <class T> void check_values(const std::vector<MatrixView>& batch, const Engine& engine) {
    const auto& operations = engine.operations<T>();
    engine.team.for_each(static_cast<index>(batch.size()), [&](index layer, int) {
        const MatrixView& view = batch[static_cast<std::size_t>(layer)];
        if (operations.copy_rows(view, nullptr)) return;
        index row = 0, column = 0;
        while (operations.copy_rows(part_of(view, row, 1, 0, view.columns), nullptr)) ++row;
        T value = 0;
        while (operations.copy_rows(part_of(view, row, 1, column, 1), &value)) ++column;
        if (!std::isfinite(value)) throw NonFinite(0, layer, row, column);
        throw std::invalid_argument(
            "values so large that their sum overflows; divide them by a constant first");
    });
}

template <class T> index side_of_tiles(const LayerSet& set) {
    return tile_side(panel_width_of(current_level(), precision_of<T>), largest_tile,
                     [&](index side) { return feature_tile_count(set, side); });
}

}  // namespace

template <class T>
Moments<T>::Moments(LayerSet set)
    : set_(std::move(set)), side_(side_of_tiles<T>(set_)), tiles_(feature_tiles(set_, side_)) {
    const index layers = set_.count();
    pair_number_.setConstant(layers, layers, -1);
    scale_.assign(static_cast<std::size_t>(layers), 1.0);
    small_.rr.setZero(layers, layers);
    small_.r.setZero(layers);
    for (index p : set_.widths()) {
        shift_.push_back(VectorXd::Zero(p));
        small_.z.push_back(VectorXd::Zero(p));
        small_.zr.push_back(MatrixXd::Zero(p, layers));
        pending_.emplace_back(stream_block * p);
    }
    set_.for_each_pair([&](index i, index j) {
        pair_number_(i, j) = static_cast<int>(products_.size());
        const index p = set_.width(i), q = set_.width(j);
        products_.push_back({p, q, Buffer<double>(p * q)});
    });
}

template <class T> index Moments<T>::state_bytes(const LayerSet& set) {
    const index width = std::accumulate(set.widths().begin(), set.widths().end(), index{0});
    index values = width * (2 + set.count());
    set.for_each_pair([&](index i, index j) { values += set.width(i) * set.width(j); });
    // rows waiting for a block, and their packed copies
    return values * 8 + 2 * stream_block * (width + 64 * set.count()) * static_cast<index>(sizeof(T));
}

template <class T> void Moments<T>::set_counts(index folded, index pending) {
    if (folded < 0 || pending < 0 || pending >= stream_block)
        throw std::invalid_argument("a stream never holds that many samples");
    small_.samples = static_cast<double>(folded);
    has_products_ = folded > 0;
    pending_samples_ = pending;
}

template <class T> void Moments<T>::update(const std::vector<MatrixView>& batch, Team& team) {
    const Engine engine{current_level(), team};
    for (std::size_t l = 0; l < batch.size(); ++l)
        if (batch.size() != set_.widths().size() || batch[l].columns != set_.widths()[l] ||
            batch[l].rows != batch.front().rows)
            throw std::invalid_argument("a batch does not have the layers of the stream");
    check_values<T>(batch, engine);
    settle(team);
    const index samples = batch.front().rows;
    for (index first = 0; first < samples;) {
        const index count = std::min(samples - first, stream_block - pending_samples_);
        append(batch, first, count, engine);
        first += count;
        if (pending_samples_ == stream_block) fold(engine);
    }
}

template <class T>
void Moments<T>::append(const std::vector<MatrixView>& batch, index first, index count,
                        const Engine& engine) {
    engine.team.for_each(set_.count(), [&](index layer, int) {
        const auto l = static_cast<std::size_t>(layer);
        engine.operations<T>().copy_rows(part_of(batch[l], first, count, 0, batch[l].columns),
                                         pending_[l].data() + pending_samples_ * batch[l].columns);
    });
    pending_samples_ += count;
}

// Packs the pending samples about their mean and adds their small moments to `small`. The first block of a stream decides
// `scale` and `shift`.
template <class T>
typename Moments<T>::Block Moments<T>::pack_pending(std::vector<double>& scale, std::vector<VectorXd>& shift,
                                                    SmallMoments& small, const Engine& engine) const {
    const auto& operations = engine.operations<T>();
    const index layers = set_.count(), samples = pending_samples_, width = operations.panel_width;
    const bool first_block = small.samples == 0;
    Block block;
    block.samples = static_cast<double>(samples);
    MatrixXd r(samples, layers);
    for (index layer = 0; layer < layers; ++layer) {
        const auto l = static_cast<std::size_t>(layer);
        const MatrixView rows = rows_of(pending_[l], samples, set_.width(layer));
        const Centring centring = centring_of(rows, nullptr, engine);
        const Eigen::Map<const VectorXd> mean(centring.mean.data(), set_.width(layer));
        if (first_block) {
            scale[l] = centring.scale;
            shift[l] = mean;
        }
        const double factor = scale[l] / centring.scale;  // a power of two
        const VectorXd offset = scale[l] * (mean - shift[l]);
        SampleSums sums;
        block.panels.push_back(pack<T>(rows, false, &centring, nullptr,
                                       {offset.data(), offset.data() + offset.size()}, sums, engine));
        block.factor.push_back(factor);
        block.offset.push_back(offset);
        r.col(layer) = factor * factor * Eigen::Map<const VectorXd>(sums.squared.data(), samples) +
                       2 * factor * Eigen::Map<const VectorXd>(sums.projections.data(), samples);
        r.col(layer).array() += offset.squaredNorm();
    }
    const VectorXd total = r.colwise().sum();
    for (index layer = 0; layer < layers; ++layer) {
        const auto l = static_cast<std::size_t>(layer);
        const Panels<T>& panels = block.panels[l];
        Eigen::MatrixXd zr = MatrixXd::Zero(panels.count() * width, layers);
        engine.team.for_each(panels.count(), [&](index panel, int) {
            for (index k = 0; k < samples; k += coordinate_block)
                operations.weighted_sums(panels.operand(k, panel * width, width).panels,
                                         Panels<T>::block_size(k, samples), r.data() + k, samples, layers,
                                         zr.data() + panel * width, zr.rows());
        });
        small.zr[l] += block.factor[l] * zr.topRows(set_.width(layer)) + block.offset[l] * total.transpose();
        small.z[l] += block.samples * block.offset[l];
    }
    small.rr += r.transpose() * r;
    small.r += total;
    small.samples += block.samples;
    return block;
}

// use(tile number, pair number, i, j, count, values): row i of a pair's sum z z', from column j on, with the block's
// share; of a layer with itself only what is on and above the diagonal. All rows of a tile or, when the observer stops the
// team, none: `done` knows the tiles, and those that it has already are left out.
template <class T>
template <class Use>
void Moments<T>::for_each_row(const Block& block, const Engine& engine, std::vector<unsigned char>& done,
                              Use&& use) const {
    const index width = engine.operations<T>().panel_width;
    struct Memory {
        Buffer<T> values;
        Buffer<double> wide;
        std::vector<double> row;
    };
    std::vector<Memory> memory;  // all of it now: nothing may fail once rows are being used
    for (int worker = 0; worker < engine.team.threads(); ++worker)
        memory.push_back({Buffer<T>(side_ * side_), Buffer<double>(side_ * side_),
                          std::vector<double>(static_cast<std::size_t>(width))});
    engine.team.for_each(static_cast<index>(tiles_.size()), [&](index number, int worker) {
        if (done[static_cast<std::size_t>(number)]) return;
        const FeatureTile& tile = tiles_[static_cast<std::size_t>(number)];
        const auto left = static_cast<std::size_t>(tile.left), right = static_cast<std::size_t>(tile.right);
        const int pair = pair_number_(tile.left, tile.right);
        const auto products = products_[static_cast<std::size_t>(pair)].matrix();
        Memory& mine = memory[static_cast<std::size_t>(worker)];
        const double* formed = mine.wide.data();
        if (block.samples > 0 && !tile_products(block.panels[left], block.panels[right], tile.range, 0,
                                                static_cast<index>(block.samples), mine.values.data(),
                                                mine.wide.data(), engine, worker))
            engine.operations<T>().carry(mine.values.data(), tile.range.blocks(width) * width * width, true,
                                         mine.wide.data());
        std::vector<double>& row = mine.row;
        tile.range.for_each_block(width, [&](index b, index first_row, index first_column) {
            const index rows = std::min(width, tile.range.first_row + tile.range.rows - first_row);
            const index last = std::min(first_column + width, tile.range.first_column + tile.range.columns);
            for (index i = first_row; i < first_row + rows; ++i) {
                const index j = tile.left == tile.right ? std::max(i, first_column) : first_column;
                const double* products_here = formed + (b * width + i - first_row) * width + j - first_column;
                const double here = block.samples > 0 ? block.samples * block.offset[left](i) : 0;
                const double unit = block.samples > 0 ? block.factor[left] * block.factor[right] : 1;
                for (index k = 0; k < last - j; ++k) {
                    row[static_cast<std::size_t>(k)] = has_products_ ? products(i, j + k) : 0.0;
                    if (block.samples > 0)
                        row[static_cast<std::size_t>(k)] +=
                            unit * products_here[k] + here * block.offset[right](j + k);
                }
                use(number, pair, i, j, last - j, row.data());
            }
        });
        done[static_cast<std::size_t>(number)] = 1;
    });
}

template <class T> void Moments<T>::fold(const Engine& engine) {
    if (!unfinished_) {
        Fold begun{scale_, shift_, small_, {}, std::vector<unsigned char>(tiles_.size())};
        begun.block = pack_pending(begun.scale, begun.shift, begun.small, engine);
        unfinished_ = std::move(begun);
        if (!has_products_)  // the lower half of a layer with itself is never written, but saved
            for (index l = 0; l < set_.count(); ++l) {
                const Products& own = products_[static_cast<std::size_t>(pair_number_(l, l))];
                std::fill_n(own.values.data(), own.size(), 0.0);
            }
    }
    for_each_row(unfinished_->block, engine, unfinished_->done,
                 [&](index, int pair, index i, index j, index count, const double* values) {
                     const Products& products = products_[static_cast<std::size_t>(pair)];
                     std::copy_n(values, count, products.values.data() + i * products.columns + j);
                 });
    scale_ = std::move(unfinished_->scale);
    shift_ = std::move(unfinished_->shift);
    small_ = std::move(unfinished_->small);
    unfinished_.reset();
    has_products_ = true;
    pending_samples_ = 0;
}

template <class T> void Moments<T>::settle(Team& team) {
    if (pending_samples_ == stream_block) fold(Engine{current_level(), team});
}

template <class T> LinearSums Moments<T>::result(Team& team) const {
    const Engine engine{current_level(), team};
    std::vector<double> scale = scale_;
    std::vector<VectorXd> shift = shift_;
    SmallMoments small = small_;
    const Block block = pending_samples_ > 0 ? pack_pending(scale, shift, small, engine) : Block{};
    const double n = small.samples;
    const index layers = set_.count();

    // About the mean: sum z z' - n d d' with d = sum z / n. Its squares, tile by tile, and d' (sum z z') d on the way.
    std::vector<VectorXd> d;
    for (const VectorXd& z : small.z) d.push_back(z / n);
    std::vector<double> squares(tiles_.size(), 0.0), quadratic(tiles_.size(), 0.0);
    std::vector<unsigned char> done(tiles_.size());
    for_each_row(block, engine, done,
                 [&](index number, int, index i, index j, index count, const double* values) {
                     const auto t = static_cast<std::size_t>(number);
                     const FeatureTile& tile = tiles_[t];
                     const double here = d[static_cast<std::size_t>(tile.left)](i);
                     const double* there = d[static_cast<std::size_t>(tile.right)].data() + j;
                     double square = 0, bilinear = 0;
                     for (index k = 0; k < count; ++k) {
                         const double weight = tile.left == tile.right && i != j + k ? 2 : 1;
                         const double centred = values[k] - n * here * there[k];
                         square += weight * centred * centred;
                         bilinear += weight * values[k] * there[k];
                     }
                     squares[t] += square;
                     quadratic[t] += here * bilinear;
                 });
    MatrixXd inner = MatrixXd::Zero(layers, layers), dzzd = inner;  // ||X'Y||^2 and d' (sum z z') d
    for (std::size_t t = 0; t < tiles_.size(); ++t) {
        inner(tiles_[t].left, tiles_[t].right) += squares[t];
        dzzd(tiles_[t].left, tiles_[t].right) += quadratic[t];
    }

    // Squared norms about the mean, r - 2 d'z + |d|^2: their sums and the sums of their products, as in moved().
    VectorXd total(layers);
    MatrixXd diagonals = MatrixXd::Zero(layers, layers);
    const auto norm = [&](index l) { return d[static_cast<std::size_t>(l)].squaredNorm(); };
    for (index l = 0; l < layers; ++l) total(l) = small.r(l) - n * norm(l);
    set_.for_each_pair([&](index i, index j) {
        const auto at = [&](index of, index by) {
            return d[static_cast<std::size_t>(of)].dot(small.zr[static_cast<std::size_t>(of)].col(by));
        };
        diagonals(i, j) = small.rr(i, j) - 2 * at(j, i) - 2 * at(i, j) + 4 * dzzd(i, j) +
                          norm(j) * small.r(i) + norm(i) * small.r(j) - 3 * n * norm(i) * norm(j);
    });

    // Centred Gram matrices have rows that sum to zero: what is off the diagonal sums to minus the diagonal.
    const auto sums = [&](const MatrixXd& squares_of_pairs, const MatrixXd& diagonals_of_pairs,
                          const MatrixXd& totals) {
        const Eigen::ArrayXXd zero = Eigen::ArrayXXd::Zero(totals.rows(), totals.cols());
        return PairSums{(squares_of_pairs - diagonals_of_pairs).array(),
                        diagonals_of_pairs.array(),
                        diagonals_of_pairs.array(),
                        totals.array(),
                        zero,
                        zero,
                        squares_of_pairs.array().abs() + diagonals_of_pairs.array().abs(),
                        diagonals_of_pairs.array() - totals.array() / n,
                        totals.array()};
    };
    const MatrixXd full = inner.selfadjointView<Eigen::Upper>(),
                   full_diagonals = diagonals.selfadjointView<Eigen::Upper>();
    const auto wanted = [&](const MatrixXd& of_all) -> MatrixXd {
        return of_all.block(0, set_.first_column(), set_.rows(), set_.columns());
    };
    LinearSums out;
    out.sums = {n, sums(wanted(full), wanted(full_diagonals), wanted(total * total.transpose())),
                sums(full.diagonal(), full_diagonals.diagonal(), total.array().square())};
    for (index l = 0; l < layers; ++l) {
        LayerNote note;
        if (full(l, l) == 0) note.status = Status::constant;
        note.unit = 1 / (scale[static_cast<std::size_t>(l)] * scale[static_cast<std::size_t>(l)]);
        out.layers.push_back(note);
    }
    return out;
}

template <class T> void Moments<T>::merge(const Moments& other, Team& team) {
    if (other.small_.samples > 0 && small_.samples == 0) {
        scale_ = other.scale_;
        shift_ = other.shift_;
        small_ = other.small_;
        for (std::size_t k = 0; k < products_.size(); ++k)
            std::copy_n(other.products_[k].values.data(), products_[k].size(), products_[k].values.data());
        has_products_ = true;
    } else if (other.small_.samples > 0) {
        std::vector<double> factor;
        std::vector<VectorXd> e;  // from the other origin to ours
        for (std::size_t l = 0; l < scale_.size(); ++l) {
            factor.push_back(scale_[l] / other.scale_[l]);
            e.push_back(scale_[l] * (other.shift_[l] - shift_[l]));
        }
        const auto products = [&](index i, index j) -> MatrixXd {
            const MatrixXd upper = other.products_[static_cast<std::size_t>(pair_number_(i, j))].matrix();
            return i == j ? MatrixXd(upper.selfadjointView<Eigen::Upper>()) : upper;
        };
        const SmallMoments theirs = moved(other.small_, set_, factor, e, products);
        // Nothing fails from here on. Of a layer with itself only what is on and above the diagonal.
        team.for_each(static_cast<index>(tiles_.size()), [&](index number, int) {
            const auto [left, right, range] = tiles_[static_cast<std::size_t>(number)];
            const auto l = static_cast<std::size_t>(left), m = static_cast<std::size_t>(right);
            const auto pair = static_cast<std::size_t>(pair_number_(left, right));
            auto mine = products_[pair].matrix();
            const auto theirs_here = other.products_[pair].matrix();
            const index last = range.first_column + range.columns;
            for (index i = range.first_row; i < range.first_row + range.rows; ++i) {
                const index j = left == right ? std::max(i, range.first_column) : range.first_column;
                const double of_e = factor[l] * other.small_.z[l](i) + other.small_.samples * e[l](i);
                mine.row(i).segment(j, last - j) +=
                    factor[l] * factor[m] * theirs_here.row(i).segment(j, last - j) +
                    of_e * e[m].segment(j, last - j).transpose() +
                    factor[m] * e[l](i) * other.small_.z[m].segment(j, last - j).transpose();
            }
        });
        for (std::size_t l = 0; l < scale_.size(); ++l) {
            small_.z[l] += theirs.z[l];
            small_.zr[l] += theirs.zr[l];
        }
        small_.rr += theirs.rr;
        small_.r += theirs.r;
        small_.samples += theirs.samples;
    }
    if (other.pending_samples_ == 0) return;
    std::vector<MatrixView> pending;
    for (std::size_t l = 0; l < scale_.size(); ++l)
        pending.push_back(rows_of(other.pending_[l], other.pending_samples_, set_.widths()[l]));
    update(pending, team);
}

template class Moments<float>;
template class Moments<double>;

}  // namespace fastcka
