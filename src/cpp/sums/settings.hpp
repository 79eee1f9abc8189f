// SPDX-License-Identifier: BSD-3-Clause
// What a caller chooses, checked on entry.
#pragma once

#include "base/precision.hpp"
#include "kernels/kernel.hpp"

namespace fastcka {

enum class Estimator { biased, unbiased };
enum class Measure { cka, rv2, rsa_cosine, rsa_pearson };
enum class Route { automatic, gram, feature };

struct Settings {
    Kernel kernel;
    Estimator estimator = Estimator::biased;
    Precision precision = Precision::float32;  // few samples are always computed in float64
    int threads = 1;                           // the most that may be used
    index max_bytes = 0;                       // 0: no limit
    Route route = Route::automatic;
    Measure measure = Measure::cka;
    bool row_products = false;  // compute sums of single samples, for inference, if the sweep can
};

}  // namespace fastcka
