// SPDX-License-Identifier: BSD-3-Clause
// The sums of blocks of a comparison, as values that merge and become plain arrays.
#include "bindings/state.hpp"
#include "compare/pairwise.hpp"

namespace fastcka {
namespace {

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
    Partial partial(blocks, samples, all);
    StateReader<index> levels(state, "levels"), numbers(state, "numbers"), first(state, "first"),
        products(state, "products"), of_samples(state, "samples"), open(state, "open");
    StateReader<double> product_values(state, "product_values"), sample_values(state, "sample_values"),
        open_values(state, "open_values");
    const index nodes = levels.size();
    for (index k = 0; k < nodes; ++k) {
        const SumTree<BlockSums>::Node node{levels.one(), numbers.one()};
        check(partial.sums.free(node), "levels");
        BlockSums sums;
        sums.first = first.one();
        const index count = products.one();
        check(is_within(sums.first, count, all * all + all), "products");
        const double* const values = product_values.next(count);
        sums.products.assign(values, values + count);
        for (SampleValues* each : {&sums.row_sums, &sums.column_sums}) {
            each->first = of_samples.one();
            const index rows = of_samples.one();
            check(is_within(each->first, rows, samples), "samples");
            if (rows > 0) each->values = matrix_from(sample_values.next(rows * all), rows, all);
        }
        const index* const tile = open.next(8);
        if (tile[7] > 0) {
            const index width = tile[2], size = tile[7];
            check(tile[0] >= 0 && tile[0] < all * all && width > 0 && width <= 64 && tile[1] > 0 &&
                      tile[1] <= set.most_features() && tile[5] > 0 && tile[5] < tile[6] &&
                      size % (width * width) == 0,
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

    StateReader<index> row_strips(state, "row_strips");
    const index strips = row_strips.one(), entries = RowEntries(set).count();
    row_strips.end();
    check(0 <= strips && strips <= samples, "row_strips");
    for (index strip = 0; strip < strips; ++strip) partial.rows.emplace_back(strips);
    StateReader<index> row_nodes(state, "row_nodes");
    StateReader<double> row_values(state, "row_values");
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
    StateReader<index> statuses(state, "statuses");
    StateReader<double> units(state, "units"), sigmas(state, "sigmas"), roundings(state, "roundings"),
        left_out(state, "left_out");
    for (LayerNote& note : partial.layers) {
        const index status = statuses.one();
        check(status >= 0 && status <= static_cast<index>(Status::zero_bandwidth), "statuses");
        note = {static_cast<Status>(status), units.one(), sigmas.one(), roundings.one(), left_out.one()};
    }
    statuses.end(), units.end(), sigmas.end(), roundings.end(), left_out.end();
    return partial;
}

}  // namespace

void bind_sweeps(py::module_& m) {
    py::class_<Partial>(m, "Partial")
        .def("merge", &Partial::merge, py::arg("other"))
        .def("copy", [](const Partial& partial) { return partial; })
        .def("covered", [](const Partial& partial) { return covered_blocks(partial.sums); })
        .def("state", [](const Partial& partial) { return state_of(partial); })
        .def_static(
            "from_state",
            [](index blocks, index n, const Integers& widths_a, const std::optional<Integers>& widths_b,
               const py::dict& state) {
                return partial_from(blocks, n, layer_set(widths_a, widths_b), state);
            },
            py::arg("blocks"), py::arg("n"), py::arg("widths_a"), py::arg("widths_b"), py::arg("state"));

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
            const WithoutGil without_gil;
            const Problem problem = problem_of(n, layer_set(widths_a, widths_b), settings);
            return finish(problem, plan_of(problem), partial);
        },
        py::arg("n"), py::arg("widths_a"), py::arg("widths_b"), py::arg("settings"), py::arg("partial"));
}

}  // namespace fastcka
