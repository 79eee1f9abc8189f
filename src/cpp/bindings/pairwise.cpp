// SPDX-License-Identifier: BSD-3-Clause
// Kernels, plans, all pairs of layers, and the same in pieces.
#include "compare/pairwise.hpp"

#include "bindings/common.hpp"
#include "simd/dispatch.hpp"

namespace fastcka {
namespace {

constexpr std::array kernel_kinds{
    std::pair{"linear", KernelKind::linear},           std::pair{"rbf", KernelKind::rbf},
    std::pair{"laplacian", KernelKind::laplacian},     std::pair{"polynomial", KernelKind::polynomial},
    std::pair{"cosine", KernelKind::cosine},           std::pair{"distance", KernelKind::distance},
    std::pair{"precomputed", KernelKind::precomputed},
};
constexpr std::array measures{std::pair{"cka", Measure::cka}, std::pair{"rv2", Measure::rv2},
                              std::pair{"rsa_cosine", Measure::rsa_cosine},
                              std::pair{"rsa_pearson", Measure::rsa_pearson}};
constexpr std::array routes{std::pair{"auto", Route::automatic}, std::pair{"gram", Route::gram},
                            std::pair{"feature", Route::feature}};

const char* text_of(Route route) { return route == Route::gram ? "gram" : "feature"; }

const char* text_of(Status status) {
    switch (status) {
        case Status::fine: return "";
        case Status::constant: return "constant";
        case Status::nonpositive: return "nonpositive";
        case Status::equidistant: return "equidistant";
        case Status::zero_bandwidth: return "zero_bandwidth";
    }
    return "";
}

using Arrays = std::vector<py::array>;
using Widths = std::vector<index>;

// of(report) for each layer of the rows, or of the columns
template <class Of> py::list reports(const Alignment& alignment, bool of_columns, Of&& of) {
    const index first = of_columns ? alignment.set.first_column() : 0;
    const index count = of_columns ? alignment.set.columns() : alignment.set.rows();
    py::list list;
    for (index l = first; l < first + count; ++l)
        list.append(of(alignment.layers[static_cast<std::size_t>(l)]));
    return list;
}
py::list statuses(const Alignment& alignment, bool of_columns) {
    return reports(alignment, of_columns, [](const LayerNote& report) { return text_of(report.status); });
}
py::list sigmas(const Alignment& alignment, bool of_columns) {
    return reports(alignment, of_columns, [](const LayerNote& report) { return report.sigma; });
}

}  // namespace

Layers layers_of(const std::vector<py::array>& a, const std::optional<std::vector<py::array>>& b) {
    if (!b) return {views_of(a)};
    return {views_of(a), views_of(*b)};
}

Settings settings_of(const Kernel& kernel, bool unbiased, bool double_precision, int threads, index max_bytes,
                     const std::string& route, const std::string& measure) {
    return {kernel,
            unbiased ? Estimator::unbiased : Estimator::biased,
            double_precision ? Precision::float64 : Precision::float32,
            threads,
            max_bytes,
            named(routes, route),
            named(measures, measure)};
}

void bind_pairwise(py::module_& m) {
    py::class_<Kernel>(m, "Kernel")
        .def(py::init([](const std::string& kind, double bandwidth, double sigma, bool offdiag, int degree,
                         double coef0, double gamma, double exponent) {
                 return Kernel{
                     named(kernel_kinds, kind), bandwidth, sigma, offdiag, degree, coef0, gamma, exponent};
             }),
             py::arg("kind"), py::kw_only(), py::arg("bandwidth") = 1.0, py::arg("sigma") = not_given,
             py::arg("offdiagonal") = false, py::arg("degree") = 2, py::arg("coef0") = 1.0,
             py::arg("gamma") = not_given, py::arg("exponent") = 1.0);

    py::class_<Alignment>(m, "Alignment")
        .def_property_readonly("cka", [](const Alignment& a) { return array_of(a.cka); })
        .def_property_readonly("chance", [](const Alignment& a) { return array_of(a.chance); })
        .def_property_readonly("hsic", [](const Alignment& a) { return array_of(a.hsic); })
        .def_property_readonly(
            "self_a", [](const Alignment& a) { return array_of(Eigen::VectorXd(a.self.head(a.set.rows()))); })
        .def_property_readonly(
            "self_b",
            [](const Alignment& a) { return array_of(Eigen::VectorXd(a.self.tail(a.set.columns()))); })
        .def_property_readonly("dimensions_a",
                               [](const Alignment& a) {
                                   return array_of(
                                       Eigen::VectorXd(a.effective_dimensions.head(a.set.rows())));
                               })
        .def_property_readonly("dimensions_b",
                               [](const Alignment& a) {
                                   return array_of(
                                       Eigen::VectorXd(a.effective_dimensions.tail(a.set.columns())));
                               })
        .def_property_readonly("status_a", [](const Alignment& a) { return statuses(a, false); })
        .def_property_readonly("status_b", [](const Alignment& a) { return statuses(a, true); })
        .def_property_readonly("sigma_a", [](const Alignment& a) { return sigmas(a, false); })
        .def_property_readonly("sigma_b", [](const Alignment& a) { return sigmas(a, true); });

    py::class_<Pairwise, Alignment>(m, "Pairwise")
        .def_property_readonly("route", [](const Pairwise& p) { return text_of(p.plan.route); })
        .def_property_readonly("double_precision",
                               [](const Pairwise& p) { return p.plan.precision == Precision::float64; });

    py::class_<Plan>(m, "PlanInfo")
        .def_property_readonly("route", [](const Plan& p) { return text_of(p.route); })
        .def_readonly("flops", &Plan::flops)
        .def_readonly("bytes", &Plan::bytes)
        .def_readonly("tile", &Plan::tile)
        .def_readonly("tiles", &Plan::tiles)
        .def_readonly("blocks", &Plan::blocks)
        .def_readonly("n_threads", &Plan::threads)
        .def_readonly("panel_width", &Plan::panel_width)
        .def_property_readonly("double_precision",
                               [](const Plan& p) { return p.precision == Precision::float64; })
        .def_property_readonly("simd_level", [](const Plan&) { return current_level().name; });

    m.def(
        "pairwise",
        [](const Arrays& layers_a, const std::optional<Arrays>& layers_b, const Kernel& kernel, bool unbiased,
           bool double_precision, int n_threads, index max_bytes, const std::string& route,
           const std::string& measure, const std::optional<py::function>& progress) {
            const Layers layers = layers_of(layers_a, layers_b);
            const Settings settings =
                settings_of(kernel, unbiased, double_precision, n_threads, max_bytes, route, measure);
            const Observer observer = observer_of(progress);
            const WithoutGil without_gil;
            return pairwise(layers, settings, observer);
        },
        py::arg("layers_a"), py::arg("layers_b"), py::arg("kernel"), py::kw_only(), py::arg("unbiased"),
        py::arg("double_precision"), py::arg("n_threads"), py::arg("max_bytes"), py::arg("route"),
        py::arg("measure") = "cka", py::arg("progress"));

    m.def(
        "plan",
        [](index n, const Widths& widths_a, const std::optional<Widths>& widths_b, const Kernel& kernel,
           bool double_precision, int n_threads, index max_bytes, const std::string& route) {
            return plan_of(
                {n, layer_set(widths_a, widths_b),
                 settings_of(kernel, false, double_precision, n_threads, max_bytes, route, "cka")});
        },
        py::arg("n"), py::arg("widths_a"), py::arg("widths_b"), py::arg("kernel"), py::kw_only(),
        py::arg("double_precision"), py::arg("n_threads"), py::arg("max_bytes"), py::arg("route") = "auto");
}

}  // namespace fastcka
