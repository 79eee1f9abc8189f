// SPDX-License-Identifier: BSD-3-Clause
// <W, P V P'> for many permutations P and all pairs of matrices. One side is permuted; each of its rows is used for all
// permutations of a task and all matrices of the other side while it is in the cache.
#pragma once

#include "kernels/kernel.hpp"
#include "layers/representation.hpp"

#include <cstdint>

namespace fastcka {

// `count` permutations of `samples` samples: sample i of the one side meets sample order[i] of the other.
struct Permutations {
    const std::int32_t* orders;
    index count, samples;
    const std::int32_t* operator[](index number) const { return orders + number * samples; }
};

// out[(k * left + a) * right + b] = <W_a, P_k V_b P_k'> of symmetric matrices, n x n row by row. Throws
// std::invalid_argument if an order is no permutation.
template <class T>
void permuted_products(const std::vector<const T*>& left, const std::vector<const T*>& right,
                       const Permutations& permutations, int threads, const Observer& observer, double* out);

// The same for W = X X', V = Y Y' of centred features, as |X' P Y|^2, in packed units.
template <class T>
void permuted_feature_products(const std::vector<MatrixView>& left, const std::vector<MatrixView>& right,
                               const Kernel& kernel, const Permutations& permutations, int threads,
                               const Observer& observer, double* out);

}  // namespace fastcka
