// SPDX-License-Identifier: BSD-3-Clause
// Squares of values transposed in registers. Used while packing and by tiles.
#pragma once

#include "engine/simd.hpp"

#include <Eigen/Core>

namespace fastcka::FASTCKA_LEVEL {

// store(i, packet) takes column i of the square of lanes<T> rows, `stride` apart, at `source`.
template <class T, class Store> inline void transpose_square(const T* source, index stride, Store&& store) {
    using Packet = typename Eigen::internal::packet_traits<T>::type;
    constexpr index N = lanes<T>;
    static_assert(Eigen::internal::unpacket_traits<Packet>::size == N);
    Eigen::internal::PacketBlock<Packet, N> square;
    for (index i = 0; i < N; ++i) square.packet[i] = Eigen::internal::ploadu<Packet>(source + i * stride);
    Eigen::internal::ptranspose(square);
    for (index i = 0; i < N; ++i) store(i, square.packet[i]);
}

}  // namespace fastcka::FASTCKA_LEVEL
