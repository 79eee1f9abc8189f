// SPDX-License-Identifier: BSD-3-Clause
// More than a number: standard errors of all pairs, and what the moments of a measure under permutation are made of. One
// more pass over the Gram matrices, after their sums.
#pragma once

#include "compare/pairwise.hpp"
#include "inference/gram_rows.hpp"

namespace fastcka {

struct Questions {
    Estimator estimator = Estimator::unbiased;  // of what is asked about; that of the settings is shown
    bool standard_errors = false;
    std::vector<index> groups =
        {};  // jackknife over these: the first sample of each, and the number of samples at the end
    bool permutations = false;
};

// Of each layer, up to a factor of its Gram matrix: what the first three moments over permutations are made of, for any
// measure of measures/measure.hpp.
struct PermutationSums {
    Eigen::MatrixXd diagonals;        // k_i = Kc_ii, samples x layers
    Eigen::MatrixXd squares;          // sum_j Ku_ij^2, samples x layers
    Eigen::VectorXd cubes;            // sum_ij Ku_ij^3
    Eigen::VectorXd quadratic_forms;  // k' Ku k
    Eigen::VectorXd traces_of_cubes;  // tr(Ku Ku Ku)
};

struct Inference : Pairwise {
    Alignment asked;  // of the estimator of the questions; the base is of that of the settings
    index samples = 0;
    Eigen::MatrixXd standard_errors;  // rows x columns, or empty
    PermutationSums sums;             // or empty
};

Inference infer(const Layers& layers, const Settings& settings, const Questions& questions,
                const Observer& observer = {});
// The same after the sums of all blocks.
Inference infer(const Layers& layers, const Settings& settings, const Swept& swept,
                const Questions& questions, const Observer& observer = {});

// Ku of one layer, up to a factor, row by row, and its diagonal of Kc.
template <class T>
void u_centred(const MatrixView& view, const Settings& settings, const Observer& observer, T* out,
               double* diagonal);

// At the peak, beside the inputs.
index inference_bytes(const Problem& problem, const Questions& questions);

}  // namespace fastcka
