// SPDX-License-Identifier: BSD-3-Clause
// A comparison in pieces: statistics of layers and sums of blocks, as values that merge and become plain arrays.
#include "bindings/common.hpp"
#include "compare/pairwise.hpp"

#include <cmath>
#include <numeric>

namespace fastcka {
namespace {

template <class T> using Vector = py::array_t<T, py::array::c_style | py::array::forcecast>;
using Integers = std::vector<index>;
using Numbers = std::vector<double>;

void check(bool condition, const char* message) {
    if (!condition) throw std::invalid_argument(message);
}

template <class T> std::vector<T> vector_from(const py::dict& state, const char* name) {
    const auto saved = state[name].cast<Vector<T>>();
    check(saved.ndim() == 1, name);
    return {saved.data(), saved.data() + saved.size()};
}
template <class T> py::array_t<T> array_from(const std::vector<T>& values) {
    return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

Eigen::MatrixXd matrix_from(const double* rows, index n, index columns) {
    using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    return Eigen::Map<const RowMajor>(rows, n, columns);
}

// Takes `count` values off the front of a list that several objects are stored in, one after the other.
template <class T> class Reader {
  public:
    Reader(const py::dict& state, const char* name) : name_(name), values_(vector_from<T>(state, name)) {}
    const T* next(index count) {
        check(count >= 0 && count <= static_cast<index>(values_.size()) - at_, name_);
        return values_.data() + std::exchange(at_, at_ + count);
    }
    T one() { return *next(1); }
    index size() const { return static_cast<index>(values_.size()); }
    void end() const { check(at_ == static_cast<index>(values_.size()), name_); }

  private:
    const char* name_;
    std::vector<T> values_;
    index at_ = 0;
};

// --- statistics of layers

py::dict state_of(const Statistics& statistics) {
    Integers layers, widths, exact;
    Numbers means, means_low, scales, deviations, sigmas;
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
    return state;
}

Statistics statistics_from(const LayerSet& set, const py::dict& state) {
    Statistics statistics(set.count());
    Reader<index> widths(state, "widths"), exact(state, "exact");
    Reader<double> means(state, "means"), means_low(state, "means_low"), scales(state, "scales"),
        deviations(state, "deviations"), sigmas(state, "sigmas");
    for (const index l : vector_from<index>(state, "layers")) {
        check(l >= 0 && l < set.count(), "layers");
        auto& known = statistics.layers[static_cast<std::size_t>(l)];
        check(!known, "layers");
        check(widths.one() == set.width(l), "widths");
        const index width = set.width(l);
        const double *const mean = means.next(width), *const low = means_low.next(width);
        known = LayerStatistics{{{mean, mean + width}, {low, low + width}, scales.one(), deviations.one()},
                                sigmas.one(),
                                exact.one() != 0};
        const bool finite = std::all_of(mean, mean + width, [](double x) { return std::isfinite(x); });
        check(finite, "means");
        check(known->centring.scale > 0 && std::isfinite(known->centring.scale), "scales");
        check(known->centring.largest >= 0 && std::isfinite(known->centring.largest), "deviations");
        check(std::isnan(known->sigma) || known->sigma >= 0, "sigmas");
    }
    widths.end(), exact.end(), means.end(), means_low.end(), scales.end(), deviations.end(), sigmas.end();
    return statistics;
}

// --- sums of blocks

py::dict state_of(const Partial& partial) {
    Integers levels, numbers, first, products, samples, open;
    Numbers product_values, sample_values, open_values;
    for (const auto& [node, sums] : partial.sums.nodes()) {
        levels.push_back(node.level);
        numbers.push_back(node.number);
        first.push_back(sums.first);
        products.push_back(static_cast<index>(sums.products.size()));
        product_values.insert(product_values.end(), sums.products.begin(), sums.products.end());
        for (const SampleValues* each : {&sums.row_sums, &sums.column_sums}) {
            samples.insert(samples.end(), {each->first, each->values.rows()});
            for (index i = 0; i < each->values.rows(); ++i)
                for (index l = 0; l < each->values.cols(); ++l) sample_values.push_back(each->values(i, l));
        }
        if (const auto& tile = sums.open)
            open.insert(open.end(), {tile->entry, tile->rows, tile->width, tile->symmetric, tile->triangle,
                                     tile->present, tile->segments, tile->values.size()});
        else
            open.insert(open.end(), {0, 0, 0, 0, 0, 0, 0, 0});
        if (sums.open)
            open_values.insert(open_values.end(), sums.open->values.data(),
                               sums.open->values.data() + sums.open->values.size());
    }
    Integers row_nodes;  // of each: strip, level, number, samples
    Numbers row_values;
    for (std::size_t strip = 0; strip < partial.rows.size(); ++strip)
        for (const auto& [node, rows] : partial.rows[strip].nodes()) {
            row_nodes.insert(row_nodes.end(),
                             {static_cast<index>(strip), node.level, node.number, rows.values.cols()});
            row_values.insert(row_values.end(), rows.values.data(), rows.values.data() + rows.values.size());
        }
    Integers statuses;
    Numbers units, sigmas, roundings, left_out;
    for (const LayerNote& note : partial.layers) {
        statuses.push_back(static_cast<index>(note.status));
        units.push_back(note.unit);
        sigmas.push_back(note.sigma);
        roundings.push_back(note.rounding);
        left_out.push_back(note.left_out);
    }
    py::dict state;
    state["levels"] = array_from(levels);
    state["numbers"] = array_from(numbers);
    state["first"] = array_from(first);
    state["products"] = array_from(products);
    state["product_values"] = array_from(product_values);
    state["samples"] = array_from(samples);
    state["sample_values"] = array_from(sample_values);
    state["open"] = array_from(open);
    state["open_values"] = array_from(open_values);
    state["diagonals"] = array_of(partial.diagonals);
    state["row_strips"] = array_from(Integers{static_cast<index>(partial.rows.size())});
    state["row_nodes"] = array_from(row_nodes);
    state["row_values"] = array_from(row_values);
    state["statuses"] = array_from(statuses);
    state["units"] = array_from(units);
    state["sigmas"] = array_from(sigmas);
    state["roundings"] = array_from(roundings);
    state["left_out"] = array_from(left_out);
    return state;
}

Partial partial_from(index blocks, index samples, const LayerSet& set, const py::dict& state) {
    const index all = set.count();
    check(blocks > 0, "blocks");
    Partial partial(blocks, samples, all);
    Reader<index> levels(state, "levels"), numbers(state, "numbers"), first(state, "first"),
        products(state, "products"), of_samples(state, "samples"), open(state, "open");
    Reader<double> product_values(state, "product_values"), sample_values(state, "sample_values"),
        open_values(state, "open_values");
    const index nodes = levels.size();
    for (index k = 0; k < nodes; ++k) {
        const SumTree<BlockSums>::Node node{levels.one(), numbers.one()};
        check(partial.sums.free(node), "levels");
        BlockSums sums;
        sums.first = first.one();
        const index count = products.one();
        check(sums.first >= 0 && sums.first + count <= all * all + all, "products");
        const double* const values = product_values.next(count);
        sums.products.assign(values, values + count);
        for (SampleValues* each : {&sums.row_sums, &sums.column_sums}) {
            each->first = of_samples.one();
            const index rows = of_samples.one();
            check(each->first >= 0 && rows >= 0 && each->first + rows <= samples, "samples");
            if (rows > 0) each->values = matrix_from(sample_values.next(rows * all), rows, all);
        }
        const index* const tile = open.next(8);
        if (tile[7] > 0) {
            const index width = tile[2], size = tile[7];
            check(tile[0] >= 0 && tile[0] < all * all && width > 0 && width <= 64 && tile[1] > 0 &&
                      tile[5] > 0 && tile[5] < tile[6] && size % (width * width) == 0,
                  "open");
            if (tile[4] != 0)
                check(TileRange{0, tile[1], 0, tile[1], true}.blocks(width) * width * width == size, "open");
            sums.open = OpenTile{tile[0],      tile[1], width,   tile[3] != 0,
                                 tile[4] != 0, tile[5], tile[6], TileValues(size)};
            std::copy_n(open_values.next(size), size, sums.open->values.data());
        }
        partial.sums.add(node, std::move(sums));
    }
    levels.end(), numbers.end(), first.end(), products.end(), of_samples.end(), open.end();
    product_values.end(), sample_values.end(), open_values.end();

    Reader<index> row_strips(state, "row_strips");
    const index strips = row_strips.one(), entries = RowEntries(set).count();
    row_strips.end();
    check(0 <= strips && strips <= samples, "row_strips");
    for (index strip = 0; strip < strips; ++strip) partial.rows.emplace_back(strips);
    Reader<index> row_nodes(state, "row_nodes");
    Reader<double> row_values(state, "row_values");
    for (index k = 0; k < row_nodes.size() / 4; ++k) {
        const index strip = row_nodes.one(), level = row_nodes.one(), number = row_nodes.one();
        const index count = row_nodes.one();
        check(0 <= strip && strip < strips, "row_nodes");
        auto& tree = partial.rows[static_cast<std::size_t>(strip)];
        check(tree.free({level, number}) && 0 < count && count <= samples, "row_nodes");
        tree.add({level, number},
                 {Eigen::Map<const Eigen::MatrixXd>(row_values.next(entries * count), entries, count)});
    }
    row_nodes.end(), row_values.end();

    const auto diagonals = state["diagonals"].cast<Vector<double>>();
    check(diagonals.ndim() == 2 && diagonals.shape(0) == samples && diagonals.shape(1) == all, "diagonals");
    partial.diagonals = matrix_from(diagonals.data(), samples, all);
    Reader<index> statuses(state, "statuses");
    Reader<double> units(state, "units"), sigmas(state, "sigmas"), roundings(state, "roundings"),
        left_out(state, "left_out");
    for (LayerNote& note : partial.layers) {
        const index status = statuses.one();
        check(status >= 0 && status <= static_cast<index>(Status::zero_bandwidth), "statuses");
        note = {static_cast<Status>(status), units.one(), sigmas.one(), roundings.one(), left_out.one()};
    }
    statuses.end(), units.end(), sigmas.end(), roundings.end(), left_out.end();
    return partial;
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

std::vector<std::pair<index, index>> covered_blocks(const Partial& partial) {
    std::vector<std::pair<index, index>> ranges;
    for (const auto& range : partial.sums.covered()) ranges.emplace_back(range.first, range.last);
    return ranges;
}

}  // namespace

void bind_sweeps(py::module_& m) {
    py::class_<Statistics>(m, "Statistics")
        .def("merge", &Statistics::merge, py::arg("other"))
        .def("copy", [](const Statistics& statistics) { return statistics; })
        .def("covered", &covered_layers)
        .def_property_readonly("needs_float64", &Statistics::needs_float64)
        .def("state", [](const Statistics& statistics) { return state_of(statistics); })
        .def_static(
            "from_state",
            [](const Integers& widths_a, const std::optional<Integers>& widths_b, const py::dict& state) {
                return statistics_from(layer_set(widths_a, widths_b), state);
            },
            py::arg("widths_a"), py::arg("widths_b"), py::arg("state"));

    py::class_<Partial>(m, "Partial")
        .def("merge", &Partial::merge, py::arg("other"))
        .def("copy", [](const Partial& partial) { return partial; })
        .def("covered", &covered_blocks)
        .def("state", [](const Partial& partial) { return state_of(partial); })
        .def_static(
            "from_state",
            [](index blocks, index n, const Integers& widths_a, const std::optional<Integers>& widths_b,
               const py::dict& state) {
                return partial_from(blocks, n, layer_set(widths_a, widths_b), state);
            },
            py::arg("blocks"), py::arg("n"), py::arg("widths_a"), py::arg("widths_b"), py::arg("state"));

    m.def(
        "statistics",
        [](const Sources& layers_a, const OptionalSources& layers_b, const Settings& settings, index first,
           index last, const std::optional<py::function>& progress) {
            const Layers layers = layers_of(layers_a, layers_b);
            const Observer observer = observer_of(progress);
            const WithoutGil without_gil;
            return statistics(layers, settings, first, last, observer);
        },
        py::arg("layers_a"), py::arg("layers_b"), py::arg("settings"), py::arg("first"), py::arg("last"),
        py::arg("progress") = std::nullopt);

    m.def(
        "partial",
        [](const Sources& layers_a, const OptionalSources& layers_b, const Settings& settings, index first,
           index last, const Statistics& known, const std::optional<py::function>& progress) {
            const Layers layers = layers_of(layers_a, layers_b);
            const Observer observer = observer_of(progress);
            const WithoutGil without_gil;
            return partial(layers, settings, first, last, known, observer);
        },
        py::arg("layers_a"), py::arg("layers_b"), py::arg("settings"), py::arg("first"), py::arg("last"),
        py::arg("statistics"), py::arg("progress") = std::nullopt);

    m.def(
        "finish",
        [](index n, const Integers& widths_a, const std::optional<Integers>& widths_b,
           const Settings& settings, const Partial& partial) {
            const Problem problem = problem_of(n, layer_set(widths_a, widths_b), settings);
            return finish(problem, plan_of(problem), partial);
        },
        py::arg("n"), py::arg("widths_a"), py::arg("widths_b"), py::arg("settings"), py::arg("partial"));
}

}  // namespace fastcka
