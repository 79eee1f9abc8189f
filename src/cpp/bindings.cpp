// SPDX-License-Identifier: BSD-3-Clause
// The only file that knows Python: a table of contents of the core. Words for people are in src/fastcka/_arrays.py.
#include "base/errors.hpp"
#include "engine/dispatch.hpp"
#include "measure/gram.hpp"
#include "measure/pairwise.hpp"
#include "measure/stream.hpp"

#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <chrono>
#include <cxxabi.h>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <utility>

namespace py = pybind11;

namespace fastcka {
namespace {

Element element_of(const py::dtype& type) {
    const char kind = type.kind();
    const auto size = type.itemsize();
    if (kind == 'f' && size == 8) return Element::f64;
    if (kind == 'f' && size == 4) return Element::f32;
    if (kind == 'f' && size == 2) return Element::f16;
    if (kind == 'V' && size == 2) return Element::bf16;
    if (kind == 'b') return Element::boolean;
    constexpr std::array signed_types{Element::i8, Element::i16, Element::i32, Element::i64};
    constexpr std::array unsigned_types{Element::u8, Element::u16, Element::u32, Element::u64};
    if (kind == 'i' || kind == 'u')
        for (std::size_t power = 0; power < 4; ++power)
            if (size == py::ssize_t{1} << power)
                return kind == 'i' ? signed_types[power] : unsigned_types[power];
    throw py::type_error("unsupported element type " + std::string(py::str(type)));
}

MatrixView view_of(const py::array& array) {
    if (array.ndim() != 2)
        throw std::invalid_argument("expected a matrix, got " + std::to_string(array.ndim()) + " dimensions");
    return {static_cast<const std::byte*>(array.data()),
            array.shape(0),
            array.shape(1),
            array.strides(0),
            array.strides(1),
            element_of(array.dtype())};
}

std::vector<MatrixView> views_of(const std::vector<py::array>& arrays) {
    std::vector<MatrixView> views;
    for (const py::array& array : arrays) views.push_back(view_of(array));
    return views;
}

template <class Name, std::size_t N>
Name named(const std::array<std::pair<const char*, Name>, N>& names, const std::string& text) {
    for (const auto& [name, value] : names)
        if (text == name) return value;
    throw std::invalid_argument("unknown name " + text);
}

constexpr std::array kernel_kinds{
    std::pair{"linear", KernelKind::linear},           std::pair{"rbf", KernelKind::rbf},
    std::pair{"laplacian", KernelKind::laplacian},     std::pair{"polynomial", KernelKind::polynomial},
    std::pair{"cosine", KernelKind::cosine},           std::pair{"distance", KernelKind::distance},
    std::pair{"precomputed", KernelKind::precomputed},
};
constexpr std::array routes{std::pair{"auto", Route::automatic}, std::pair{"gram", Route::gram},
                            std::pair{"feature", Route::feature}};

const char* text_of(Route route) { return route == Route::gram ? "gram" : "feature"; }

const char* text_of(Status status) {
    switch (status) {
        case Status::fine: return "";
        case Status::constant: return "constant";
        case Status::nonpositive: return "nonpositive";
        case Status::zero_bandwidth: return "zero_bandwidth";
    }
    return "";
}

py::list statuses(const std::vector<LayerReport>& reports) {
    py::list list;
    for (const LayerReport& report : reports) list.append(text_of(report.status));
    return list;
}

py::list sigmas(const std::vector<LayerReport>& reports) {
    py::list list;
    for (const LayerReport& report : reports) list.append(report.sigma);
    return list;
}

py::array_t<double> array_of(const Eigen::MatrixXd& matrix) {
    py::array_t<double> array({matrix.rows(), matrix.cols()});
    auto out = array.mutable_unchecked<2>();
    for (index i = 0; i < matrix.rows(); ++i)
        for (index j = 0; j < matrix.cols(); ++j) out(i, j) = matrix(i, j);
    return array;
}

py::array_t<double> array_of(const Eigen::VectorXd& vector) {
    return py::array_t<double>(vector.size(), vector.data());
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

thread_local PyThreadState* released = nullptr;  // of a thread without the GIL

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
void interruptible(index, index) {
    const WithGil gil;
    if (or_sleep([] { return PyErr_CheckSignals(); }) != 0) throw py::error_already_set();
}

// The same, and tells a callback of (done, total).
Observer observer_of(const std::optional<py::function>& progress) {
    if (!progress) return interruptible;
    return [callback = progress->ptr()](index done, index total) {
        interruptible(done, total);
        if (total == 0) return;
        const WithGil gil;
        const auto told = or_sleep(
            [&] { return PyObject_CallFunction(callback, "nn", Py_ssize_t{done}, Py_ssize_t{total}); });
        if (!told) throw py::error_already_set();
        Py_DECREF(told);
    };
}

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

py::dict state_of(Stream& stream) {
    py::dict state;
    state["samples"] = py::make_tuple(stream.counts().folded, stream.counts().pending);
    stream.visit_arrays([&](const std::string& name, auto* data, index size) {
        state[py::str(name)] = py::array_t<std::decay_t<decltype(*data)>>(size, data);
    });
    return state;
}

Stream stream_from(const LayerPairs& pairs, bool double_precision, const py::dict& state) {
    Stream stream(pairs, double_precision);
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

// Memory of the pool of buffers, to which it returns with the last array that refers to it.
py::array_t<std::uint8_t> empty_bytes(index n_bytes) {
    void* const memory = acquire_memory(n_bytes);
    const py::capsule owner(memory, [](void* address) { return_memory(address); });
    return {{n_bytes}, {index{1}}, static_cast<const std::uint8_t*>(memory), owner};
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

LayerPairs pairs_of(std::vector<index> widths, const std::optional<std::vector<index>>& widths_b) {
    const auto layers_a = static_cast<index>(widths.size());
    if (widths_b) widths.insert(widths.end(), widths_b->begin(), widths_b->end());
    return {std::move(widths), layers_a, !widths_b};
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
    static py::exception<UnusableLayer> unusable_layer(m, "UnusableLayer", PyExc_ValueError);
    py::register_exception_translator([](std::exception_ptr pointer) {
        try {
            if (pointer) std::rethrow_exception(pointer);
        } catch (const NonFinite& e) {
            const py::tuple where = py::make_tuple(e.side, e.layer, e.row, e.column);
            PyErr_SetObject(non_finite.ptr(), where.ptr());
        } catch (const UnusableLayer& e) {
            PyErr_SetObject(unusable_layer.ptr(), py::make_tuple(e.side, e.layer, e.what()).ptr());
        } catch (const OverBudget& e) {
            PyErr_SetString(PyExc_MemoryError, e.what());
        }
    });

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
        .def_property_readonly("self_a", [](const Alignment& a) { return array_of(a.self_a); })
        .def_property_readonly("self_b", [](const Alignment& a) { return array_of(a.self_b); })
        .def_property_readonly("status_a", [](const Alignment& a) { return statuses(a.a); })
        .def_property_readonly("status_b", [](const Alignment& a) { return statuses(a.b); })
        .def_property_readonly("sigma_a", [](const Alignment& a) { return sigmas(a.a); })
        .def_property_readonly("sigma_b", [](const Alignment& a) { return sigmas(a.b); });

    py::class_<Pairwise, Alignment>(m, "Pairwise")
        .def_property_readonly("route", [](const Pairwise& p) { return text_of(p.plan.route); })
        .def_property_readonly("double_precision", [](const Pairwise& p) { return p.plan.double_precision; });

    py::class_<Plan>(m, "PlanInfo")
        .def_property_readonly("route", [](const Plan& p) { return text_of(p.route); })
        .def_readonly("flops", &Plan::flops)
        .def_readonly("bytes", &Plan::bytes)
        .def_readonly("tile", &Plan::tile)
        .def_readonly("tiles", &Plan::tiles)
        .def_readonly("n_threads", &Plan::threads)
        .def_readonly("panel_width", &Plan::panel_width)
        .def_readonly("double_precision", &Plan::double_precision)
        .def_property_readonly("simd_level", [](const Plan&) { return current_level().name; });

    m.def(
        "pairwise",
        [](const std::vector<py::array>& layers_a, const std::optional<std::vector<py::array>>& layers_b,
           const Kernel& kernel, bool unbiased, bool double_precision, int n_threads, index max_bytes,
           const std::string& route, const std::optional<py::function>& progress) {
            Sides sides{views_of(layers_a), {}};
            if (layers_b) sides.b = views_of(*layers_b);
            const PairwiseOptions options{kernel,    unbiased,  double_precision,
                                          n_threads, max_bytes, named(routes, route)};
            const Observer observer = observer_of(progress);
            const WithoutGil without_gil;
            return pairwise(sides, options, observer);
        },
        py::arg("layers_a"), py::arg("layers_b"), py::arg("kernel"), py::kw_only(), py::arg("unbiased"),
        py::arg("double_precision"), py::arg("n_threads"), py::arg("max_bytes"), py::arg("route"),
        py::arg("progress"));

    m.def(
        "plan",
        [](index n, std::vector<index> widths_a, std::optional<std::vector<index>> widths_b,
           const Kernel& kernel, bool double_precision, int n_threads, index max_bytes,
           const std::string& route) {
            const bool one_sided = !widths_b;
            const Problem problem{n,
                                  std::move(widths_a),
                                  one_sided ? std::vector<index>{} : std::move(*widths_b),
                                  one_sided,
                                  kernel,
                                  double_precision || n <= few_samples,
                                  n_threads,
                                  max_bytes,
                                  named(routes, route)};
            return make_plan(problem, panel_width_of(current_level(), problem.double_precision));
        },
        py::arg("n"), py::arg("widths_a"), py::arg("widths_b"), py::arg("kernel"), py::kw_only(),
        py::arg("double_precision"), py::arg("n_threads"), py::arg("max_bytes"), py::arg("route") = "auto");

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

    using Widths = std::vector<index>;
    using OptionalWidths = std::optional<Widths>;
    py::class_<SharedStream>(m, "Moments")
        .def(py::init([](const Widths& a, const OptionalWidths& b, bool double_precision) {
                 return std::make_unique<SharedStream>(Stream(pairs_of(a, b), double_precision));
             }),
             py::arg("widths_a"), py::arg("widths_b"), py::arg("double_precision"))
        .def(
            "update",
            [](SharedStream& shared, const std::vector<py::array>& layers_a,
               const std::optional<std::vector<py::array>>& layers_b, int n_threads) {
                Sides batch{views_of(layers_a), {}};
                if (layers_b) batch.b = views_of(*layers_b);
                shared.apart([&](Stream& stream) { stream.update(batch, n_threads, interruptible); });
            },
            py::arg("layers_a"), py::arg("layers_b"), py::arg("n_threads"))
        .def("merge", &SharedStream::merge, py::arg("other"), py::arg("n_threads"))
        .def(
            "result",
            [](SharedStream& shared, bool unbiased, int n_threads) {
                return shared.apart(
                    [&](Stream& stream) { return stream.result(unbiased, n_threads, interruptible); });
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
                return std::make_unique<SharedStream>(stream_from(pairs_of(a, b), double_precision, state));
            },
            py::arg("widths_a"), py::arg("widths_b"), py::arg("double_precision"), py::arg("state"))
        .def_static(
            "state_bytes",
            [](const Widths& a, const OptionalWidths& b, bool double_precision) {
                return Stream::state_bytes(pairs_of(a, b), double_precision);
            },
            py::arg("widths_a"), py::arg("widths_b"), py::arg("double_precision"));

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
