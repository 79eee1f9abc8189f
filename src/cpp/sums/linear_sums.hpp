// SPDX-License-Identifier: BSD-3-Clause
// From the moments of a stream to the sums of the linear kernel.
#pragma once

#include "layers/layer_note.hpp"
#include "sums/moment_block.hpp"
#include "sums/sample_rows.hpp"
#include "sums/sums.hpp"

#include <vector>

namespace fastcka {

struct LinearSums {
    Sums sums;
    std::vector<LayerNote> layers;
};

// Of the samples in `added` moments and in the cross products `zz` (in the scale of `before`) together with the blocks that
// they lack, and of the samples `apart`, which are in neither. `share`: of the terms of the condition that counts as
// magnitude; what is summed counts whole.
LinearSums linear_sums(const CrossProducts& zz, const Moments& before, const Addition& added,
                       const SampleRows& apart, double share, const Engine& engine);

}  // namespace fastcka
