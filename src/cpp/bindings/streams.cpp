// SPDX-License-Identifier: BSD-3-Clause
// Streams of batches.
#include "bindings/common.hpp"
#include "compare/stream.hpp"

#include <memory>
#include <mutex>

namespace fastcka {
namespace {

py::dict state_of(Stream& stream) {
    py::dict state;
    state["samples"] = py::make_tuple(stream.counts().folded, stream.counts().pending);
    stream.visit_arrays([&](const std::string& name, auto* data, index size) {
        state[py::str(name)] = py::array_t<std::decay_t<decltype(*data)>>(size, data);
    });
    return state;
}

Stream stream_from(const LayerSet& set, Precision precision, const py::dict& state) {
    Stream stream(set, precision);
    const auto [folded, pending] = state["samples"].cast<std::pair<index, index>>();
    stream.set_counts({folded, pending});
    stream.visit_arrays([&](const std::string& name, auto* data, index size) {
        using Value = std::decay_t<decltype(*data)>;
        const auto saved = state[py::str(name)].cast<py::array_t<Value, py::array::c_style>>();
        if (saved.size() != size) throw std::invalid_argument("state array " + name + " has the wrong size");
        std::copy_n(saved.data(), size, data);
    });
    return stream;
}

// A stream that any Python thread may use at any time. The interpreter lock is let go before the other is taken, and
// while a call computes, so that no two threads can wait for each other.
class SharedStream {
  public:
    explicit SharedStream(Stream stream) : stream_(std::move(stream)) {}

    // use(stream) without the interpreter lock.
    template <class Use> auto apart(Use&& use) {
        const WithoutGil without_gil;
        const std::lock_guard lock(mutex_);
        return use(stream_);
    }
    py::dict state(int threads) {
        const WithoutGil without_gil;
        const std::lock_guard lock(mutex_);
        stream_.settle(threads, interruptible);
        const WithGil gil;
        return state_of(stream_);
    }
    void merge(SharedStream& other, int threads) {
        const WithoutGil without_gil;
        if (this == &other) throw std::invalid_argument("a stream cannot be merged with itself");
        const std::scoped_lock lock(mutex_, other.mutex_);
        stream_.merge(other.stream_, threads);
    }

  private:
    Stream stream_;
    std::mutex mutex_;
};

using Widths = std::vector<index>;
using OptionalWidths = std::optional<Widths>;

Precision precision(bool float64) { return float64 ? Precision::float64 : Precision::float32; }

}  // namespace

void bind_streams(py::module_& m) {
    py::class_<SharedStream>(m, "Moments")
        .def(py::init([](const Widths& a, const OptionalWidths& b, bool double_precision) {
                 return std::make_unique<SharedStream>(Stream(layer_set(a, b), precision(double_precision)));
             }),
             py::arg("widths_a"), py::arg("widths_b"), py::arg("double_precision"))
        .def(
            "update",
            [](SharedStream& shared, const std::vector<py::array>& layers_a,
               const std::optional<std::vector<py::array>>& layers_b, int n_threads) {
                Layers batch{views_of(layers_a)};
                if (layers_b) batch = {views_of(layers_a), views_of(*layers_b)};
                shared.apart([&](Stream& stream) { stream.update(batch, n_threads, interruptible); });
            },
            py::arg("layers_a"), py::arg("layers_b"), py::arg("n_threads"))
        .def("merge", &SharedStream::merge, py::arg("other"), py::arg("n_threads"))
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
        .def("state", &SharedStream::state, py::arg("n_threads"))
        .def_static(
            "from_state",
            [](const Widths& a, const OptionalWidths& b, bool double_precision, const py::dict& state) {
                return std::make_unique<SharedStream>(
                    stream_from(layer_set(a, b), precision(double_precision), state));
            },
            py::arg("widths_a"), py::arg("widths_b"), py::arg("double_precision"), py::arg("state"))
        .def_static(
            "state_bytes",
            [](const Widths& a, const OptionalWidths& b, bool double_precision) {
                return Stream::state_bytes(layer_set(a, b), precision(double_precision));
            },
            py::arg("widths_a"), py::arg("widths_b"), py::arg("double_precision"));
}

}  // namespace fastcka
