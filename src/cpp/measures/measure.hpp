// SPDX-License-Identifier: BSD-3-Clause
// What a measure is: an inner product of two centred Gram matrices over the roots of their inner products with
// themselves. A new one is a function of PairSums and a row of the table in measure.cpp.
#pragma once

#include "layers/layer_note.hpp"
#include "measures/hsic.hpp"
#include "sums/settings.hpp"

namespace fastcka {

struct Formula {
    Measure measure;
    Estimator estimator;  // of CKA; the others have none
    Estimates (*inner_product)(const PairSums& sums, double samples);
    double (*chance)(double samples);  // mean of the inner product over permutations, over tr(Kc) tr(Lc)
    index fewest_samples;
    Status degenerate;  // a layer whose inner product with itself is zero
};

const Formula& formula_of(Measure measure, Estimator estimator);

}  // namespace fastcka
