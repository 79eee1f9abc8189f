// SPDX-License-Identifier: BSD-3-Clause
// Plans, all pairs of layers, and the same in pieces.
#include "compare/pairwise.hpp"

#include "bindings/common.hpp"
#include "simd/dispatch.hpp"

namespace fastcka {
namespace {

constexpr std::array estimators{std::pair{"biased", Estimator::biased},
                                std::pair{"unbiased", Estimator::unbiased}};
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
        case Status::too_coarse: return "too_coarse";
    }
    return "";
}

using Widths = std::vector<index>;

// of(note) for each layer of the rows, or of the columns
template <class Of> py::list notes(const Alignment& alignment, bool of_columns, Of&& of) {
    const index first = of_columns ? alignment.set.first_column() : 0;
    const index count = of_columns ? alignment.set.columns() : alignment.set.rows();
    py::list list;
    for (index l = first; l < first + count; ++l)
        list.append(of(alignment.layers[static_cast<std::size_t>(l)]));
    return list;
}
py::list statuses(const Alignment& alignment, bool of_columns) {
    return notes(alignment, of_columns, [](const LayerNote& note) { return text_of(note.status); });
}
py::list sigmas(const Alignment& alignment, bool of_columns) {
    return notes(alignment, of_columns, [](const LayerNote& note) { return note.sigma; });
}

}  // namespace

void bind_pairwise(py::module_& m) {
    py::class_<Settings>(m, "Settings")
        .def(py::init([](const Kernel& kernel, const std::string& estimator, bool double_precision,
                         int n_threads, index max_bytes, const std::string& route, const std::string& measure,
                         bool row_products) {
                 return Settings{kernel,
                                 named(estimators, estimator),
                                 double_precision ? Precision::float64 : Precision::float32,
                                 n_threads,
                                 max_bytes,
                                 named(routes, route),
                                 named(measures, measure),
                                 row_products};
             }),
             py::arg("kernel"), py::kw_only(), py::arg("estimator"), py::arg("double_precision"),
             py::arg("n_threads"), py::arg("max_bytes") = 0, py::arg("route") = "auto",
             py::arg("measure") = "cka", py::arg("row_products") = false);

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
        .def_readonly("too_coarse", &Pairwise::too_coarse)
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
        .def_readonly("reads", &Plan::reads)
        .def_readonly("row_products", &Plan::row_products)
        .def_property_readonly("double_precision",
                               [](const Plan& p) { return p.precision == Precision::float64; })
        .def_property_readonly("simd_level", [](const Plan&) { return current_level().name; });

    m.def(
        "pairwise",
        [](const Sources& layers_a, const OptionalSources& layers_b, const Settings& settings,
           const std::optional<py::function>& progress) {
            const Layers layers = layers_of(layers_a, layers_b);
            const Observer observer = observer_of(progress);
            const WithoutGil without_gil;
            return pairwise(layers, settings, observer);
        },
        py::arg("layers_a"), py::arg("layers_b"), py::arg("settings"), py::arg("progress") = std::nullopt);

    m.def(
        "plan",
        [](index n, const Widths& widths_a, const std::optional<Widths>& widths_b, const Settings& settings,
           const Widths& row_bytes) {
            return plan_of(problem_of(n, layer_set(widths_a, widths_b, row_bytes), settings));
        },
        py::arg("n"), py::arg("widths_a"), py::arg("widths_b"), py::arg("settings"),
        py::arg("row_bytes") = Widths{});
}

}  // namespace fastcka
