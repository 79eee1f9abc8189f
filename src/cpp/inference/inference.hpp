// SPDX-License-Identifier: BSD-3-Clause
// More than a number: standard errors of all pairs, and what the moments of a measure under permutation are made of: from
// sums of single samples, which the sweep of a linear kernel makes on its way, or in one more pass over the Gram matrices.
#pragma once

#include "compare/pairwise.hpp"
#include "inference/permutation_sums.hpp"

namespace fastcka {

struct Questions {
    Estimator estimator = Estimator::unbiased;  // of what is asked about; that of the settings is shown
    bool standard_errors = false;
    std::vector<index> groups =
        {};  // jackknife over these: the first sample of each, and the number of samples at the end
    bool permutations = false;

    bool any() const { return standard_errors || permutations; }
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

// At the peak, beside the inputs, after the sweep of the plan.
index inference_bytes(const Problem& problem, const Questions& questions);

}  // namespace fastcka
