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

// The sums over all samples of a stream. Most are in the moments of `added`; the cross products `zz` lack the blocks of
// `added` and are in the scale of `before`. The samples `apart` are in neither. `share`: the part of the terms of the
// condition that counts as magnitude, beside the whole of the terms that are summed here.
LinearSums linear_sums(const CrossProducts& zz, const Moments& before, const Addition& added,
                       const SampleRows& apart, double share, const Engine& engine);

}  // namespace fastcka
