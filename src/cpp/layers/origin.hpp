// SPDX-License-Identifier: BSD-3-Clause
// The origin that is subtracted from samples, for kernels that do not depend on it.
#pragma once

#include "layers/representation.hpp"

namespace fastcka {

// What is subtracted from a feature, of which these are some values in order: their lower median, or zero.
using OriginRule = double (*)(const std::vector<double>& sorted);
double median_of(const std::vector<double>& sorted);
// The median where it is farther from zero than the quartiles are from each other: norms are then long beside distances.
double median_if_far(const std::vector<double>& sorted);
// The median where x - median has no rounding (Sterbenz: x between half and twice of it), which may be all that two near
// samples differ by. One of the values may lie elsewhere, since alone it has no neighbour.
double median_if_exact(const std::vector<double>& sorted);

// An origin that massive samples do not move: by a rule for each feature, from at most 64 evenly spaced samples.
std::vector<double> robust_origin(const Source& source, OriginRule rule, const Engine& engine);
// The bytes of the samples that it copies from a layer that has to be read; `row_bytes`: of one sample.
inline index origin_bytes(index samples, index row_bytes) {
    return std::min(samples, origin_samples) * row_bytes;
}

}  // namespace fastcka
