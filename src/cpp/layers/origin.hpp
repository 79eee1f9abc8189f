// SPDX-License-Identifier: BSD-3-Clause
// The origin that is subtracted from samples, for kernels that do not depend on it.
#pragma once

#include "layers/representation.hpp"

namespace fastcka {

// One that massive samples do not move: feature by feature the lower median of at most 64 evenly spaced samples if it is
// more than `far` times the distance of the quartiles, and otherwise zero, which costs the samples no digits.
std::vector<double> robust_origin(const Source& source, double far, const Engine& engine);
// The bytes of the samples that it copies from a layer that has to be read; `row_bytes`: of one sample.
inline index origin_bytes(index samples, index row_bytes) {
    return std::min(samples, origin_samples) * row_bytes;
}

}  // namespace fastcka
