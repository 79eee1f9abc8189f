// SPDX-License-Identifier: BSD-3-Clause
// Centred Gram matrices W: Kc = H K H, or Ku, which is hollow (zeros on its diagonal) and has rows that sum to zero.
#pragma once

#include "sums/sums.hpp"

#include <vector>

namespace fastcka {

enum class Centred { doubly, hollow };

// Off the diagonal, W_ij = K_ij - row_i - row_j.
template <class T> struct CentringTerms {
    std::vector<T> row;
    std::vector<T> diagonal;  // W_ii

    static index bytes(index samples) { return 2 * index{sizeof(T)} * samples; }

    // `layer`: a column of `margins`. Ku_ij = K_ij - r_i / (n - 2) - r_j / (n - 2) + s / ((n - 1) (n - 2)) with sums
    // off the diagonal, and Kc_ij = K_ij - r_i / n - r_j / n + s / n^2 with sums of whole rows.
    CentringTerms(const Margins& margins, index layer, Centred centred) {
        const Eigen::VectorXd diagonal_of_k = margins.diagonal.col(layer);
        const double n = static_cast<double>(diagonal_of_k.size());
        Eigen::VectorXd sums = margins.row_sums.col(layer);
        if (centred == Centred::doubly) sums += diagonal_of_k;
        const double from_row = centred == Centred::doubly ? n : n - 2;
        const double from_all = centred == Centred::doubly ? n * n : (n - 1) * (n - 2);
        sums = (sums / from_row).array() - sums.sum() / from_all / 2;
        for (std::vector<T>* terms : {&row, &diagonal}) terms->reserve(static_cast<std::size_t>(sums.size()));
        for (index i = 0; i < sums.size(); ++i) {
            row.push_back(static_cast<T>(sums(i)));
            diagonal.push_back(centred == Centred::doubly ? static_cast<T>(diagonal_of_k(i) - 2 * sums(i))
                                                          : T(0));
        }
    }
};

}  // namespace fastcka
