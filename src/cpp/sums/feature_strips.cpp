// SPDX-License-Identifier: BSD-3-Clause
#include "sums/feature_strips.hpp"

namespace fastcka {

template <class T>
FeatureStrips<T>::FeatureStrips(const LayerSet& layers, const Plan& plan, const Engine& engine)
    : engine_(engine), side_(plan.tile), width_(engine.operations<T>().panel_width),
      at_once_(plan.held.rows > 0 ? plan.held_samples : 0),
      layers_(static_cast<std::size_t>(layers.count())) {
    for (index l = 0; l < layers.count(); ++l) {
        layer(l).first_strip = count();
        for (index first = 0; first < layers.width(l); first += side_)
            strips_.push_back({l, first, std::min(side_, layers.width(l) - first), {}, {0, 0}});
        layer(l).strips = count() - layer(l).first_strip;
    }
}

template <class T> index FeatureStrips<T>::bytes(const Problem& problem, const Plan& plan) {
    const LayerSet& set = problem.layers;
    const index n = problem.samples, side = plan.tile;
    const bool whole = plan.held.rows == 0;
    index bytes = centring_bytes(n, set.most_features());
    if (!whole)
        bytes += (plan.held.rows + plan.held.columns) *
                 Panels<T>::bytes(side, plan.held_samples, plan.panel_width);
    for (index p : set.widths()) {
        bytes += Centring::bytes(p) + SampleSums::bytes(n, false) +
                 RowScaling::bytes(problem.settings.kernel.traits().rows, n);
        if (!whole) continue;
        bytes += p / side * Panels<T>::bytes(side, n, plan.panel_width);
        if (p % side != 0) bytes += Panels<T>::bytes(p % side, n, plan.panel_width);
    }
    return bytes;
}

template <class T>
const Centring& FeatureStrips<T>::add(index number, const Source& source, const Kernel& kernel,
                                      const Centring* known) {
    Layer& of = layer(number);
    of.source = source;
    of.rows = row_scaling(source, kernel.traits().rows, engine_);
    of.centring = known != nullptr ? *known : centring_of(source, of.rows ? &*of.rows : nullptr, engine_);
    if (of.centring.largest == 0) of.note.status = Status::constant;
    of.note.unit = 1 / (of.centring.scale * of.centring.scale);
    of.norms.squared.assign(static_cast<std::size_t>(source.rows()), 0.0);

    const index n = source.rows(), samples = at_once_ > 0 ? at_once_ : n;
    const index first = of.first_strip, last = first + of.strips, together = at_once_ > 0 ? 1 : of.strips;
    for (index from = 0; from < n; from += samples)
        for (index s = first; s < last; s += together) {
            const Span piece{from, std::min(n, from + samples)}, some{s, std::min(last, s + together)};
            for (index each = some.first; each < some.last; ++each) make_room(strip(each), piece);
            pack(some, piece, &of.norms);
            if (at_once_ > 0) forget(strip(s));
        }
    if (sizeof(T) == 4 && has_massive_sample(of.norms)) throw NeedsDouble{};
    if (at_once_ == 0) of.source = {};
    source.forget();
    return of.centring;
}

template <class T> void FeatureStrips<T>::make_room(Strip& strip, Span samples) {
    if (strip.panels.data() == nullptr && !spare_.empty()) {
        strip.panels = std::move(spare_.back());
        spare_.pop_back();
    } else if (strip.panels.data() == nullptr) {
        strip.panels = at_once_ > 0 ? Panels<T>(side_, at_once_, width_)
                                    : Panels<T>(strip.features, samples.count(), width_);
    }
    strip.panels.set_vectors(strip.features);
    strip.panels.set_coordinates(samples.count());
    strip.samples = samples;
}

template <class T> void FeatureStrips<T>::forget(Strip& strip) {
    if (strip.panels.data() == nullptr) return;
    spare_.push_back(std::exchange(strip.panels, {}));
    strip.samples = {0, 0};
}

template <class T> void FeatureStrips<T>::hold(const std::vector<bool>& wanted, Span samples) {
    if (at_once_ == 0) return;  // all samples are packed
    for (index s = 0; s < count(); ++s)
        if (!wanted[static_cast<std::size_t>(s)]) forget(strip(s));
    for (index s = 0; s < count();) {
        const auto missing = [&](index at) {
            return at < count() && strip(at).layer == strip(s).layer &&
                   wanted[static_cast<std::size_t>(at)] &&
                   (strip(at).samples.first != samples.first || strip(at).samples.last != samples.last);
        };
        index last = s;
        for (; missing(last); ++last) make_room(strip(last), samples);
        if (last > s) pack({s, last}, samples, nullptr);
        const index next = std::max(last, s + 1);
        if (next == count() || strip(next).layer != strip(s).layer) layer(strip(s).layer).source.forget();
        s = next;
    }
}

template <class T> void FeatureStrips<T>::pack(Span strips, Span samples, SampleSums* sums) {
    const Layer& of = layer(strip(strips.first).layer);
    std::vector<Packing<T>> jobs;
    for (index s = strips.first; s < strips.last; ++s) {
        const Strip& into = strip(s);
        Packing<T> job =
            packing_of(of.source.view(), false, &of.centring,
                       of.rows ? of.rows->factors(samples.first) : RowFactors{}, nullptr, into.panels, sums);
        job.mean += into.first;
        if (job.mean_low != nullptr) job.mean_low += into.first;
        if (sums != nullptr) job.squared_norms += samples.first;
        job.projections = nullptr;
        jobs.push_back(job);
    }
    of.source.for_each_piece(
        samples.first, samples.last, coordinate_block, [&](const MatrixView& view, index from, index to) {
            // A task owns its samples, since it adds to their norms.
            engine_.team.for_each(ceil_divide(to - from, coordinate_block), [&](index task, int worker) {
                const index first = from - samples.first + task * coordinate_block;
                for (index s = strips.first; s < strips.last; ++s) {
                    const Strip& into = strips_[static_cast<std::size_t>(s)];
                    Packing<T> job = jobs[static_cast<std::size_t>(s - strips.first)];
                    job.view = view.part(samples.first, samples.count(), into.first, into.features);
                    for (index panel = 0; panel < into.panels.count(); ++panel) {
                        engine_.operations<T>().pack(job, panel, first,
                                                     Panels<T>::block_size(first, into.panels.coordinates()));
                        engine_.team.poll(worker);
                    }
                }
            });
        });
}

template class FeatureStrips<float>;
template class FeatureStrips<double>;

}  // namespace fastcka
