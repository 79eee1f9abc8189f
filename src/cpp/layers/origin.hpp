// SPDX-License-Identifier: BSD-3-Clause
// The origin that samples are packed about for kernels which do not care where it is.
#pragma once

#include "layers/representation.hpp"

namespace fastcka {

// One that massive samples do not move: feature by feature the lower median of at most 64 evenly spaced samples, where it is
// more than `far` times the distance of the quartiles; otherwise zero, which takes no digits off the samples.
std::vector<double> robust_origin(const Source& source, double far, const Engine& engine);
// The samples that it copies of a layer that is read, of which a sample takes `row_bytes`.
inline index origin_bytes(index samples, index row_bytes) {
    return std::min(samples, origin_samples) * row_bytes;
}

}  // namespace fastcka
