// SPDX-License-Identifier: BSD-3-Clause
#include "bindings/common.hpp"

#include <algorithm>

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

// Rows of an object that has `rows(first, last)` and `close()`. The core reads without the GIL, on the thread that called
// it.
class ObjectReader : public Reader {
  public:
    ObjectReader(py::object source, const MatrixView& shape) : source_(std::move(source)), shape_(shape) {}
    // At the end of the call, with the GIL.
    ~ObjectReader() override {
        try {
            const py::error_scope pending;
            source_.attr("close")();
        } catch (py::error_already_set& error) {
            error.discard_as_unraisable("closing a layer");
        }
    }
    ObjectReader(const ObjectReader&) = delete;
    ObjectReader& operator=(const ObjectReader&) = delete;

  private:
    MatrixView fetch(index first, index last) override {
        const WithGil gil;
        rows_ = py::none();
        const auto read = or_sleep([&] { return source_.attr("rows")(first, last); });
        const auto array = py::cast<py::array>(read);
        const MatrixView view = view_of(array);
        if (view.rows != last - first || view.columns != shape_.columns || view.element != shape_.element)
            throw std::runtime_error("rows of another shape or type");
        rows_ = array;
        return view;
    }
    void drop() override {
        const WithGil gil;
        rows_ = py::none();
    }

    py::object source_, rows_ = py::none();
    MatrixView shape_;
};

Source source_of(const py::object& layer) {
    if (py::isinstance<py::array>(layer)) return view_of(layer);
    const auto [rows, columns] = layer.attr("shape").cast<std::pair<index, index>>();
    const Element element = element_of(layer.attr("dtype").cast<py::dtype>());
    const MatrixView shape{nullptr, rows, columns, 0, 0, element};
    return {shape, std::make_shared<ObjectReader>(layer, shape)};
}

std::vector<Source> sources_of(const Sources& layers) {
    std::vector<Source> sources;
    for (const py::object& layer : layers) sources.push_back(source_of(layer));
    return sources;
}

}  // namespace

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

std::vector<MatrixView> views_of(const Arrays& arrays) {
    std::vector<MatrixView> views;
    for (const py::array& array : arrays) views.push_back(view_of(array));
    return views;
}

Layers layers_of(const Sources& a, const OptionalSources& b) {
    if (!b) return Layers::of(sources_of(a));
    return Layers::of(sources_of(a), sources_of(*b));
}

LayerSet layer_set(std::vector<index> widths, const std::optional<std::vector<index>>& widths_b,
                   std::vector<index> row_bytes) {
    const auto split = static_cast<index>(widths.size());
    if (widths_b) widths.insert(widths.end(), widths_b->begin(), widths_b->end());
    return {std::move(widths), split, std::move(row_bytes)};
}

py::array_t<double> array_of(const Eigen::MatrixXd& matrix) {
    constexpr index side = 32;  // of a square that fits in the cache, row by row and column by column
    const index rows = matrix.rows(), columns = matrix.cols();
    py::array_t<double> array({rows, columns});
    double* const out = array.mutable_data();
    for (index i = 0; i < rows; i += side)
        for (index j = 0; j < columns; j += side)
            for (index row = i; row < std::min(rows, i + side); ++row)
                for (index column = j; column < std::min(columns, j + side); ++column)
                    out[row * columns + column] = matrix(row, column);
    return array;
}

py::array_t<double> array_of(const Eigen::VectorXd& vector) {
    return py::array_t<double>(vector.size(), vector.data());
}

void interruptible(index, index) {
    const WithGil gil;
    if (or_sleep([] { return PyErr_CheckSignals(); }) != 0) throw py::error_already_set();
}

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

}  // namespace fastcka
