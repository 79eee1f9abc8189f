// SPDX-License-Identifier: BSD-3-Clause
// The sums of blocks of a comparison, as values that merge and become plain arrays.
#include "bindings/state.hpp"
#include "compare/pairwise.hpp"

namespace fastcka {
namespace {

// Each part of a Partial is written to a state and read back by a pair of functions.

void write_blocks(const SumTree<BlockSums>& tree, py::dict& state) {
    Integers levels, numbers, first, products, samples, open;
    Numbers product_values, sample_values, open_values;
    for (const auto& [node, sums] : tree.nodes()) {
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
        if (const auto& tile = sums.open) {
            open.insert(open.end(), {tile->entry, tile->rows, tile->width, tile->symmetric, tile->triangle,
                                     tile->present, tile->segments, tile->values.size()});
            open_values.insert(open_values.end(), tile->values.data(),
                               tile->values.data() + tile->values.size());
        } else {
            open.insert(open.end(), 8, 0);
        }
    }
    state["levels"] = array_from(levels);
    state["numbers"] = array_from(numbers);
    state["first"] = array_from(first);
    state["products"] = array_from(products);
    state["product_values"] = array_from(product_values);
    state["samples"] = array_from(samples);
    state["sample_values"] = array_from(sample_values);
    state["open"] = array_from(open);
    state["open_values"] = array_from(open_values);
}

// `numbers`: as write_blocks() has written them, the last of which is the number of values.
OpenTile tile_from(const index* numbers, const LayerSet& set, StateReader<double>& values) {
    const auto [entry, rows, width, symmetric, triangle, present, segments, size] = std::array{
        numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], numbers[6], numbers[7]};
    check(0 <= entry && entry < set.count() * set.count() && 0 < rows && rows <= set.most_features() &&
              0 < width && width <= 64 && 0 < present && present < segments && size % (width * width) == 0,
          "open");
    const TileRange on_diagonal{0, rows, 0, rows, true};
    check(triangle == 0 || on_diagonal.blocks(width) * width * width == size, "open");
    const double* const saved = values.next(size);
    OpenTile tile{entry, rows, width, symmetric != 0, triangle != 0, present, segments, TileValues(size)};
    std::copy_n(saved, size, tile.values.data());
    return tile;
}

void read_blocks(const py::dict& state, index samples, const LayerSet& set, SumTree<BlockSums>& tree) {
    const index all = set.count();
    StateReader<index> levels(state, "levels"), numbers(state, "numbers"), first(state, "first"),
        products(state, "products"), of_samples(state, "samples"), open(state, "open");
    StateReader<double> product_values(state, "product_values"), sample_values(state, "sample_values"),
        open_values(state, "open_values");
    const index nodes = levels.size();
    for (index k = 0; k < nodes; ++k) {
        const SumTree<BlockSums>::Node node{levels.one(), numbers.one()};
        check(tree.free(node), "levels");
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
        if (tile[7] > 0) sums.open = tile_from(tile, set, open_values);
        tree.add(node, std::move(sums));
    }
    levels.end(), numbers.end(), first.end(), products.end(), of_samples.end(), open.end();
    product_values.end(), sample_values.end(), open_values.end();
}

void write_rows(const RowTrees& trees, py::dict& state) {
    Integers nodes;  // of each: strip, level, number, samples
    Numbers values;
    for (std::size_t strip = 0; strip < trees.size(); ++strip)
        for (const auto& [node, rows] : trees[strip].nodes()) {
            nodes.insert(nodes.end(),
                         {static_cast<index>(strip), node.level, node.number, rows.values.cols()});
            values.insert(values.end(), rows.values.data(), rows.values.data() + rows.values.size());
        }
    state["row_strips"] = array_from(Integers{static_cast<index>(trees.size())});
    state["row_nodes"] = array_from(nodes);
    state["row_values"] = array_from(values);
}

void read_rows(const py::dict& state, index samples, const LayerSet& set, RowTrees& trees) {
    StateReader<index> row_strips(state, "row_strips");
    const index strips = row_strips.one(), entries = RowEntries(set).count();
    row_strips.end();
    check(0 <= strips && strips <= samples, "row_strips");
    for (index strip = 0; strip < strips; ++strip) trees.emplace_back(strips);
    StateReader<index> nodes(state, "row_nodes");
    StateReader<double> values(state, "row_values");
    for (index k = 0; k < nodes.size() / 4; ++k) {
        const index strip = nodes.one(), level = nodes.one(), number = nodes.one(), count = nodes.one();
        check(0 <= strip && strip < strips, "row_nodes");
        auto& tree = trees[static_cast<std::size_t>(strip)];
        check(tree.free({level, number}) && 0 < count && count <= samples, "row_nodes");
        tree.add({level, number},
                 {Eigen::Map<const Eigen::MatrixXd>(values.next(entries * count), entries, count)});
    }
    nodes.end(), values.end();
}

void write_notes(const std::vector<LayerNote>& notes, py::dict& state) {
    Integers statuses;
    Numbers units, sigmas, roundings, left_out;
    for (const LayerNote& note : notes) {
        statuses.push_back(static_cast<index>(note.status));
        units.push_back(note.unit);
        sigmas.push_back(note.sigma);
        roundings.push_back(note.rounding);
        left_out.push_back(note.left_out);
    }
    state["statuses"] = array_from(statuses);
    state["units"] = array_from(units);
    state["sigmas"] = array_from(sigmas);
    state["roundings"] = array_from(roundings);
    state["left_out"] = array_from(left_out);
}

void read_notes(const py::dict& state, std::vector<LayerNote>& notes) {
    StateReader<index> statuses(state, "statuses");
    StateReader<double> units(state, "units"), sigmas(state, "sigmas"), roundings(state, "roundings"),
        left_out(state, "left_out");
    for (LayerNote& note : notes) {
        const index status = statuses.one();
        check(status >= 0 && status <= static_cast<index>(Status::zero_bandwidth), "statuses");
        note = {static_cast<Status>(status), units.one(), sigmas.one(), roundings.one(), left_out.one()};
    }
    statuses.end(), units.end(), sigmas.end(), roundings.end(), left_out.end();
}

py::dict state_of(const Partial& partial) {
    py::dict state;
    write_blocks(partial.sums, state);
    state["diagonals"] = array_of(partial.diagonals);
    write_rows(partial.rows, state);
    write_notes(partial.layers, state);
    return state;
}

Partial partial_from(index blocks, index samples, const LayerSet& set, const py::dict& state) {
    Partial partial(blocks, samples, set.count());
    read_blocks(state, samples, set, partial.sums);
    const auto diagonals = state["diagonals"].cast<Vector<double>>();
    check(diagonals.ndim() == 2 && diagonals.shape(0) == samples && diagonals.shape(1) == set.count(),
          "diagonals");
    partial.diagonals = matrix_from(diagonals.data(), samples, set.count());
    read_rows(state, samples, set, partial.rows);
    read_notes(state, partial.layers);
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
