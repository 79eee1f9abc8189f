// SPDX-License-Identifier: BSD-3-Clause
// Standard errors, moments and permutations.
#include "inference/inference.hpp"

#include "bindings/common.hpp"
#include "inference/cubes.hpp"
#include "inference/permutations.hpp"
#include "inference/second_pass.hpp"
#include "simd/dispatch.hpp"

namespace fastcka {
namespace {

using Orders = py::array_t<std::int32_t, py::array::c_style>;

Estimator estimator_of(bool unbiased) { return unbiased ? Estimator::unbiased : Estimator::biased; }

// An array of (orders, matrices, other matrices) products.
template <class Fill>
py::array_t<double> products(const Orders& orders, std::size_t left, std::size_t right, Fill&& fill) {
    if (orders.ndim() != 2) throw std::invalid_argument("orders of samples are an array of two dimensions");
    py::array_t<double> out(
        {orders.shape(0), static_cast<py::ssize_t>(left), static_cast<py::ssize_t>(right)});
    double* const data = out.mutable_data();
    const Permutations permutations{orders.data(), orders.shape(0), orders.shape(1)};
    const WithoutGil without_gil;
    fill(permutations, data);
    return out;
}

template <class T> std::vector<const T*> matrices_of(const Arrays& arrays, index n) {
    std::vector<const T*> matrices;
    for (const py::array& array : arrays) {
        if (!py::isinstance<py::array_t<T, py::array::c_style>>(array) || array.ndim() != 2 ||
            array.shape(0) != n || array.shape(1) != n)
            throw std::invalid_argument("expected square matrices of one type, row by row");
        matrices.push_back(static_cast<const T*>(array.data()));
    }
    return matrices;
}

template <class T>
py::array_t<double> products_of_matrices(const Arrays& a, const Arrays& b, const Orders& orders,
                                         int threads) {
    const auto left = matrices_of<T>(a, orders.shape(1)), right = matrices_of<T>(b, orders.shape(1));
    return products(orders, a.size(), b.size(), [&](const Permutations& permutations, double* out) {
        permuted_products<T>(left, right, permutations, threads, interruptible, out);
    });
}

template <class T> double trace_of(const py::array& matrix, int threads) {
    const index n = matrix.shape(0);
    const T* const data = matrices_of<T>({matrix}, n).front();
    const WithoutGil without_gil;
    Team team(threads, interruptible);
    double trace = 0;
    team.together([&] { trace = trace_of_cube(data, n, n, Engine{current_level(), team}); });
    return trace;
}

template <class T> py::tuple u_centred_array(const MatrixView& view, const Settings& settings) {
    py::array_t<T> out({view.rows, view.rows});
    py::array_t<double> diagonal(view.rows);
    T* const to = out.mutable_data();
    double* const to_diagonal = diagonal.mutable_data();
    {
        const WithoutGil without_gil;
        u_centred(view, settings, interruptible, to, to_diagonal);
    }
    return py::make_tuple(out, diagonal);
}

bool is_float(const Arrays& arrays) { return py::isinstance<py::array_t<float>>(arrays.front()); }

}  // namespace

void bind_inference(py::module_& m) {
    py::class_<Inference, Pairwise>(m, "Inference")
        .def_property_readonly("asked", [](const Inference& i) { return i.asked; })
        .def_readonly("n_samples", &Inference::samples)
        .def_property_readonly("standard_errors",
                               [](const Inference& i) { return array_of(i.standard_errors); })
        .def_property_readonly("diagonals", [](const Inference& i) { return array_of(i.sums.diagonals); })
        .def_property_readonly("squares", [](const Inference& i) { return array_of(i.sums.squares); })
        .def_property_readonly("cubes", [](const Inference& i) { return array_of(i.sums.cubes); })
        .def_property_readonly("quadratic_forms",
                               [](const Inference& i) { return array_of(i.sums.quadratic_forms); })
        .def_property_readonly("traces_of_cubes",
                               [](const Inference& i) { return array_of(i.sums.traces_of_cubes); });

    m.def(
        "infer",
        [](const Sources& layers_a, const OptionalSources& layers_b, const Settings& settings, bool unbiased,
           bool standard_errors, bool permutations, const std::vector<index>& groups, const Partial* partial,
           const Partial* rows, const SumTree<PassSums>* pass, const std::optional<py::function>& progress) {
            const Layers layers = layers_of(layers_a, layers_b);
            const Questions questions{estimator_of(unbiased), standard_errors, groups, permutations};
            const Observer observer = observer_of(progress);
            const WithoutGil without_gil;
            if (partial == nullptr) return infer(layers, settings, questions, observer);
            const Problem problem = problem_of(layers, settings);
            return infer(layers, settings, Swept{problem, plan_of(problem), *partial}, questions,
                         {rows, pass}, observer);
        },
        py::arg("layers_a"), py::arg("layers_b"), py::arg("settings"), py::kw_only(), py::arg("unbiased"),
        py::arg("standard_errors"), py::arg("permutations"), py::arg("groups") = std::vector<index>{},
        py::arg("partial") = py::none(), py::arg("rows") = py::none(), py::arg("second_pass") = py::none(),
        py::arg("progress") = std::nullopt);

    m.def(
        "inference_bytes",
        [](index n, std::vector<index> widths_a, const std::optional<std::vector<index>>& widths_b,
           const Settings& settings, bool unbiased, bool permutations, const std::vector<index>& groups,
           std::vector<index> row_bytes) {
            const LayerSet set = layer_set(std::move(widths_a), widths_b, std::move(row_bytes));
            return inference_bytes(problem_of(n, set, settings),
                                   {estimator_of(unbiased), true, groups, permutations});
        },
        py::arg("n"), py::arg("widths_a"), py::arg("widths_b"), py::arg("settings"), py::kw_only(),
        py::arg("unbiased"), py::arg("permutations"), py::arg("groups") = std::vector<index>{},
        py::arg("row_bytes") = std::vector<index>{});

    m.def(
        "u_centred",
        [](const py::array& samples, const Settings& settings) {
            const MatrixView view = view_of(samples);
            if (settings.precision == Precision::float64) return u_centred_array<double>(view, settings);
            try {
                return u_centred_array<float>(view, settings);
            } catch (const NeedsDouble&) {
                Settings exact = settings;
                exact.precision = Precision::float64;
                return u_centred_array<double>(view, exact);
            }
        },
        py::arg("X"), py::arg("settings"));

    m.def(
        "permuted_products",
        [](const Arrays& left, const Arrays& right, const Orders& orders, int n_threads) {
            return is_float(left) ? products_of_matrices<float>(left, right, orders, n_threads)
                                  : products_of_matrices<double>(left, right, orders, n_threads);
        },
        py::arg("left"), py::arg("right"), py::arg("orders"), py::arg("n_threads"));

    m.def(
        "permuted_feature_products",
        [](const Arrays& left, const Arrays& right, const Settings& settings, const Orders& orders) {
            const auto a = views_of(left), b = views_of(right);
            const auto fill = settings.precision == Precision::float64 ? permuted_feature_products<double>
                                                                       : permuted_feature_products<float>;
            return products(orders, a.size(), b.size(), [&](const Permutations& permutations, double* out) {
                fill(a, b, settings.kernel, permutations, settings.threads, interruptible, out);
            });
        },
        py::arg("left"), py::arg("right"), py::arg("settings"), py::arg("orders"));

    m.def(
        "trace_of_cube",
        [](const py::array& matrix, int n_threads) {
            return is_float({matrix}) ? trace_of<float>(matrix, n_threads)
                                      : trace_of<double>(matrix, n_threads);
        },
        py::arg("matrix"), py::arg("n_threads"));
}

}  // namespace fastcka
