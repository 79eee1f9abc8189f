// SPDX-License-Identifier: BSD-3-Clause
#include "measure/stream.hpp"

#include <stdexcept>

namespace fastcka {

index Stream::state_bytes(const LayerPairs& pairs, bool double_precision) {
    return double_precision ? Moments<double>::state_bytes(pairs) : Moments<float>::state_bytes(pairs);
}

void Stream::update(const Sides& batch, int threads, const Observer& observer) {
    std::vector<MatrixView> views = batch.a;
    if (batch.b) views.insert(views.end(), batch.b->begin(), batch.b->end());
    Team team(threads, observer);
    try {
        team.together([&] { std::visit([&](auto& moments) { moments.update(views, team); }, moments_); });
    } catch (const NonFinite& e) {
        if (e.layer < layers_a_) throw;
        throw NonFinite(1, e.layer - layers_a_, e.row, e.column);
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

Alignment Stream::result(bool unbiased, int threads, const Observer& observer) {
    if (samples() < (unbiased ? 4 : 2)) throw std::invalid_argument("too few samples");
    settle(threads, observer);
    Team team(threads, observer);
    RouteResult result;
    team.together(
        [&] { result = std::visit([&](const auto& moments) { return moments.result(team); }, moments_); });
    return alignment_of(std::move(result), unbiased, double_precision_, one_sided_);
}

Stream::Counts Stream::counts() const {
    return std::visit([](const auto& m) { return Counts{m.folded_samples(), m.pending_samples()}; },
                      moments_);
}

void Stream::set_counts(Counts counts) {
    std::visit([&](auto& moments) { moments.set_counts(counts.folded, counts.pending); }, moments_);
}

}  // namespace fastcka
