// SPDX-License-Identifier: BSD-3-Clause
// Values of the core as plain arrays by name, and back: what partials are saved and sent as.
#pragma once

#include "base/errors.hpp"
#include "bindings/common.hpp"

namespace fastcka {

template <class T> using Vector = py::array_t<T, py::array::c_style | py::array::forcecast>;
using Integers = std::vector<index>;
using Numbers = std::vector<double>;

template <class T> std::vector<T> vector_from(const py::dict& state, const char* name) {
    const auto saved = state[name].cast<Vector<T>>();
    check(saved.ndim() == 1, name);
    return {saved.data(), saved.data() + saved.size()};
}
template <class T> py::array_t<T> array_from(const std::vector<T>& values) {
    return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

// Whether [first, first + count) lies within [0, all), whatever numbers a file holds.
inline bool is_within(index first, index count, index all) {
    return first >= 0 && count >= 0 && first <= all && count <= all - first;
}

inline Eigen::MatrixXd matrix_from(const double* rows, index n, index columns) {
    using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    return Eigen::Map<const RowMajor>(rows, n, columns);
}

// Takes `count` values off the front of a list that several objects are stored in, one after the other.
template <class T> class StateReader {
  public:
    StateReader(const py::dict& state, const char* name)
        : name_(name), values_(vector_from<T>(state, name)) {}
    const T* next(index count) {
        check(count >= 0 && count <= static_cast<index>(values_.size()) - at_, name_);
        return values_.data() + std::exchange(at_, at_ + count);
    }
    T one() { return *next(1); }
    index size() const { return static_cast<index>(values_.size()); }
    void end() const { check(at_ == static_cast<index>(values_.size()), name_); }

  private:
    const char* name_;
    std::vector<T> values_;
    index at_ = 0;
};

}  // namespace fastcka
