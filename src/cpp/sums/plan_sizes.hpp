// SPDX-License-Identifier: BSD-3-Clause
// What the plans of both routes are made of. Used by sums/plan*.cpp only.
#pragma once

#include "simd/tuning.hpp"
#include "sums/plan.hpp"

namespace fastcka {

inline index triangle_number(index n) { return n * (n + 1) / 2; }

inline bool fits(const Problem& problem, index bytes) {
    return problem.settings.max_bytes == 0 || bytes <= problem.settings.max_bytes;
}

// A layer that is not in memory is read as a whole where there is room for that, so that each value is read once, not once
// for its means and again to be packed. `bytes` counts the least already.
void choose_reading(const Problem& problem, Plan& plan);

// Sets threads and bytes. Threads that max_bytes has no room for are left out; whether a plan fits, and so the route, is a
// matter of one thread, since results must not depend on their number.
void choose_threads(const Problem& problem, double multiply_adds, index tasks, const Bytes& bytes,
                    Plan& plan);

// How often all strips are packed while all pairs of them meet; `stay`: those of the rows are packed once.
double packings(index rows, const Held& held, bool stay = true);

// Of one route; bytes beyond max_bytes where it does not fit.
template <class T> Plan plan_gram(const Problem& problem, index panel_width);
template <class T> Plan plan_feature(const Problem& problem, index panel_width);

}  // namespace fastcka
