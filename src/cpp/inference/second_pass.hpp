// SPDX-License-Identifier: BSD-3-Clause
// One more pass over the Gram matrices of all layers, for sums that need their margins first. A block is some whole rows;
// the sums of blocks are values that merge.
#pragma once

#include "inference/inference.hpp"
#include "inference/jackknife.hpp"

namespace fastcka {

struct PassSums {
    Deviations deviations;  // empty unless standard errors are asked for
    // Empty unless moments under permutation are asked for: sum_j Ku_ij^2 of the samples of the block; sum_ij Ku_ij^3 and
    // k' Ku k of each layer.
    SampleValues squares;
    Eigen::VectorXd cubes, quadratic_forms;

    // Throws std::invalid_argument where shapes differ.
    void merge(const PassSums& right);
};

// The deletions of the jackknife, and so the rows, of each block. They depend on samples, layers, groups, precision and
// level alone.
class PassBlocks {
  public:
    PassBlocks(const LayerSet& set, const Deletions& deletions, index samples, index panel_width);

    index count() const { return static_cast<index>(first_.size()) - 1; }
    Span deletions(index block) const {
        return {first_[static_cast<std::size_t>(block)], first_[static_cast<std::size_t>(block) + 1]};
    }

  private:
    std::vector<index> first_;  // of each block, and the number of deletions at the end
};

template <class T> class SecondPass {
  public:
    // `full`: of all samples, see full_products.
    SecondPass(const Layers& layers, const Swept& swept, const Questions& questions, Centred centred,
               const FullProducts& full, const Engine& engine);
    static Bytes bytes(const Problem& problem, const Questions& questions, index panel_width);

    const GramRows<T>& rows() const { return rows_; }
    // The sums of blocks [first, last).
    SumTree<PassSums> run(index first, index last);

  private:
    Span rows_of(index block) const;
    PassSums sums_of(index block);
    void fill(index first);
    void add_sums(Span rows, index first, PassSums& sums);

    const LayerSet& set_;
    const Engine& engine_;
    Centred centred_;
    bool errors_, permutations_;  // what this pass is for
    Deletions deletions_;
    const FullProducts& full_;
    GramRows<T> rows_;
    PassBlocks blocks_;
    index n_, count_;
    std::vector<TileScratch<T>> scratch_;  // per thread
    Buffer<T> memory_;                     // a strip of rows of all layers
    std::vector<const T*> strips_;
    Buffer<T> weights_;  // k - mean k of each layer, `stride` apart
};

// <W, V> over all samples, of pairs and of layers with themselves, for the estimator of the questions.
FullProducts full_products(const Swept& swept, const Questions& questions,
                           const std::vector<LayerNote>& notes);

// Splits questions: some are answered by sums of single samples, which a sweep computes; the others need a pass.
struct Asked {
    Questions rows, pass;
    std::optional<Problem> sweep;  // the sweep that computes those sums; nullopt if none can

    Asked(const Problem& problem, const Questions& questions);
};

inline Centred centred_of(Estimator estimator) {
    return estimator == Estimator::unbiased ? Centred::hollow : Centred::doubly;
}

}  // namespace fastcka
