// SPDX-License-Identifier: BSD-3-Clause
// Standard errors of all pairs, and the sums from which the moments of a measure under permutation follow. They come from
// sums of single samples, which the sweep of a linear kernel can compute on its way, or from one more pass over the Gram
// matrices.
#pragma once

#include "compare/pairwise.hpp"
#include "inference/permutation_sums.hpp"

namespace fastcka {

struct Questions {
    Estimator estimator = Estimator::unbiased;  // of the questions; Settings have the one that is shown
    bool standard_errors = false;
    // Groups of samples that the jackknife deletes: the first sample of each, then the number of samples. Empty: each
    // sample.
    std::vector<index> groups = {};
    bool permutations = false;

    bool any() const { return standard_errors || permutations; }
};

struct Inference : Pairwise {
    Alignment asked;  // by the estimator of the questions; the base class has the estimator of the settings
    index samples = 0;
    Eigen::MatrixXd standard_errors;  // rows x columns, or empty
    PermutationSums sums;             // or empty
};

Inference infer(const Layers& layers, const Settings& settings, const Questions& questions,
                const Observer& observer = {});

// The work that questions need after the sums of all blocks: none; one more sweep, which computes sums of single samples;
// or one more pass, over whole rows.
struct PassSums;
enum class Further { nothing, sweep, pass };
Further further_work(const Problem& problem, const Questions& questions);

// The same after the sums of all blocks. `Done`: the further work, if it has been done already; null: it is done here.
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

// Writes Ku of one layer, n x n row by row, to `out`, and the diagonal of its Kc to `diagonal`; both up to the same factor.
// Throws NeedsDouble in float32.
template <class T>
void u_centred(const MatrixView& view, const Settings& settings, const Observer& observer, T* out,
               double* diagonal);

// Bytes at the peak after the sweep of the plan, without the inputs.
index inference_bytes(const Problem& problem, const Questions& questions);

}  // namespace fastcka
