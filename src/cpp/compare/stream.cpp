// SPDX-License-Identifier: BSD-3-Clause
#include "compare/stream.hpp"

#include <stdexcept>

namespace fastcka {

index Stream::state_bytes(const LayerSet& set, Precision precision) {
    return precision == Precision::float64 ? Moments<double>::state_bytes(set)
                                           : Moments<float>::state_bytes(set);
}

void Stream::update(const Layers& batch, int threads, const Observer& observer) {
    Team team(threads, observer);
    try {
        team.together(
            [&] { std::visit([&](auto& moments) { moments.update(batch.views, team); }, moments_); });
    } catch (const NonFinite& e) {
        if (e.layer < set_.split()) throw;
        throw NonFinite(1, e.layer - set_.split(), e.row, e.column);
    }
}

void Stream::merge(Stream& other, int threads) {
    Team team(threads);  // without an observer: a merger cannot be done by half
    settle(threads, {});
    other.settle(threads, {});
    team.together([&] {
        std::visit(
            [&](auto& mine) { mine.merge(std::get<std::decay_t<decltype(mine)>>(other.moments_), team); },
            moments_);
    });
}

void Stream::settle(int threads, const Observer& observer) {
    Team team(threads, observer);
    team.together([&] { std::visit([&](auto& moments) { moments.settle(team); }, moments_); });
}

Alignment Stream::result(Estimator estimator, int threads, const Observer& observer) {
    const Form& form = form_of(Measure::cka, estimator);
    if (samples() < form.fewest_samples) throw std::invalid_argument("too few samples");
    settle(threads, observer);
    Team team(threads, observer);
    LinearSums result;
    team.together(
        [&] { result = std::visit([&](const auto& moments) { return moments.result(team); }, moments_); });
    return alignment_of(result.sums, set_, std::move(result.layers), form, precision_);
}

Stream::Counts Stream::counts() const {
    return std::visit([](const auto& m) { return Counts{m.folded_samples(), m.pending_samples()}; },
                      moments_);
}

void Stream::set_counts(Counts counts) {
    std::visit([&](auto& moments) { moments.set_counts(counts.folded, counts.pending); }, moments_);
}

}  // namespace fastcka
