// SPDX-License-Identifier: BSD-3-Clause
#include "compare/stream.hpp"

#include "base/errors.hpp"
#include "simd/dispatch.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <utility>

namespace fastcka {
namespace {

// Reports the first value of a layer that copy_rows() rejects.
[[noreturn]] void report_bad_value(const MatrixView& view, Precision precision, const Engine& engine) {
    const auto fits = [&](const MatrixView& part) {
        return precision == Precision::float64 ? engine.operations<double>().copy_rows(part, nullptr)
                                               : engine.operations<float>().copy_rows(part, nullptr);
    };
    index i = 0, j = 0;  // within the layer, even if another thread changes its values meanwhile
    while (i + 1 < view.rows && fits(view.part(i, 1, 0, view.columns))) ++i;
    while (j + 1 < view.columns && fits(view.part(i, 1, j, 1))) ++j;
    double value = 0;
    engine.operations<double>().copy_rows(view.part(i, 1, j, 1), &value);
    if (!std::isfinite(value)) throw NonFinite(0, 0, i, j);
    throw std::invalid_argument(
        precision == Precision::float64
            ? "values so large that their sum overflows; divide them by a constant first"
            : "values beyond the range of float32; divide them by a constant first");
}

index tile_side_of(const LayerSet& set, Precision precision) {
    return tile_side(panel_width_of(current_level(), precision), largest_tile,
                     [&](index side) { return feature_tile_count(set, side); });
}

// The largest z of massive samples: fourth powers of it are summed.
constexpr double largest_z = 0x1p200;

// Lowers the scale of the moments for samples that are kept apart.
void make_room(const SampleRows& apart, Moments& moments) {
    for (index l = 0; l < moments.set.count(); ++l) {
        const Eigen::VectorXd& origin = moments.origin[static_cast<std::size_t>(l)];
        double largest = 0;
        for (index i = 0; i < apart.count(); ++i)
            for (index j = 0; j < origin.size(); ++j)
                largest = std::max(largest, std::abs(apart.value(l, i, j) - origin(j)));
        moments.make_room(l, largest / largest_z);
    }
}

SampleRows ordinary_rows(const SampleRows& block, const std::vector<double>& shares, const LayerSet& set,
                         Precision precision) {
    SampleRows ordinary(set, precision, block.count() + most_massive_rows);
    for (index i = 0; i < block.count(); ++i)
        if (shares[static_cast<std::size_t>(i)] == 0) ordinary.append(block, i);
    return ordinary;
}

}  // namespace

Stream::Stream(const LayerSet& set, Precision precision)
    : set_(set), precision_(precision), zz_(set, tile_side_of(set, precision)), moments_(set),
      massive_(set, precision), pending_(set, precision, stream_block) {}

index Stream::state_bytes(const LayerSet& set, Precision precision) {
    const index width = std::accumulate(set.widths().begin(), set.widths().end(), index{0});
    index values = width * (2 + set.count());
    set.for_each_pair([&](index i, index j) { values += set.width(i) * set.width(j); });
    // Samples that wait or are kept apart, and the packed copy of a block, in which panels pad the features of each layer.
    constexpr index padding = 2 * 64;
    return values * 8 + SampleRows::bytes(set, precision, 2 * stream_block + most_massive_rows) +
           padding * stream_block * set.count() * (precision == Precision::float64 ? 8 : 4);
}

Stream::Counts Stream::counts() const {
    const double folded = moments_.samples();  // of a saved state: any number, or none
    return {folded >= 0 && folded < 0x1p60 ? static_cast<index>(folded) : -1, massive_.rows.count(),
            pending_.count()};
}

void Stream::set_counts(Counts counts) {
    if (counts.folded < 0 || counts.massive < 0 || counts.massive > most_massive_rows || counts.pending < 0 ||
        counts.pending >= stream_block || (counts.massive > 0 && counts.folded == 0))
        throw std::invalid_argument("a stream never holds that many samples");
    zz_.empty = counts.folded == 0;
    massive_.rows.set_count(counts.massive);
    massive_.shares.resize(static_cast<std::size_t>(counts.massive));
    pending_.set_count(counts.pending);
}

void Stream::check(const Layers& batch, const Engine& engine) const {
    const LayerSet set = batch.set();
    const bool same_rows = std::all_of(batch.sources.begin(), batch.sources.end(), [&](const Source& source) {
        return source.rows() == batch.samples();
    });
    if (set.widths() != set_.widths() || set.split() != set_.split() || !same_rows)
        throw std::invalid_argument("a batch does not have the layers of the stream");
    std::vector<unsigned char> good(static_cast<std::size_t>(set_.count()));
    engine.team.for_each(set_.count(), [&](index layer, int) {
        const auto at = static_cast<std::size_t>(layer);
        const MatrixView& view = batch.sources[at].view();
        good[at] = precision_ == Precision::float64 ? engine.operations<double>().copy_rows(view, nullptr)
                                                    : engine.operations<float>().copy_rows(view, nullptr);
    });
    // The first of them is named, whichever thread came first.
    const auto bad = std::find(good.begin(), good.end(), 0) - good.begin();
    if (bad < set_.count())
        batch.at(bad,
                 [&](index, const Source& source) { report_bad_value(source.view(), precision_, engine); });
}

void Stream::check(const Layers& batch, int threads, const Observer& observer) const {
    Team team(threads, observer);
    team.together([&] { check(batch, Engine{current_level(), team}); });
}

void Stream::update(const Layers& batch, int threads, const Observer& observer) {
    Team team(threads, observer);
    const Engine engine{current_level(), team};
    team.together([&] {
        check(batch, engine);
        settle(engine);
        std::vector<MatrixView> views;
        for (const Source& source : batch.sources) views.push_back(source.view());
        absorb(views, engine);
    });
}

void Stream::absorb(const std::vector<MatrixView>& batch, const Engine& engine) {
    const index samples = batch.front().rows;
    for (index first = 0; first < samples;) {
        const index count = std::min(samples - first, pending_.free());
        engine.team.for_each(set_.count(), [&](index layer, int) {
            const MatrixView& view = batch[static_cast<std::size_t>(layer)];
            const MatrixView part = view.part(first, count, 0, view.columns);
            std::byte* const place = pending_.at(layer, pending_.count());
            if (precision_ == Precision::float64)
                engine.operations<double>().copy_rows(part, reinterpret_cast<double*>(place));
            else
                engine.operations<float>().copy_rows(part, reinterpret_cast<float*>(place));
        });
        pending_.set_count(pending_.count() + count);
        first += count;
        settle(engine);
    }
}

// Packs a block. Massive samples for which there is no room apart are multiplied in float64.
Stream::Fold Stream::begin(Moments moments, const SampleRows& block, const std::vector<double>& shares,
                           Precision products, const Engine& engine) const {
    const bool all_ordinary =
        std::all_of(shares.begin(), shares.end(), [](double share) { return share == 0; });
    const bool wide = products == Precision::float64, first = moments.samples() == 0;
    Fold fold{{std::move(moments), {}, {}},
              MassiveRows(set_, precision_),
              std::vector<unsigned char>(zz_.tiles().size())};
    SampleRows ordinary, crowded_out;
    if (!all_ordinary) {
        ordinary = ordinary_rows(block, shares, set_, precision_);
        crowded_out = SampleRows(set_, precision_, block.count() + most_massive_rows);
    }
    fold.massive = massive_.with(block, shares, set_, precision_, wide ? ordinary : crowded_out);

    Addition& added = fold.added;
    std::vector<MatrixView> rows = all_ordinary ? block.views() : ordinary.views();
    if (!wide) added.narrow = MomentBlock<float>(std::move(rows), engine);
    added.wide = MomentBlock<double>(wide ? std::move(rows) : crowded_out.views(), engine);
    added.make_room(first);
    make_room(fold.massive.rows, added.moments);
    added.pack(engine);
    return fold;
}

Stream::Fold Stream::begin_pending(Precision products, const Engine& engine) const {
    const std::vector<double> ordinary(static_cast<std::size_t>(pending_.count()));
    {
        Fold fold = begin(moments_, pending_, ordinary, products, engine);
        if (!fold.added.may_have_massive_rows()) return fold;
    }  // its packed copy is freed before the next one is made
    return begin(moments_, pending_, massive_shares(pending_, set_, engine), products, engine);
}

// For a result with few pending samples: all of them are kept apart for it, so that nothing cancels.
Stream::Fold Stream::begin_few(const Engine& engine) const {
    Fold fold = begin(moments_, {}, {}, precision_, engine);
    SampleRows apart(set_, precision_, fold.massive.rows.count() + pending_.count());
    for (index i = 0; i < fold.massive.rows.count(); ++i) apart.append(fold.massive.rows, i);
    for (index i = 0; i < pending_.count(); ++i) apart.append(pending_, i);
    Moments& moments = fold.added.moments;
    if (moments.samples() == 0) {
        const SampleRows ordinary =
            ordinary_rows(pending_, massive_shares(pending_, set_, engine), set_, precision_);
        const SampleRows& first = ordinary.count() > 0 ? ordinary : pending_;
        MomentBlock<double>(first.views(), engine).make_room(moments, true);
    }
    make_room(apart, moments);
    fold.massive.rows = std::move(apart);
    return fold;
}

void Stream::finish(Fold& fold, const Engine& engine) {
    const std::vector<Addition::Memory> memory = fold.added.memory(zz_.side(), engine);
    engine.team.for_each(static_cast<index>(zz_.tiles().size()), [&](index number, int worker) {
        if (fold.done[static_cast<std::size_t>(number)]) return;
        const FeatureTile& tile = zz_.tiles()[static_cast<std::size_t>(number)];
        const auto formed = fold.added.form(tile, memory[static_cast<std::size_t>(worker)], engine, worker);
        fold.added.write(tile, formed, zz_, moments_, zz_.at(tile), set_.width(tile.right));
        fold.done[static_cast<std::size_t>(number)] = 1;
    });
    moments_ = std::move(fold.added.moments);
    massive_ = std::move(fold.massive);
    zz_.empty = false;
}

void Stream::settle(const Engine& engine) {
    if (!pending_.full()) return;
    if (!unfinished_) {
        unfinished_ = begin_pending(precision_, engine);
        if (zz_.empty)  // the lower half of a layer with itself is never written, but saved
            for (index l = 0; l < set_.count(); ++l) zz_.matrix(l, l).setZero();
    }
    finish(*unfinished_, engine);
    unfinished_.reset();
    pending_.set_count(0);
}

void Stream::settle(int threads, const Observer& observer) {
    Team team(threads, observer);
    team.together([&] { settle(Engine{current_level(), team}); });
}

void Stream::merge(Stream& other, int threads) {
    if (other.set_.widths() != set_.widths() || other.set_.split() != set_.split() ||
        other.precision_ != precision_)
        throw std::invalid_argument("a stream of other layers or another precision");
    settle(threads, {});
    other.settle(threads, {});
    Team team(threads);
    const Engine engine{current_level(), team};
    team.together([&] {
        if (other.moments_.samples() > 0) {
            if (moments_.samples() > 0)
                merge_moments(other, engine);
            else
                copy_moments(other);
        }
        if (other.pending_.count() > 0) absorb(other.pending_.views(), engine);
    });
}

void Stream::merge_moments(const Stream& other, const Engine& engine) {
    Moments moments = moments_;
    move_between(other.moments_, moments);  // room for them, before anything is packed
    Fold fold = begin(std::move(moments), other.massive_.rows, other.massive_.shares, precision_, engine);
    const Move move = move_between(other.moments_, fold.added.moments);
    add_moved(other.moments_, other.zz_, move, fold.added.moments);
    finish(fold, engine);
    engine.team.for_each(static_cast<index>(zz_.tiles().size()), [&](index number, int) {
        add_moved(other.moments_, other.zz_, move, zz_.tiles()[static_cast<std::size_t>(number)], zz_);
    });
}

void Stream::copy_moments(const Stream& other) {
    SampleRows none;
    massive_ = other.massive_.with({}, {}, set_, precision_, none);
    for (index pair = 0; pair < zz_.pairs(); ++pair) zz_.of_pair(pair) = other.zz_.of_pair(pair);
    moments_ = other.moments_;
    zz_.empty = false;
}

Alignment Stream::result(Estimator estimator, int threads, const Observer& observer) {
    const Formula& formula = formula_of(Measure::cka, estimator);
    if (samples() < formula.fewest_samples) throw std::invalid_argument("too few samples");
    settle(threads, observer);
    Team team(threads, observer);
    const Engine engine{current_level(), team};
    const bool nothing_folded = moments_.samples() == 0, few = pending_.count() <= few_samples;
    const auto align = [&](Precision products) {
        const bool exact =
            precision_ == Precision::float64 || (nothing_folded && (few || products == Precision::float64));
        const double known_up_to =
            exact ? largest_condition
                  : largest_condition_in_float32(estimator, true, static_cast<double>(samples()));
        LinearSums sums;
        team.together([&] {
            const Fold fold = few ? begin_few(engine) : begin_pending(products, engine);
            // Massive samples are apart: their terms were never float32.
            sums = linear_sums(zz_, moments_, fold.added, fold.massive.rows, known_up_to / largest_condition,
                               engine);
        });
        return alignment_of(sums.sums, set_, std::move(sums.layers), formula, known_up_to);
    };
    Alignment alignment = align(precision_);
    if (!nothing_folded || !has_too_coarse(alignment.layers)) return alignment;
    return align(Precision::float64);  // all samples are still there
}

}  // namespace fastcka
