// SPDX-License-Identifier: BSD-3-Clause
// The module: a table of contents of the core. Words for people are in Python.
#include "base/buffer.hpp"
#include "base/errors.hpp"
#include "bindings/common.hpp"
#include "simd/dispatch.hpp"

namespace fastcka {
namespace {

// Memory of the pool of buffers, to which it returns with the last array that refers to it.
py::array_t<std::uint8_t> empty_bytes(index n_bytes) {
    void* const memory = acquire_memory(n_bytes);
    const py::capsule owner(memory, [](void* address) { return_memory(address); });
    return {{n_bytes}, {index{1}}, static_cast<const std::uint8_t*>(memory), owner};
}

bool in_main_interpreter() { return PyInterpreterState_Get() == PyInterpreterState_Main(); }
constexpr const char* not_here = "fastcka cannot be imported in a subinterpreter: use threads or processes";

py::dict config() {
    py::dict dict;
    dict["version"] = FASTCKA_VERSION;
    dict["simd_level"] = current_level().name;
    dict["simd_levels"] = supported_levels();
    dict["compiler"] = __VERSION__;
    dict["eigen"] = std::to_string(EIGEN_WORLD_VERSION) + "." + std::to_string(EIGEN_MAJOR_VERSION) + "." +
                    std::to_string(EIGEN_MINOR_VERSION);
    dict["openmp"] = threading_layer();
    dict["build_type"] = FASTCKA_BUILD_TYPE;
    return dict;
}

}  // namespace

#define PyInit__core init_core  // the entry is at the end
PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
    if (!in_main_interpreter())
        throw std::runtime_error(not_here);  // Python 3.13 calls the entry in the main one
    static py::exception<NonFinite> non_finite(m, "NonFinite", PyExc_ValueError);
    static py::exception<OverBudget> over_budget(m, "OverBudget", PyExc_MemoryError);
    static py::exception<UnusableLayer> unusable_layer(m, "UnusableLayer", PyExc_ValueError);
    py::register_exception_translator([](std::exception_ptr pointer) {
        try {
            if (pointer) std::rethrow_exception(pointer);
        } catch (const NonFinite& e) {
            const py::tuple where = py::make_tuple(e.network, e.layer, e.row, e.column);
            PyErr_SetObject(non_finite.ptr(), where.ptr());
        } catch (const UnusableLayer& e) {
            PyErr_SetObject(unusable_layer.ptr(), py::make_tuple(e.network, e.layer, e.what()).ptr());
        } catch (const OverBudget& e) {
            const py::object error = py::reinterpret_borrow<py::object>(over_budget)(e.what());
            error.attr("least") = e.least;
            PyErr_SetObject(over_budget.ptr(), error.ptr());
        } catch (const std::bad_alloc&) {
            PyErr_SetString(PyExc_MemoryError,
                            "the system has no more memory for this call (fastcka.plan() predicts the memory "
                            "of a comparison, max_bytes= limits it)");
        }
    });

    bind_kernels(m);
    bind_pairwise(m);
    bind_matrices(m);
    bind_streams(m);
    bind_inference(m);
    bind_statistics(m);
    bind_sweeps(m);
    bind_second_pass(m);
    m.def("config", &config);
    m.def("omp_max_threads", &default_threads);
    m.def("release_buffers", [] { release_buffers(); });
    m.def("empty_bytes", &empty_bytes, py::arg("n_bytes"));
}

#undef PyInit__core

}  // namespace fastcka

// pybind11 would wait for ever in a subinterpreter, before it calls anything of ours.
extern "C" PYBIND11_EXPORT PyObject* PyInit__core() {
    if (fastcka::in_main_interpreter()) return fastcka::init_core();
    PyErr_SetString(PyExc_ImportError, fastcka::not_here);
    return nullptr;
}
