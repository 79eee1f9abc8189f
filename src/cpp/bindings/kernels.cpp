// SPDX-License-Identifier: BSD-3-Clause
// Kernels by name, with their options by name.
#include "bindings/common.hpp"
#include "kernels/kernel.hpp"

namespace fastcka {
namespace {

Kernel kernel_of(const std::string& name, const py::kwargs& options) {
    Kernel kernel = Kernel::named(name);
    std::size_t taken = 0;
    kernel.visit_options([&](const char* option, auto& value) {
        if (!options.contains(option)) return;
        value = options[option].cast<std::remove_reference_t<decltype(value)>>();
        ++taken;
    });
    if (taken != options.size())
        throw std::invalid_argument("unknown option of the " + name +
                                    " kernel: " + py::repr(options).cast<std::string>());
    return kernel;
}

}  // namespace

void bind_kernels(py::module_& m) {
    py::class_<Kernel>(m, "Kernel")
        .def(py::init(&kernel_of), py::arg("name"), py::pos_only())
        .def_property_readonly("is_linear", &Kernel::is_linear);

    m.def("kernel_names", [] {
        std::vector<std::string> names;
        for (const Kernels::Any& each : Kernels::defaults()) names.push_back(Kernel(each).name());
        return names;
    });
}

}  // namespace fastcka
