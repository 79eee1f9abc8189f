// SPDX-License-Identifier: BSD-3-Clause
// The second pass of inference in pieces, as values that merge and become plain arrays.
#include "inference/second_pass.hpp"

#include "bindings/state.hpp"

namespace fastcka {
namespace {

using Tree = SumTree<PassSums>;

void append(Numbers& values, const double* from, index count) {
    values.insert(values.end(), from, from + count);
}

py::dict state_of(const Tree& tree) {
    Integers
        nodes;  // of each: level, number; whether there are deviations; first sample and samples of squares; layers
    Numbers values;
    for (const auto& [node, sums] : tree.nodes()) {
        const bool errors = sums.deviations.sums.size() > 0;
        nodes.insert(nodes.end(), {node.level, node.number, errors, sums.squares.first,
                                   sums.squares.values.rows(), sums.cubes.size()});
        const Deviations& from = sums.deviations;
        for (const Eigen::MatrixXd* each : {&from.sums, &from.squares, &from.weighted_sums})
            append(values, each->data(), each->size());
        values.push_back(from.weights);
        append(values, sums.squares.values.data(), sums.squares.values.size());
        append(values, sums.cubes.data(), sums.cubes.size());
        append(values, sums.quadratic_forms.data(), sums.quadratic_forms.size());
    }
    py::dict state;
    state["nodes"] = array_from(nodes);
    state["values"] = array_from(values);
    return state;
}

std::unique_ptr<Tree> tree_from(index blocks, index samples, const LayerSet& set, const py::dict& state) {
    auto tree = std::make_unique<Tree>(blocks);
    StateReader<index> nodes(state, "nodes");
    StateReader<double> values(state, "values");
    const auto matrix = [&](index rows, index columns) -> Eigen::MatrixXd {
        return Eigen::Map<const Eigen::MatrixXd>(values.next(rows * columns), rows, columns);
    };
    std::optional<std::array<index, 2>> kind;
    for (index k = 0; k < nodes.size() / 6; ++k) {
        const index* const node = nodes.next(6);
        check(tree->free({node[0], node[1]}), "nodes");
        const bool errors = node[2] != 0;
        const index first = node[3], rows = node[4], layers = node[5];
        check(is_within(first, rows, samples), "nodes");
        check(layers == (rows > 0 ? set.count() : 0), "nodes");
        const std::array<index, 2> own{errors, layers};
        check(!kind || *kind == own, "nodes");
        kind = own;
        PassSums sums;
        if (errors)
            for (Eigen::MatrixXd* each :
                 {&sums.deviations.sums, &sums.deviations.squares, &sums.deviations.weighted_sums})
                *each = matrix(set.rows(), set.columns());
        sums.deviations.weights = values.one();
        sums.squares = {first, matrix(rows, layers)};
        sums.cubes = matrix(layers, 1);
        sums.quadratic_forms = matrix(layers, 1);
        tree->add({node[0], node[1]}, std::move(sums));
    }
    nodes.end(), values.end();
    return tree;
}

Questions questions_of(bool permutations, const Integers& groups) {
    return {Estimator::unbiased, true, groups, permutations};
}

}  // namespace

void bind_second_pass(py::module_& m) {
    py::class_<Tree>(m, "SecondPass")
        .def("merge", &Tree::merge, py::arg("other"))
        .def("copy", [](const Tree& tree) { return std::make_unique<Tree>(tree); })
        .def("covered", &covered_blocks<Tree>)
        .def("state", [](const Tree& tree) { return state_of(tree); })
        .def_static(
            "from_state",
            [](index blocks, index n, const Integers& widths_a, const std::optional<Integers>& widths_b,
               const py::dict& state) { return tree_from(blocks, n, layer_set(widths_a, widths_b), state); },
            py::arg("blocks"), py::arg("n"), py::arg("widths_a"), py::arg("widths_b"), py::arg("state"));

    m.def(
        "further_work",
        [](index n, const Integers& widths_a, const std::optional<Integers>& widths_b,
           const Settings& settings, bool permutations,
           const Integers& groups) -> std::pair<const char*, index> {
            const Problem problem = problem_of(n, layer_set(widths_a, widths_b), settings);
            const Questions questions = questions_of(permutations, groups);
            switch (further_work(problem, questions)) {
                case Further::nothing: return {"nothing", 0};
                case Further::sweep: return {"sweep", 0};
                case Further::pass: return {"pass", pass_blocks(problem, questions)};
            }
            throw std::logic_error("unknown work");
        },
        py::arg("n"), py::arg("widths_a"), py::arg("widths_b"), py::arg("settings"), py::kw_only(),
        py::arg("permutations"), py::arg("groups"));

    m.def(
        "second_pass",
        [](const Sources& layers_a, const OptionalSources& layers_b, const Settings& settings,
           const Partial& partial, bool permutations, const Integers& groups, index first, index last,
           const std::optional<py::function>& progress) {
            const Layers layers = layers_of(layers_a, layers_b);
            const Observer observer = observer_of(progress);
            const WithoutGil without_gil;
            const Problem problem = problem_of(layers, settings);
            return std::make_unique<Tree>(pass_over(layers, {problem, plan_of(problem), partial},
                                                    questions_of(permutations, groups), first, last,
                                                    observer));
        },
        py::arg("layers_a"), py::arg("layers_b"), py::arg("settings"), py::arg("partial"), py::kw_only(),
        py::arg("permutations"), py::arg("groups"), py::arg("first"), py::arg("last"),
        py::arg("progress") = std::nullopt);
}

}  // namespace fastcka
