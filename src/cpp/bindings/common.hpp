// SPDX-License-Identifier: BSD-3-Clause
// What the bindings share: arrays, the interpreter lock, observers. Only files of this folder know Python.
#pragma once

#include "base/parallel.hpp"
#include "layers/layer_set.hpp"

#include <Eigen/Core>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <chrono>
#include <cxxabi.h>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace fastcka {

namespace py = pybind11;

MatrixView view_of(const py::array& array);
using Arrays = std::vector<py::array>;
std::vector<MatrixView> views_of(const Arrays& arrays);

// Layers: arrays, or objects with `shape`, `dtype` and `rows(first, last)`, which returns an array.
using Sources = std::vector<py::object>;
using OptionalSources = std::optional<Sources>;
Layers layers_of(const Sources& a, const OptionalSources& b);

// The layers of one network, or of two. `row_bytes`: of all layers, or none; see LayerSet.
LayerSet layer_set(std::vector<index> widths, const std::optional<std::vector<index>>& widths_b,
                   std::vector<index> row_bytes = {});

py::array_t<double> array_of(const Eigen::MatrixXd& matrix);
py::array_t<double> array_of(const Eigen::VectorXd& vector);

template <class Name, std::size_t N>
Name named(const std::array<std::pair<const char*, Name>, N>& names, const std::string& text) {
    for (const auto& [name, value] : names)
        if (text == name) return value;
    throw std::invalid_argument("unknown name " + text);
}

// While the interpreter ends, Python ends a thread that asks for its lock, by unwinding the stack. What that destroys on
// its way, arrays among it, must not be touched without the lock, so the thread sleeps instead until the process is gone.
template <class Call> auto or_sleep(Call&& call) {
#ifdef __GLIBCXX__  // others end a thread without unwinding
    try {
        return call();
    } catch (const abi::__forced_unwind&) {
        for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
    }
#else
    return call();
#endif
}

inline thread_local PyThreadState* released = nullptr;  // of a thread without the GIL

// Without the GIL as long as it lives.
class WithoutGil {
  public:
    WithoutGil() { released = PyEval_SaveThread(); }
    ~WithoutGil() {
        or_sleep([] { PyEval_RestoreThread(released); });
    }
    WithoutGil(const WithoutGil&) = delete;
    WithoutGil& operator=(const WithoutGil&) = delete;
};

// With it again. py::gil_scoped_acquire looks into the thread state, which is gone after the interpreter.
class WithGil {
  public:
    WithGil() : state_(released) {
        or_sleep([this] { PyEval_RestoreThread(state_); });
    }
    ~WithGil() { released = PyEval_SaveThread(); }
    WithGil(const WithGil&) = delete;
    WithGil& operator=(const WithGil&) = delete;

  private:
    PyThreadState* state_;
};

// Observers are called by the core without the GIL, on the caller's thread. This one looks for Ctrl-C.
void interruptible(index done, index total);
// The same, and tells a callback of (done, total).
Observer observer_of(const std::optional<py::function>& progress);

// [first, last) of the runs of blocks in sums that know which they have.
template <class Sums> std::vector<std::pair<index, index>> covered_blocks(const Sums& sums) {
    std::vector<std::pair<index, index>> ranges;
    for (const auto& range : sums.covered()) ranges.emplace_back(range.first, range.last);
    return ranges;
}

// Each adds its part of the module.
void bind_kernels(py::module_& m);
void bind_pairwise(py::module_& m);
void bind_matrices(py::module_& m);
void bind_streams(py::module_& m);
void bind_inference(py::module_& m);
void bind_statistics(py::module_& m);
void bind_sweeps(py::module_& m);
void bind_second_pass(py::module_& m);

}  // namespace fastcka
