// SPDX-License-Identifier: BSD-3-Clause
// The sums of each layer from which the first three moments of a measure under permutation follow.
#pragma once

#include "inference/gram_rows.hpp"
#include "sums/plan.hpp"

#include <functional>

namespace fastcka {

// For each layer, up to a factor of its Gram matrix; enough for every measure of measures/measure.hpp. The formulas are in
// src/fastcka/_permutation_moments.py. Kc and Ku: see sums/centring_terms.hpp.
struct PermutationSums {
    Eigen::MatrixXd diagonals;        // k_i = Kc_ii, samples x layers
    Eigen::MatrixXd squares;          // sum_j Ku_ij^2, samples x layers
    Eigen::VectorXd cubes;            // sum_ij Ku_ij^3
    Eigen::VectorXd quadratic_forms;  // k' Ku k
    Eigen::VectorXd traces_of_cubes;  // tr(Ku Ku Ku)

    static index bytes(index samples, index layers) { return 8 * layers * (2 * samples + 3); }
};

// Computes tr(Ku^3) of every layer that is not degenerate: from its features where they are fewer than the samples, and
// otherwise by by_samples(layer, source), from the n x n matrix. Needs all other members of `sums`.
template <class T>
void add_traces(const Layers& layers, const Kernel& kernel, const std::vector<LayerNote>& notes,
                const std::function<double(index, const Source&)>& by_samples, const Engine& engine,
                PermutationSums& sums);

// tr(Ku^3) from the whole of Ku.
template <class T> double trace_by_samples(const GramRows<T>& rows, index layer, const Engine& engine);

// The memory of add_traces for the layer that takes most.
template <class T> Bytes trace_bytes(const Problem& problem, index panel_width);

}  // namespace fastcka
