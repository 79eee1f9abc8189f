// SPDX-License-Identifier: BSD-3-Clause
// One more pass over the Gram matrices of all layers, for what needs their margins first. Blocks are groups of whole rows,
// whose sums are values that merge.
#pragma once

#include "inference/inference.hpp"
#include "inference/jackknife.hpp"

namespace fastcka {

struct PassSums {
    Deviations deviations;  // empty where no standard errors are asked for
    // For the moments under permutation, or empty: sum_j Ku_ij^2 of its samples; sum_ij Ku_ij^3 and k' Ku k of each layer.
    SampleValues squares;
    Eigen::VectorXd cubes, quadratic_forms;

    // Throws std::invalid_argument where shapes differ.
    void merge(const PassSums& right);
};

// Which deletions of the jackknife, and so which rows, are a block: it follows from samples, layers, groups, precision and
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
    bool errors_, permutations_;  // whether that is what this pass is for
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

// <W, V> over all samples of pairs and layers, for the estimator that is asked about.
FullProducts full_products(const Swept& swept, const Questions& questions,
                           const std::vector<LayerNote>& notes);

// What is asked of a pass, and what of the sums of single samples that a sweep makes.
struct Asked {
    Questions rows, pass;
    std::optional<Problem> sweep;  // that makes those sums; nothing where none can

    Asked(const Problem& problem, const Questions& questions);
};

inline Centred centred_of(Estimator estimator) {
    return estimator == Estimator::unbiased ? Centred::hollow : Centred::doubly;
}

}  // namespace fastcka
