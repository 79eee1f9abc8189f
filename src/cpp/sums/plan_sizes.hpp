// SPDX-License-Identifier: BSD-3-Clause
// Shared by the plans of both routes. Used by sums/plan*.cpp only.
#pragma once

#include "simd/tuning.hpp"
#include "sums/plan.hpp"

namespace fastcka {

inline index triangle_number(index n) { return n * (n + 1) / 2; }

inline bool fits(const Problem& problem, index bytes) {
    return problem.settings.max_bytes == 0 || bytes <= problem.settings.max_bytes;
}

// Sets how much is read at a time. If there is room for a whole layer that is not in memory, each of its values is read
// once, instead of once for the means and again to be packed. The plan's `bytes` include the least for reading already.
void choose_reading(const Problem& problem, Plan& plan);

// Sets threads and bytes: as many threads as pay and as fit into max_bytes, but at least one. Whether a plan fits, and so
// the route, is decided for one thread, since results must not depend on the number of threads.
void choose_threads(const Problem& problem, double multiply_adds, index tasks, const Bytes& bytes,
                    Plan& plan);

// How often each strip is packed, on average, while all pairs of strips meet. `stay`: a strip of the rows is packed once.
double packings(index rows, const Held& held, bool stay = true);

// The plan of one route. If it does not fit, its bytes are more than max_bytes.
template <class T> Plan plan_gram(const Problem& problem, index panel_width);
template <class T> Plan plan_feature(const Problem& problem, index panel_width);

}  // namespace fastcka
