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

// What is asked after the sums of all blocks is answered by them alone; by one more sweep, which makes sums of single
// samples; or by one more pass, over whole rows.
struct PassSums;
enum class Further { nothing, sweep, pass };
Further further_work(const Problem& problem, const Questions& questions);

// The same after the sums of all blocks, and after that work where it is done.
struct Done {
    const Partial* rows = nullptr;            // the sums of all blocks of that sweep, by the Gram route
    const SumTree<PassSums>* pass = nullptr;  // those of all blocks of that pass
};
Inference infer(const Layers& layers, const Settings& settings, const Swept& swept,
                const Questions& questions, const Done& done = {}, const Observer& observer = {});

// That pass in pieces: how many blocks it has, and the sums of blocks [first, last).
index pass_blocks(const Problem& problem, const Questions& questions);
SumTree<PassSums> pass_over(const Layers& layers, const Swept& swept, const Questions& questions, index first,
                            index last, const Observer& observer = {});

// Ku of one layer, up to a factor, row by row, and its diagonal of Kc.
template <class T>
void u_centred(const MatrixView& view, const Settings& settings, const Observer& observer, T* out,
               double* diagonal);

// At the peak, beside the inputs, after the sweep of the plan.
index inference_bytes(const Problem& problem, const Questions& questions);

}  // namespace fastcka
