// SPDX-License-Identifier: BSD-3-Clause
// The statistics of layers, needed before the first block, and the rounds of the search for medians, as values that merge
// and become plain arrays.
#include "bindings/state.hpp"
#include "compare/pairwise.hpp"

#include <cmath>
#include <limits>

namespace fastcka {
namespace {

constexpr auto largest_key = static_cast<DistanceKey>(std::numeric_limits<index>::max());

py::dict state_of(const Statistics& statistics) {
    Integers layers, widths, exact, digits, lowest, below;
    Numbers means, means_low, scales, deviations, sigmas, distances, medians;
    for (std::size_t l = 0; l < statistics.layers.size(); ++l) {
        const auto& known = statistics.layers[l];
        if (!known) continue;
        layers.push_back(static_cast<index>(l));
        widths.push_back(static_cast<index>(known->centring.mean.size()));
        exact.push_back(known->needs_float64);
        std::vector<double> low = known->centring.mean_low;
        low.resize(known->centring.mean.size());  // none: nothing was rounded off
        means.insert(means.end(), known->centring.mean.begin(), known->centring.mean.end());
        means_low.insert(means_low.end(), low.begin(), low.end());
        scales.push_back(known->centring.scale);
        deviations.push_back(known->centring.largest);
        sigmas.push_back(known->sigma);
        distances.push_back(known->mean_distance);
        digits.push_back(known->search.digits);
        lowest.push_back(static_cast<index>(known->search.lowest));  // of a number that is not negative
        below.push_back(known->search.below);
        medians.push_back(known->search.median);
    }
    py::dict state;
    state["layers"] = array_from(layers);
    state["widths"] = array_from(widths);
    state["exact"] = array_from(exact);
    state["means"] = array_from(means);
    state["means_low"] = array_from(means_low);
    state["scales"] = array_from(scales);
    state["deviations"] = array_from(deviations);
    state["sigmas"] = array_from(sigmas);
    state["mean_distances"] = array_from(distances);
    state["digits"] = array_from(digits);
    state["lowest"] = array_from(lowest);
    state["below"] = array_from(below);
    state["medians"] = array_from(medians);
    return state;
}

Statistics statistics_from(const LayerSet& set, const py::dict& state) {
    Statistics statistics(set.count());
    StateReader<index> widths(state, "widths"), exact(state, "exact"), digits(state, "digits"),
        lowest(state, "lowest"), below(state, "below");
    StateReader<double> means(state, "means"), means_low(state, "means_low"), scales(state, "scales"),
        deviations(state, "deviations"), sigmas(state, "sigmas"), distances(state, "mean_distances"),
        medians(state, "medians");
    for (const index l : vector_from<index>(state, "layers")) {
        check(l >= 0 && l < set.count(), "layers");
        auto& known = statistics.layers[static_cast<std::size_t>(l)];
        check(!known, "layers");
        check(widths.one() == set.width(l), "widths");
        const index width = set.width(l);
        const double *const mean = means.next(width), *const low = means_low.next(width);
        known = LayerStatistics{{{mean, mean + width}, {low, low + width}, scales.one(), deviations.one()},
                                sigmas.one(),
                                exact.one() != 0,
                                distances.one(),
                                {static_cast<int>(digits.one()), static_cast<DistanceKey>(lowest.one()),
                                 below.one(), medians.one()}};
        const bool finite = std::all_of(mean, mean + width, [](double x) { return std::isfinite(x); });
        check(finite, "means");
        check(known->centring.scale > 0 && std::isfinite(known->centring.scale), "scales");
        check(known->centring.largest >= 0 && std::isfinite(known->centring.largest), "deviations");
        for (const auto& [value, name] : {std::pair(known->sigma, "sigmas"),
                                          {known->mean_distance, "mean_distances"},
                                          {known->search.median, "medians"}})
            check(std::isnan(value) || value >= 0, name);
        const MedianSearch& search = known->search;
        check(0 <= search.digits && search.digits <= digits_of<double>, "digits");
        check(search.found() || search.digits < digits_of<double>, "medians");
        check(search.lowest <= largest_key, "lowest");
        check(search.below >= 0, "below");
    }
    widths.end(), exact.end(), means.end(), means_low.end(), scales.end(), deviations.end(), sigmas.end();
    digits.end(), lowest.end(), below.end(), distances.end(), medians.end();
    return statistics;
}

py::dict state_of(const MedianRound& round) {
    py::dict state = state_of(round.known());
    state["round"] = array_from(Integers{round.samples(), round.offdiagonal(), round.wide(), round.blocks()});
    Integers ranges, counts, above;  // layer, first, last; layer, digit, how many; layer, key
    for (std::size_t l = 0; l < round.layers().size(); ++l) {
        const auto& [covered, counted] = round.layers()[l];
        const auto layer = static_cast<index>(l);
        for (const auto& range : covered) ranges.insert(ranges.end(), {layer, range.first, range.last});
        for (index bin = 0; bin < static_cast<index>(counted.bins.size()); ++bin)
            if (const index count = counted.bins[static_cast<std::size_t>(bin)]; count > 0)
                counts.insert(counts.end(), {layer, bin, count});
        if (counted.above <= largest_key)
            above.insert(above.end(), {layer, static_cast<index>(counted.above)});
    }
    state["ranges"] = array_from(ranges);
    state["counts"] = array_from(counts);
    state["above"] = array_from(above);
    return state;
}

MedianRound round_from(const LayerSet& set, index samples, const py::dict& state) {
    StateReader<index> of_round(state, "round"), ranges(state, "ranges"), counts(state, "counts"),
        above(state, "above");
    const index* const shape = of_round.next(4);
    of_round.end();
    check(shape[0] == samples && samples > 1 && shape[3] > 0, "round");
    MedianRound round(samples, shape[1] != 0, shape[2] != 0, shape[3], statistics_from(set, state));
    std::vector<MedianRound::Layer> layers(static_cast<std::size_t>(set.count()));
    const auto layer = [&](index l, const char* name) -> MedianRound::Layer& {
        check(0 <= l && l < set.count(), name);
        return layers[static_cast<std::size_t>(l)];
    };
    for (index k = 0; k < ranges.size() / 3; ++k) {
        const index* const range = ranges.next(3);
        layer(range[0], "ranges").covered.push_back({range[1], range[2]});
    }
    const auto whole = std::vector{MedianRound::Range{0, shape[3]}};
    for (index l = 0; l < set.count(); ++l) {
        auto& each = layers[static_cast<std::size_t>(l)];
        if (!each.covered.empty() && each.covered != whole && round.counts(l))
            each.counts.bins.assign(static_cast<std::size_t>(digit_values), 0);
    }
    for (index k = 0; k < counts.size() / 3; ++k) {
        const index* const count = counts.next(3);
        auto& bins = layer(count[0], "counts").counts.bins;
        check(0 <= count[1] && count[1] < static_cast<index>(bins.size()) && 0 < count[2] &&
                  count[2] <= samples * samples,
              "counts");
        bins[static_cast<std::size_t>(count[1])] = count[2];
    }
    for (index k = 0; k < above.size() / 2; ++k) {
        const index* const key = above.next(2);
        check(key[1] >= 0, "above");
        layer(key[0], "above").counts.above = static_cast<DistanceKey>(key[1]);
    }
    ranges.end(), counts.end(), above.end();
    for (index l = 0; l < set.count(); ++l)
        if (auto& each = layers[static_cast<std::size_t>(l)]; !each.covered.empty())
            round.restore(l, std::move(each));
    return round;
}

std::vector<std::pair<index, index>> covered_layers(const Statistics& statistics) {
    std::vector<std::pair<index, index>> ranges;
    for (std::size_t l = 0; l < statistics.layers.size(); ++l) {
        if (!statistics.layers[l]) continue;
        const auto layer = static_cast<index>(l);
        if (ranges.empty() || ranges.back().second != layer) ranges.emplace_back(layer, layer);
        ranges.back().second = layer + 1;
    }
    return ranges;
}

// How many rounds find the medians that are not known.
int rounds_left(const Statistics& statistics, const Kernel& kernel, bool double_precision) {
    int most = 0;
    for (const auto& layer : statistics.layers) {
        if (!layer || !layer->is_open(kernel)) continue;
        const bool wide = double_precision || layer->needs_float64;
        most = std::max(most, (wide ? digits_of<double> : digits_of<float>)-layer->search.digits);
    }
    return most;
}

}  // namespace

void bind_statistics(py::module_& m) {
    py::class_<Statistics>(m, "Statistics")
        .def("merge", &Statistics::merge, py::arg("other"))
        .def("copy", [](const Statistics& statistics) { return statistics; })
        .def("covered", &covered_layers)
        .def_property_readonly("needs_float64", &Statistics::needs_float64)
        .def("rounds", &rounds_left, py::arg("kernel"), py::arg("double_precision"))
        .def("state", [](const Statistics& statistics) { return state_of(statistics); })
        .def_static(
            "from_state",
            [](const Integers& widths_a, const std::optional<Integers>& widths_b, const py::dict& state) {
                return statistics_from(layer_set(widths_a, widths_b), state);
            },
            py::arg("widths_a"), py::arg("widths_b"), py::arg("state"));

    py::class_<MedianRound>(m, "MedianRound")
        .def("merge", &MedianRound::merge, py::arg("other"))
        .def("copy", [](const MedianRound& round) { return round; })
        .def("covered", &covered_blocks<MedianRound>)
        .def("narrowed", &MedianRound::narrowed, py::arg("kernel"))
        .def("state", [](const MedianRound& round) { return state_of(round); })
        .def_static(
            "from_state",
            [](index n, const Integers& widths_a, const std::optional<Integers>& widths_b,
               const py::dict& state) { return round_from(layer_set(widths_a, widths_b), n, state); },
            py::arg("n"), py::arg("widths_a"), py::arg("widths_b"), py::arg("state"));

    m.def(
        "statistics",
        [](const Sources& layers_a, const OptionalSources& layers_b, const Settings& settings, index first,
           index last, bool medians, const std::optional<py::function>& progress) {
            const Layers layers = layers_of(layers_a, layers_b);
            const Observer observer = observer_of(progress);
            const WithoutGil without_gil;
            return statistics(layers, settings, first, last,
                              medians ? Medians::searched : Medians::left_to_rounds, observer);
        },
        py::arg("layers_a"), py::arg("layers_b"), py::arg("settings"), py::arg("first"), py::arg("last"),
        py::arg("medians"), py::arg("progress") = std::nullopt);

    m.def(
        "median_round",
        [](const Sources& layers_a, const OptionalSources& layers_b, const Settings& settings,
           const Statistics& known, index first, index last, const std::optional<py::function>& progress) {
            const Layers layers = layers_of(layers_a, layers_b);
            const Observer observer = observer_of(progress);
            const WithoutGil without_gil;
            return median_round(layers, settings, known, first, last, observer);
        },
        py::arg("layers_a"), py::arg("layers_b"), py::arg("settings"), py::arg("statistics"),
        py::arg("first"), py::arg("last"), py::arg("progress") = std::nullopt);

    m.def(
        "with_medians",
        [](const Sources& layers_a, const OptionalSources& layers_b, const Settings& settings,
           const Statistics& known, const std::optional<py::function>& progress) {
            const Layers layers = layers_of(layers_a, layers_b);
            const Observer observer = observer_of(progress);
            const WithoutGil without_gil;
            return with_medians(layers, settings, known, observer);
        },
        py::arg("layers_a"), py::arg("layers_b"), py::arg("settings"), py::arg("statistics"),
        py::arg("progress") = std::nullopt);
}

}  // namespace fastcka
