// SPDX-License-Identifier: BSD-3-Clause
// What the first three moments of a measure under permutation are made of.
#pragma once

#include "compare/pairwise.hpp"
#include "inference/gram_rows.hpp"

#include <functional>

namespace fastcka {

// Of each layer, up to a factor of its Gram matrix: what the first three moments over permutations are made of, for any
// measure of measures/measure.hpp.
struct PermutationSums {
    Eigen::MatrixXd diagonals;        // k_i = Kc_ii, samples x layers
    Eigen::MatrixXd squares;          // sum_j Ku_ij^2, samples x layers
    Eigen::VectorXd cubes;            // sum_ij Ku_ij^3
    Eigen::VectorXd quadratic_forms;  // k' Ku k
    Eigen::VectorXd traces_of_cubes;  // tr(Ku Ku Ku)

    static index bytes(index samples, index layers) { return 8 * layers * (2 * samples + 3); }
};

// Adds the traces of all layers that are not degenerate. by_samples(layer, view) is that from the n x n matrix of a layer.
template <class T>
void add_traces(const Layers& layers, const Kernel& kernel, const std::vector<LayerNote>& notes,
                const std::function<double(index, const Source&)>& by_samples, const Engine& engine,
                PermutationSums& sums);

// tr(Ku^3) from the whole of Ku.
template <class T> double trace_by_samples(const GramRows<T>& rows, index layer, const Engine& engine);

// Of the layer whose trace takes most.
template <class T> Bytes trace_bytes(const Problem& problem, index panel_width);

}  // namespace fastcka
