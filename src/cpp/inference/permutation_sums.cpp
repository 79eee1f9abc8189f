// SPDX-License-Identifier: BSD-3-Clause
#include "inference/permutation_sums.hpp"

#include "inference/cubes.hpp"

#include <algorithm>
#include <optional>

namespace fastcka {
namespace {

bool by_features(const Kernel& kernel, index width, index samples) {
    return kernel.is_linear() && width < samples;
}

// tr(Kc^3) = tr((X'X)^3). Off the diagonal, Ku = M = Kc + E with E = a 1' + 1 a' - c 1 1', a = k / (n - 2) and
// c = sum k / ((n - 1) (n - 2)); Ku = M - D with D = diag(M). Since Kc 1 = 0,
// tr(M^3) = tr(Kc^3) + 3 n a' Kc a + tr(E^3), and tr(Ku^3) = tr(M^3) - 3 sum d_i sum_j Ku_ij^2 - sum d_i^3.
template <class T>
double trace_by_features(const Source& source, const Kernel& kernel, index layer, const PermutationSums& sums,
                         const Engine& engine) {
    const std::optional<RowScaling> scaling = row_scaling(source, kernel.traits().rows, engine);
    const RowScaling* const rows = scaling ? &*scaling : nullptr;
    const Centring centring = centring_of(source, rows, engine);
    const double cube = trace_of_cube_of_features<T>(source, centring, rows, engine);
    const double n = static_cast<double>(source.rows());
    const Eigen::VectorXd k = sums.diagonals.col(layer), a = k / (n - 2);
    const double sum = a.sum(), c = k.sum() / ((n - 1) * (n - 2));
    const Eigen::VectorXd d = n * a.array() - c;  // k + 2 a - c
    // k' Ku k = k' Kc k + k' E k - k' D k
    const double form =
        sums.quadratic_forms(layer) - 2 * k.dot(a) * k.sum() + c * k.sum() * k.sum() + d.dot(k.cwiseAbs2());
    Eigen::Matrix2d e;  // E on the span of a and 1
    e << sum, n, a.squaredNorm() - c * sum, sum - c * n;
    return cube + 3 * n * form / ((n - 2) * (n - 2)) + (e * e * e).trace() -
           3 * d.dot(sums.squares.col(layer)) - d.array().cube().sum();
}

}  // namespace

template <class T>
void add_traces(const Layers& layers, const Kernel& kernel, const std::vector<LayerNote>& notes,
                const std::function<double(index, const Source&)>& by_samples, const Engine& engine,
                PermutationSums& sums) {
    sums.traces_of_cubes = Eigen::VectorXd::Constant(layers.count(), not_given);
    for (index l = 0; l < layers.count(); ++l) {
        if (notes[static_cast<std::size_t>(l)].status != Status::fine) continue;
        layers.at(l, [&](index, const Source& source) {
            sums.traces_of_cubes(l) = by_features(kernel, source.columns(), layers.samples())
                                          ? trace_by_features<T>(source, kernel, l, sums, engine)
                                          : by_samples(l, source);
            if (!kernel.is_given()) source.forget();
        });
    }
}

// The whole of Ku of one layer: the upper half from its rows, and mirrored.
template <class T> double trace_by_samples(const GramRows<T>& rows, index layer, const Engine& engine) {
    const index n = rows.samples(), stride = rows.stride(), height = rows.height();
    const Buffer<T> matrix(size_product(stride, stride));
    std::vector<TileScratch<T>> scratch;
    for (int worker = 0; worker < engine.team.threads(); ++worker) scratch.push_back(rows.scratch());
    const index strips = ceil_divide(n, height);
    engine.team.for_each(strips * rows.chunks(), [&](index task, int worker) {
        const index first = task / rows.chunks() * height, chunk = task % rows.chunks();
        if (rows.end_of(chunk) <= first) return;
        rows.fill(layer, first, chunk, matrix.data() + first * stride,
                  scratch[static_cast<std::size_t>(worker)], worker);
    });
    engine.team.for_each(strips, [&](index strip, int) {
        for (index i = strip * height; i < std::min((strip + 1) * height, n); ++i)
            for (index j = 0; j < i; ++j) matrix.data()[i * stride + j] = matrix.data()[j * stride + i];
    });
    return trace_of_cube(matrix.data(), n, stride, engine);
}

template double trace_by_samples(const GramRows<float>&, index, const Engine&);
template double trace_by_samples(const GramRows<double>&, index, const Engine&);
template void add_traces<float>(const Layers&, const Kernel&, const std::vector<LayerNote>&,
                                const std::function<double(index, const Source&)>&, const Engine&,
                                PermutationSums&);
template void add_traces<double>(const Layers&, const Kernel&, const std::vector<LayerNote>&,
                                 const std::function<double(index, const Source&)>&, const Engine&,
                                 PermutationSums&);

template <class T> Bytes trace_bytes(const Problem& problem, index panel_width) {
    const index n = problem.samples, stride = GramRows<T>::stride_of(n, panel_width);
    const Kernel& kernel = problem.settings.kernel;
    Bytes most;
    for (index l = 0; l < problem.layers.count(); ++l) {
        const index p = problem.layers.width(l);
        Bytes bytes;
        if (by_features(kernel, p, n)) {
            bytes = trace_of_cube_of_features_bytes<T>(n, p, panel_width);
            bytes.shared +=
                centring_bytes(n, p) + Centring::bytes(p) + RowScaling::bytes(kernel.traits().rows, n);
        } else {
            bytes = trace_of_cube_bytes<T>(n, panel_width);
            bytes +=
                GramRows<T>::bytes(kernel, LayerSet({p}, 1, {problem.layers.row_bytes(l)}), n, panel_width);
            bytes.shared += Buffer<T>::bytes(size_product(stride, stride));
        }
        most.shared = std::max(most.shared, bytes.shared);
        most.per_thread = std::max(most.per_thread, bytes.per_thread);
    }
    return most;
}

template Bytes trace_bytes<float>(const Problem&, index);
template Bytes trace_bytes<double>(const Problem&, index);

}  // namespace fastcka
