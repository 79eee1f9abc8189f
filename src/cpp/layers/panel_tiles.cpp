// SPDX-License-Identifier: BSD-3-Clause
#include "layers/panel_tiles.hpp"

#include <algorithm>

namespace fastcka {
namespace {

// Squared norms from the same arithmetic as the inner products: equal samples are then at distance exactly zero.
template <class T> void self_products(const Panels<T>& panels, T* products, const Engine& engine) {
    const auto& operations = engine.operations<T>();
    const index width = panels.width();
    engine.team.for_each(panels.count(), [&](index panel, int) {
        T* out = products + panel * width;
        std::vector<double> wide(static_cast<std::size_t>(width));
        const index last = panels.coordinates();
        const bool carries = sizeof(T) == 4 && last > carry_interval;
        for (index k = 0; k < last; k += coordinate_block) {
            const index in_interval = k % carry_interval;
            operations.self_products(panels.operand(k, panel * width, width).panels,
                                     Panels<T>::block_size(k, last), carries ? in_interval == 0 : k == 0,
                                     out);
            if (carries && (k + coordinate_block >= last || in_interval + coordinate_block == carry_interval))
                operations.carry(out, width, k == in_interval, wide.data());
        }
        if (carries) operations.narrow(wide.data(), width, out);
    });
}

// Where a coordinate block of a vector starts in its panels.
template <class T> index place(const Panels<T>& panels, index coordinate, index vector) {
    const index within = vector % panels.width();
    return panels.operand(coordinate, vector - within, panels.width()).panels - panels.data() + within;
}

template <class T> void copy_vector(const Panels<T>& source, index from, const Panels<T>& target, index to) {
    const index width = source.width(), last = source.coordinates();
    for (index k = 0; k < last; k += coordinate_block) {
        const T* const read = source.data() + place(source, k, from);
        T* const written = target.data() + place(target, k, to);
        for (index i = 0; i < Panels<T>::block_size(k, last); ++i) written[i * width] = read[i * width];
    }
}

// Products read whole panels. Whatever lies in the padding would mark distances as near, and blocks be mended for it.
template <class T> void clear_padding(const Panels<T>& panels) {
    const index width = panels.width(), last = panels.coordinates();
    for (index vector = panels.vectors(); vector < panels.count() * width; ++vector)
        for (index k = 0; k < last; k += coordinate_block) {
            T* const written = panels.data() + place(panels, k, vector);
            for (index i = 0; i < Panels<T>::block_size(k, last); ++i) written[i * width] = T(0);
        }
}

}  // namespace

template <class T>
PanelTiles<T>::PanelTiles(SampleSource source, Form form, const Strips& strips, SampleSums& sums,
                          const Engine& engine)
    : samples_(source.source.rows()), width_(engine.operations<T>().panel_width),
      strip_(strips.samples > 0 ? strips.samples : samples_),
      most_held_(strips.samples > 0 ? strips.held : 0), source_(std::move(source)),
      strips_(static_cast<std::size_t>(ceil_divide(samples_, strip_))) {
    const bool projects = !source_.direction.empty();
    sums.squared.assign(static_cast<std::size_t>(samples_), 0.0);
    sums.projections.assign(projects ? static_cast<std::size_t>(samples_) : 0, 0.0);
    source_.direction.resize(static_cast<std::size_t>(projects ? source_.source.columns() + width_ : 0), 0.0);
    if (has_terms(form)) {
        const index padded = round_up(samples_, width_);
        terms_ = Buffer<T>(padded);
        std::fill_n(terms_.data(), padded, T(0));
    }
    const auto all = static_cast<index>(strips_.size());
    const index together = most_held_ > 0 ? most_held_ : all;
    for (index first = 0; first < all; first += together) {
        const Span group{first, std::min(all, first + together)};
        hold(group, group, &sums, engine);
        for (index strip = group.first; strip < group.last; ++strip) add_terms(form, strip, sums, engine);
    }
    if (most_held_ == 0) source_ = {};
}

template <class T>
void PanelTiles<T>::add_terms(Form form, index strip, const SampleSums& sums, const Engine& engine) {
    const Panels<T>& panels = strips_[static_cast<std::size_t>(strip)];
    T* const terms = terms_.data() + strip * strip_;
    if (form == Form::distances) self_products(panels, terms, engine);
    if (form == Form::about_the_origin)
        std::transform(sums.projections.begin() + strip * strip_,
                       sums.projections.begin() + strip * strip_ + panels.vectors(), terms,
                       [](double x) { return static_cast<T>(x); });
}

template <class T> void PanelTiles<T>::hold(Span rows, Span columns, SampleSums* sums, const Engine& engine) {
    if (source_.source.is_empty()) return;  // all samples are packed
    const auto spare = [&](index samples) {
        Panels<T> panels;
        if (spare_.empty()) {
            panels = Panels<T>(std::min(strip_, samples_), source_.source.columns(), width_);
        } else {
            panels = std::move(spare_.back());
            spare_.pop_back();
        }
        panels.set_vectors(samples);
        return panels;
    };
    std::vector<Span> missing;  // neighbours together
    for (index strip = 0; strip < static_cast<index>(strips_.size()); ++strip) {
        Panels<T>& panels = strips_[static_cast<std::size_t>(strip)];
        const bool wanted = rows.has(strip) || columns.has(strip), there = panels.data() != nullptr;
        if (!wanted && there) spare_.push_back(std::exchange(panels, {}));
        if (!wanted || there) continue;
        if (missing.empty() || missing.back().last != strip) missing.push_back({strip, strip});
        missing.back().last = strip + 1;
    }
    for (const Span& run : missing) {
        for (index strip = run.first; strip < run.last; ++strip)
            strips_[static_cast<std::size_t>(strip)] = spare(std::min(strip_, samples_ - strip * strip_));
        pack(run, sums, engine);
    }
}

template <class T> void PanelTiles<T>::pack(Span strips, SampleSums* sums, const Engine& engine) {
    const index first = strips.first * strip_, last = std::min(strips.last * strip_, samples_);
    source_.source.for_each_piece(first, last, width_, [&](const MatrixView& view, index from, index to) {
        // A task owns its samples, since it adds to their norms.
        engine.team.for_each(ceil_divide(to - from, width_), [&](index task, int worker) {
            const index sample = from + task * width_, strip = sample / strip_, start = strip * strip_;
            const Panels<T>& panels = strips_[static_cast<std::size_t>(strip)];
            Packing<T> job =
                packing_of(view.part(start, panels.vectors(), 0, view.columns), true,
                           source_.origin ? &*source_.origin : nullptr,
                           source_.rows ? source_.rows->factors(start) : RowFactors{},
                           source_.direction.empty() ? nullptr : source_.direction.data(), panels, sums);
            if (sums != nullptr) {
                job.squared_norms += start;
                job.projections += job.direction != nullptr ? start : 0;
            }
            pack_panel(job, (sample - start) / width_, panels.coordinates(), engine, worker);
        });
    });
}

template <class T> Held PanelTiles<T>::held_alone() const {
    if (most_held_ == 0 || most_held_ >= static_cast<index>(strips_.size())) return {};
    return {most_held_ - 1, 1};
}

template <class T> void PanelTiles<T>::release() {
    if (most_held_ == 0) return;
    for (Panels<T>& strip : strips_) strip = {};
    spare_.clear();
}

template <class T> PanelTiles<T> PanelTiles<T>::copy(index count, const Engine& engine) {
    PanelTiles copies;
    copies.samples_ = copies.strip_ = count;
    copies.width_ = width_;
    copies.terms_ = Buffer<T>(round_up(count, width_));
    std::fill_n(copies.terms_.data(), round_up(count, width_), T(0));
    release();
    const index all = static_cast<index>(strips_.size());
    const index together = holds_strips() ? std::max(most_held_ - ceil_divide(count, strip_), index{1}) : all;
    for (index first = 0; first < all; first += together) {
        const Span group{first, std::min(all, first + together)};
        hold(group, group, engine);
        const index features = strips_[static_cast<std::size_t>(first)].coordinates();
        if (first == 0) clear_padding(copies.strips_.emplace_back(count, features, width_));
        engine.team.for_each(copies.strips_.front().count(), [&](index panel, int) {
            for (index to = panel * width_; to < std::min(count, (panel + 1) * width_); ++to) {
                const index from = to * samples_ / count;
                if (!group.has(from / strip_)) continue;
                copies.terms_.data()[to] = terms_.data()[from];
                const Side there = side(from);
                copy_vector(there.panels, from - there.first, copies.strips_.front(), to);
            }
        });
    }
    return copies;
}

template <class T>
void PanelTiles<T>::products(const TileRange& range, T* tile, double* wide, const Engine& engine,
                             int worker) const {
    const Side left = side(range.first_row), right = side(range.first_column);
    gram_products(left.panels, right.panels,
                  {range.first_row - left.first, range.rows, range.first_column - right.first, range.columns,
                   range.triangle},
                  tile, wide, engine, worker);
}

template <class T>
template <class Visit>
void PanelTiles<T>::for_each_block(const TileRange& range, T* tile, Visit&& visit) const {
    const index width = width_, n = samples();
    range.for_each_block(width, [&](index number, index row, index column) {
        visit(tile + number * width * width, row, column, std::min(width, n - row),
              std::min(width, n - column));
    });
}

template <class T>
void PanelTiles<T>::mend(T* block, index row, index column, const KernelMap* map,
                         const Engine& engine) const {
    const auto& operations = engine.operations<T>();
    const Side left = side(row), right = side(column);
    const index width = width_, last = left.panels.coordinates();
    const index columns = std::min(width, samples() - column);
    alignas(64) T line[most_panel_width];
    std::vector<double> distances(static_cast<std::size_t>(width));
    for (index i = 0; i < std::min(width, samples() - row); ++i) {
        T* const values = block + i * width;
        // The distance of a sample to itself is always marked, and zero whatever its values.
        const index self = row == column ? i : -1;
        bool near = false;
        for (index j = 0; j < columns; ++j) near |= j != self && values[j] != values[j];
        if (!near && self < 0) continue;
        std::fill(distances.begin(), distances.end(), 0.0);
        for (index k = 0; near && k < last; k += coordinate_block)
            operations.squared_differences(left.panels.operand(k, row - left.first, width).panels, i,
                                           right.panels.operand(k, column - right.first, width).panels,
                                           Panels<T>::block_size(k, last), distances.data());
        std::transform(distances.begin(), distances.end(), line, [](double x) { return static_cast<T>(x); });
        if (map != nullptr) operations.apply_to_distances(*map, 1, columns, line);
        for (index j = 0; j < columns; ++j)
            if (values[j] != values[j]) values[j] = line[j];
    }
}

template <class T>
void PanelTiles<T>::fill_distances(const TileRange& range, T* tile, double* wide, const Engine& engine,
                                   int worker) const {
    products(range, tile, wide, engine, worker);
    for_each_block(range, tile, [&](T* block, index row, index column, index rows, index columns) {
        if (engine.operations<T>().squared_distances(terms_.data() + row, terms_.data() + column, rows,
                                                     columns, block))
            mend(block, row, column, nullptr, engine);
    });
}

template <class T>
void PanelTiles<T>::fill(const TileGrid& grid, index number, T* tile, double* wide, const Engine& engine,
                         int worker) const {
    const auto& operations = engine.operations<T>();
    const TileRange range = grid[number];
    if (kept_.data() != nullptr) {
        std::copy_n(kept_.data() + number * grid.tile_values(width_), range.blocks(width_) * width_ * width_,
                    tile);
        return for_each_block(range, tile, [&](T* block, index, index, index rows, index columns) {
            operations.apply_to_distances(map_, rows, columns, block);
        });
    }
    fill_range(range, tile, wide, engine, worker);
}

template <class T>
void PanelTiles<T>::fill_range(const TileRange& range, T* tile, double* wide, const Engine& engine,
                               int worker) const {
    products(range, tile, wide, engine, worker);
    if (terms_.data() == nullptr) return;
    const auto& operations = engine.operations<T>();
    for_each_block(range, tile, [&](T* block, index row, index column, index rows, index columns) {
        if (operations.apply(map_, terms_.data() + row, terms_.data() + column, rows, columns, block))
            mend(block, row, column, &map_, engine);
    });
}

template class PanelTiles<float>;
template class PanelTiles<double>;

}  // namespace fastcka
