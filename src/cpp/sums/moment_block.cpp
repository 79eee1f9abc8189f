// SPDX-License-Identifier: BSD-3-Clause
#include "sums/moment_block.hpp"

#include "sums/massive_rows.hpp"

#include <utility>

namespace fastcka {

using Eigen::MatrixXd;
using Eigen::VectorXd;

namespace {

Eigen::Map<const VectorXd> vector_of(const std::vector<double>& values) {
    return {values.data(), static_cast<index>(values.size())};
}

}  // namespace

template <class T>
MomentBlock<T>::MomentBlock(std::vector<MatrixView> rows, const Engine& engine) : rows_(std::move(rows)) {
    if (samples() > 0)
        for (const MatrixView& layer : rows_) centring_.push_back(centring_of(layer, nullptr, engine));
}

template <class T> void MomentBlock<T>::make_room(Moments& moments, bool first) const {
    for (std::size_t l = 0; l < centring_.size(); ++l) {
        const auto mean = vector_of(centring_[l].mean);
        if (first) moments.origin[l] = mean;
        const double distance = (mean - moments.origin[l]).cwiseAbs().maxCoeff();
        moments.make_room(static_cast<index>(l), std::max(centring_[l].largest, distance));
    }
}

template <class T> void MomentBlock<T>::pack(const Moments& moments, const Engine& engine) {
    const index layers = moments.set.count();
    s_.setOnes(samples(), layers + 1);
    for (std::size_t l = 0; l < centring_.size(); ++l) {
        const Centring& centring = centring_[l];
        const double factor = centring.largest > 0 ? moments.scale[l] / centring.scale : 1;
        const VectorXd offset = moments.scale[l] * (vector_of(centring.mean) - moments.origin[l]);
        SampleSums sums;
        panels_.push_back(fastcka::pack<T>(rows_[l], false, &centring, nullptr,
                                           {offset.data(), offset.data() + offset.size()}, sums, engine));
        s_.col(static_cast<index>(l)) = factor * factor * vector_of(sums.squared) +
                                        2 * factor * vector_of(sums.projections) +
                                        VectorXd::Constant(samples(), offset.squaredNorm());
        squared_.push_back(std::move(sums.squared));
        factor_.push_back(factor);
        offset_.push_back(offset);
    }
}

template <class T> void MomentBlock<T>::add_to(Moments& moments, const Engine& engine) const {
    const auto& operations = engine.operations<T>();
    const index width = operations.panel_width, n = samples();
    const VectorXd total = s_.colwise().sum();
    for (std::size_t l = 0; l < panels_.size(); ++l) {
        const Panels<T>& panels = panels_[l];
        MatrixXd sums = MatrixXd::Zero(panels.count() * width, s_.cols());  // sum packed s'
        engine.team.for_each(panels.count(), [&](index panel, int) {
            for (index k = 0; k < n; k += coordinate_block)
                operations.weighted_sums(panels.operand(k, panel * width, width).panels,
                                         Panels<T>::block_size(k, n), s_.data() + k, n, s_.cols(),
                                         sums.data() + panel * width, sums.rows());
        });
        moments.zs[l] += factor_[l] * sums.topRows(panels.vectors()) + offset_[l] * total.transpose();
    }
    moments.ss += s_.transpose() * s_;
}

template <class T>
const double* MomentBlock<T>::form(const FeatureTile& tile, const TileMemory<T>& memory, const Engine& engine,
                                   int worker) const {
    const Panels<T>&left = panels_[static_cast<std::size_t>(tile.left)],
          &right = panels_[static_cast<std::size_t>(tile.right)];
    const index size = left.width() * left.width();
    if (!tile_products(left, right, tile.range, 0, samples(), memory.values.data(), memory.wide.data(),
                       engine, worker))
        engine.operations<T>().carry(memory.values.data(), tile.range.blocks(left.width()) * size, true,
                                     memory.wide.data());
    return memory.wide.data();
}

template <class T>
void MomentBlock<T>::add_products(const FeatureTile& tile, const double* formed, bool overwrite,
                                  double* target, index stride) const {
    const index left = tile.left, right = tile.right;  // no bindings: clang 14 has them in no lambda
    const TileRange& range = tile.range;
    const auto l = static_cast<std::size_t>(left), r = static_cast<std::size_t>(right);
    const double unit = factor_[l] * factor_[r], n = static_cast<double>(samples());
    const index width = panels_[l].width();
    range.for_each_block(width, [&](index block, index first_row, index first_column) {
        const index last_row = std::min(first_row + width, range.first_row + range.rows);
        const index last = std::min(first_column + width, range.first_column + range.columns);
        for (index i = first_row; i < last_row; ++i) {
            const index j = left == right ? std::max(i, first_column) : first_column;
            const double* products = formed + (block * width + i - first_row) * width + j - first_column;
            const double* there = offset_[r].data() + j;
            const double here = n * offset_[l](i);
            double* out = target + (i - range.first_row) * stride + j - range.first_column;
            for (index k = 0; k < last - j; ++k)
                out[k] = (overwrite ? 0.0 : out[k]) + (unit * products[k] + here * there[k]);
        }
    });
}

void Addition::make_room(bool first) {
    if (narrow.samples() > 0) narrow.make_room(moments, first);
    if (wide.samples() > 0) wide.make_room(moments, first && narrow.samples() == 0);
}

void Addition::pack(const Engine& engine) {
    const auto pack = [&](auto& block) {
        if (block.samples() == 0) return;
        block.pack(moments, engine);
        block.add_to(moments, engine);
    };
    pack(narrow), pack(wide);
}

bool Addition::may_have_massive_rows() const {
    for (index l = 0; l < moments.set.count(); ++l)
        if ((narrow.samples() > 0 && may_be_massive(narrow.squared_norms(l))) ||
            (wide.samples() > 0 && may_be_massive(wide.squared_norms(l))))
            return true;
    return false;
}

std::vector<Addition::Memory> Addition::memory(index side, const Engine& engine) const {
    std::vector<Memory> all(static_cast<std::size_t>(engine.team.threads()));
    for (Memory& one : all) {
        if (narrow.samples() > 0) one.narrow = TileMemory<float>(side);
        if (wide.samples() > 0) one.wide = TileMemory<double>(side);
    }
    return all;
}

Addition::Formed Addition::form(const FeatureTile& tile, const Memory& memory, const Engine& engine,
                                int worker) const {
    return {narrow.samples() > 0 ? narrow.form(tile, memory.narrow, engine, worker) : nullptr,
            wide.samples() > 0 ? wide.form(tile, memory.wide, engine, worker) : nullptr};
}

void Addition::write(const FeatureTile& tile, const Formed& formed, const CrossProducts& zz,
                     const Moments& before, double* target, index stride) const noexcept {
    const auto& [left, right, range] = tile;
    const auto l = static_cast<std::size_t>(left), r = static_cast<std::size_t>(right);
    const double unit = moments.scale[l] / before.scale[l] * (moments.scale[r] / before.scale[r]);
    const double* const here = zz.at(tile);
    const index across = moments.set.width(right);
    bool overwrite = zz.empty;
    if (zz.empty ? formed.narrow == nullptr && formed.wide == nullptr : target != here || unit != 1)
        for (index i = 0; i < range.rows; ++i)
            for (index j = left == right ? std::max<index>(range.first_row + i - range.first_column, 0) : 0;
                 j < range.columns; ++j)
                target[i * stride + j] = zz.empty ? 0.0 : unit * here[i * across + j];
    if (formed.narrow)
        narrow.add_products(tile, formed.narrow, std::exchange(overwrite, false), target, stride);
    if (formed.wide) wide.add_products(tile, formed.wide, overwrite, target, stride);
}

template class MomentBlock<float>;
template class MomentBlock<double>;

}  // namespace fastcka
