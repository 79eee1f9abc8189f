// SPDX-License-Identifier: BSD-3-Clause
// Large aligned memory that is kept between calls: fresh pages cost about 5 ms per 16 MB. Used for panels and tiles. Any
// thread may ask for it and return it.
#pragma once

#include "base/matrix_view.hpp"

#include <utility>

namespace fastcka {

// At least `bytes` bytes, aligned for every SIMD level, uninitialised. Throws std::bad_alloc.
void* acquire_memory(index bytes);
void return_memory(void* memory) noexcept;
// What a new block for that many bytes takes up, with its header and rounded up; 2^60 for a size that overflowed.
index acquired_bytes(index bytes);
// Gives idle memory back to the system, all but `kept` bytes of it.
void release_buffers(index kept = 0) noexcept;

// a * b, or -1, which acquire_memory refuses, when that overflows.
inline index size_product(index a, index b) {
    index product = 0;
    return __builtin_mul_overflow(a, b, &product) ? -1 : product;
}

// Memory of a computation in bytes: what its threads share, and what each of them adds.
struct Bytes {
    index shared = 0, per_thread = 0;

    Bytes& operator+=(const Bytes& more) {
        shared += more.shared, per_thread += more.per_thread;
        return *this;
    }
    index with(index threads) const { return shared + threads * per_thread; }
};

// `size` values, uninitialised. It has one owner, and moves.
template <class T> class Buffer {
  public:
    Buffer() = default;
    explicit Buffer(index size) : values_(static_cast<T*>(acquire_memory(bytes_of(size)))) {}
    Buffer(Buffer&& other) noexcept : values_(std::exchange(other.values_, nullptr)) {}
    Buffer& operator=(Buffer&& other) noexcept {
        std::swap(values_, other.values_);
        return *this;
    }
    ~Buffer() { return_memory(values_); }

    T* data() const { return values_; }

    // The bytes that a new buffer of that size takes up.
    static index bytes(index size) { return acquired_bytes(bytes_of(size)); }

  private:
    static index bytes_of(index size) { return size_product(size, static_cast<index>(sizeof(T))); }

    T* values_ = nullptr;
};

}  // namespace fastcka
