// SPDX-License-Identifier: BSD-3-Clause
// From sums to CKA or another measure, and to the layers that have no value.
#pragma once

#include "layers/layer_note.hpp"
#include "layers/layer_set.hpp"
#include "measures/measure.hpp"

#include <vector>

namespace fastcka {

// Notes the layers that have no value: where the inner product of a layer with itself is a tiny part of the terms that it
// is the difference of, what they leave is rounding. `known_up_to`: the largest condition at which the arithmetic of the
// sums keeps enough digits.
void mark_degenerate(const Estimates& self, const Formula& formula, double known_up_to,
                     std::vector<LayerNote>& notes);
bool has_too_coarse(const std::vector<LayerNote>& notes);

struct Alignment {
    LayerSet set;
    Eigen::MatrixXd cka;                   // or another measure, rows x columns; NaN if a layer is degenerate
    Eigen::MatrixXd chance;                // its mean over all permutations of the samples of one network
    Eigen::MatrixXd hsic;                  // or the inner product of another measure
    Eigen::VectorXd self;                  // HSIC of each layer with itself
    Eigen::VectorXd effective_dimensions;  // tr(Kc)^2 / |Kc|^2 of each layer, its participation ratio
    std::vector<LayerNote> layers;

    // Of its matrices.
    static index bytes(const LayerSet& set) { return 3 * 8 * set.rows() * set.columns(); }
};

// Builds an Alignment from sums that come some columns at a time: the sums of thousands of layers are many times the
// result.
class AlignmentBuilder {
  public:
    // `known_up_to`: see mark_degenerate.
    AlignmentBuilder(const PairSums& selves, double samples, LayerSet set, std::vector<LayerNote> layers,
                     const Formula& formula, double known_up_to = largest_condition);

    // Sets columns from `first` on. For one network the rows below the last of them may be left out. Threads may set
    // different columns at the same time.
    void set_columns(index first, const PairSums& pairs);
    Alignment finish() &&;

  private:
    double samples_;
    const Formula& formula_;
    Eigen::VectorXd roots_;  // of the inner product of each layer with itself; NaN for a degenerate one
    Alignment out_;
};

Alignment alignment_of(const Sums& sums, const LayerSet& set, std::vector<LayerNote> layers,
                       const Formula& formula, double known_up_to = largest_condition);

}  // namespace fastcka
