// SPDX-License-Identifier: BSD-3-Clause
// Whole Gram matrices.
#include "bindings/common.hpp"
#include "layers/gram.hpp"

namespace fastcka {
namespace {

template <class T> py::array gram_array(const MatrixView& view, const Kernel& kernel, int threads) {
    py::array_t<T> out({view.rows, view.rows});
    T* data = out.mutable_data();
    const WithoutGil without_gil;
    gram(view, kernel, threads, interruptible, data);
    return out;
}

template <class T> py::array center_array(const MatrixView& view, int threads) {
    py::array_t<T> out({view.rows, view.rows});
    T* data = out.mutable_data();
    const WithoutGil without_gil;
    center(view, threads, interruptible, data);
    return out;
}

}  // namespace

void bind_matrices(py::module_& m) {
    m.def(
        "gram",
        [](const py::array& samples, const Kernel& kernel, bool double_precision, int n_threads) {
            const MatrixView view = view_of(samples);
            return double_precision ? gram_array<double>(view, kernel, n_threads)
                                    : gram_array<float>(view, kernel, n_threads);
        },
        py::arg("X"), py::arg("kernel"), py::kw_only(), py::arg("double_precision"), py::arg("n_threads"));

    m.def(
        "center",
        [](const py::array& gram, int n_threads) {
            const MatrixView view = view_of(gram);
            const bool single =
                view.element == Element::f32 || view.element == Element::f16 || view.element == Element::bf16;
            return single ? center_array<float>(view, n_threads) : center_array<double>(view, n_threads);
        },
        py::arg("K"), py::arg("n_threads"));
}

}  // namespace fastcka
