// SPDX-License-Identifier: BSD-3-Clause
#include "layers/origin.hpp"

#include <algorithm>
#include <cmath>

namespace fastcka {

std::vector<double> robust_origin(const MatrixView& view, Precision precision, const Engine& engine) {
    const double far = precision == Precision::float64 ? 4 : 1;
    const auto& operations = engine.operations<double>();
    const index n = view.rows, p = view.columns, count = std::min(n, origin_samples);
    const index chunk = 256;
    std::vector<double> origin(static_cast<std::size_t>(p));
    engine.team.for_each((p + chunk - 1) / chunk, [&](index task, int) {
        const index first = task * chunk, columns = std::min(chunk, p - first);
        const std::vector<double> zero(static_cast<std::size_t>(columns), 0.0);
        std::vector<double> rows(static_cast<std::size_t>(count * columns), 0.0);
        std::vector<double> feature(static_cast<std::size_t>(count));
        double ignored = 0;
        for (index i = 0; i < count; ++i)
            operations.feature_statistics(view, {}, i * n / count, 1, first, columns, zero.data(),
                                          rows.data() + i * columns, &ignored);
        for (index j = 0; j < columns; ++j) {
            for (index i = 0; i < count; ++i)
                feature[static_cast<std::size_t>(i)] = rows[static_cast<std::size_t>(i * columns + j)];
            std::sort(feature.begin(), feature.end());
            const auto quartile = [&](index k) {
                return feature[static_cast<std::size_t>(k * (count - 1) / 4)];
            };
            const bool far_from_zero = std::abs(quartile(2)) > far * (quartile(3) - quartile(1));
            origin[static_cast<std::size_t>(first + j)] = far_from_zero ? quartile(2) : 0;
        }
    });
    return origin;
}

}  // namespace fastcka
