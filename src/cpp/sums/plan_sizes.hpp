// SPDX-License-Identifier: BSD-3-Clause
// What the plans of both routes are made of. Used by sums/plan*.cpp only.
#pragma once

#include "simd/tuning.hpp"
#include "sums/plan.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

namespace fastcka {

inline index ceil_divide(index a, index b) { return (a + b - 1) / b; }
inline index triangle_number(index n) { return n * (n + 1) / 2; }

// What both routes need to know of a problem.
struct Sizes {
    index n, layers, width, element;     // width: vectors per panel
    const std::vector<index>& features;  // of all layers
    index pairs;                         // pairs of layers, selves included

    Sizes(const Problem& problem, index panel_width)
        : n(problem.samples), layers(problem.layers.count()), width(panel_width),
          element(problem.settings.precision == Precision::float64 ? 8 : 4),
          features(problem.layers.widths()), pairs(problem.layers.wanted_pairs()) {}
    index whole_panels(index vectors) const { return ceil_divide(vectors, width) * width; }
    index most_features() const { return *std::max_element(features.begin(), features.end()); }
    // Sums of the features of one layer, chunk by chunk.
    index chunk_bytes() const {
        return 8 * std::min(most_row_chunks, ceil_divide(n, least_rows_per_chunk)) * most_features();
    }
    // Margins, means, terms of every layer: a few vectors of n and p float64 values.
    index vectors_bytes() const {
        const index p = std::accumulate(features.begin(), features.end(), index{0});
        return 8 * (8 * n * layers + 5 * p) + chunk_bytes();
    }
    // The same where the features of a layer are forgotten once its tile is made.
    index sample_vectors_bytes() const { return 8 * 8 * n * layers; }
    index feature_vectors_bytes() const { return 8 * 5 * most_features() + chunk_bytes(); }
    index results_bytes() const { return 8 * 8 * pairs; }
};

// A layer that is not in memory is read as a whole where there is room for that, so that each value is read once, not once
// for its means and again to be packed. `bytes` counts the least already.
void choose_reading(const Problem& problem, const Sizes& s, Plan& plan);

// Sets threads and bytes. Threads that max_bytes has no room for are left out; whether a plan fits, and so the route, is a
// matter of one thread, since results must not depend on their number.
void choose_threads(const Problem& problem, double multiply_adds, index tasks, index shared_bytes,
                    index bytes_per_thread, Plan& plan);

// How often all strips are packed while all pairs of them meet; `stay`: those of the rows are packed once.
double packings(index rows, const Held& held, bool stay = true);

// Of one route; bytes beyond max_bytes where it does not fit.
Plan plan_gram(const Problem& problem, const Sizes& s);
Plan plan_feature(const Problem& problem, const Sizes& s);

}  // namespace fastcka
