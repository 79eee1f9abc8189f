// SPDX-License-Identifier: BSD-3-Clause
// Streams of batches.
#include "bindings/common.hpp"
#include "compare/stream.hpp"

#include <memory>
#include <mutex>

namespace fastcka {
namespace {

// A stream that any Python thread may use at any time. The interpreter lock is released before the other is taken, and
// while a call computes, so that no two threads can wait for each other.
struct SharedStream {
    Stream stream;
    std::mutex mutex;

    SharedStream(const LayerSet& set, Precision precision) : stream(set, precision) {}

    // use(stream) without the interpreter lock.
    template <class Use> auto apart(Use&& use) {
        const WithoutGil without_gil;
        const std::lock_guard lock(mutex);
        return use(stream);
    }
};

py::dict state_of(SharedStream& shared, int threads) {
    return shared.apart([&](Stream& stream) {
        stream.settle(threads, interruptible);
        const WithGil gil;
        py::dict state;
        const auto [folded, massive, pending] = stream.counts();
        state["samples"] = py::make_tuple(folded, massive, pending);
        stream.visit_arrays([&](const std::string& name, auto* data, index size) {
            state[py::str(name)] = py::array_t<std::decay_t<decltype(*data)>>(size, data);
        });
        return state;
    });
}

void put_state(Stream& stream, const py::dict& state) {
    const auto [folded, massive, pending] = state["samples"].cast<std::tuple<index, index, index>>();
    stream.set_counts({folded, massive, pending});
    stream.visit_arrays([&](const std::string& name, auto* data, index size) {
        using Value = std::decay_t<decltype(*data)>;
        const auto saved = state[py::str(name)].cast<py::array_t<Value, py::array::c_style>>();
        if (saved.size() != size) throw std::invalid_argument("state array " + name + " has the wrong size");
        std::copy_n(saved.data(), size, data);
    });
    if (stream.counts().folded != folded) throw std::invalid_argument("moments of another number of samples");
}

void merge(SharedStream& into, SharedStream& other, int threads) {
    const WithoutGil without_gil;
    if (&into == &other) throw std::invalid_argument("a stream cannot be merged with itself");
    const std::scoped_lock lock(into.mutex, other.mutex);
    into.stream.merge(other.stream, threads);
}

using Widths = std::vector<index>;

Precision precision(bool float64) { return float64 ? Precision::float64 : Precision::float32; }

}  // namespace

void bind_streams(py::module_& m) {
    py::class_<SharedStream>(m, "Moments")
        .def(py::init([](const Widths& a, const std::optional<Widths>& b, bool double_precision,
                         const std::optional<py::dict>& state) {
                 auto shared = std::make_unique<SharedStream>(layer_set(a, b), precision(double_precision));
                 if (state) put_state(shared->stream, *state);
                 return shared;
             }),
             py::arg("widths_a"), py::arg("widths_b"), py::arg("double_precision"),
             py::arg("state") = py::none())
        .def(
            "check",
            [](SharedStream& shared, const Arrays& a, const std::optional<Arrays>& b, int n_threads) {
                const Layers batch = b ? Layers(views_of(a), views_of(*b)) : Layers(views_of(a));
                shared.apart([&](Stream& stream) { stream.check(batch, n_threads, interruptible); });
            },
            py::arg("layers_a"), py::arg("layers_b"), py::arg("n_threads"))
        .def(
            "update",
            [](SharedStream& shared, const Arrays& a, const std::optional<Arrays>& b, int n_threads) {
                const Layers batch = b ? Layers(views_of(a), views_of(*b)) : Layers(views_of(a));
                shared.apart([&](Stream& stream) { stream.update(batch, n_threads, interruptible); });
            },
            py::arg("layers_a"), py::arg("layers_b"), py::arg("n_threads"))
        .def("merge", &merge, py::arg("other"), py::arg("n_threads"))
        .def(
            "result",
            [](SharedStream& shared, bool unbiased, int n_threads) {
                return shared.apart([&](Stream& stream) {
                    return stream.result(unbiased ? Estimator::unbiased : Estimator::biased, n_threads,
                                         interruptible);
                });
            },
            py::arg("unbiased"), py::arg("n_threads"))
        .def_property_readonly("n_samples",
                               [](SharedStream& shared) {
                                   return shared.apart([](Stream& stream) { return stream.samples(); });
                               })
        .def(
            "state", [](SharedStream& shared, int threads) { return state_of(shared, threads); },
            py::arg("n_threads"))
        .def_static(
            "state_bytes",
            [](const Widths& a, const std::optional<Widths>& b, bool double_precision) {
                return Stream::state_bytes(layer_set(a, b), precision(double_precision));
            },
            py::arg("widths_a"), py::arg("widths_b"), py::arg("double_precision"));
}

}  // namespace fastcka
