// SPDX-License-Identifier: BSD-3-Clause
// Squares of values transposed in registers. Used while packing and by tiles.
#pragma once

#include "simd/simd.hpp"

#include <Eigen/Core>

namespace fastcka::FASTCKA_LEVEL {

// store(i, column) takes column i of the square of lanes<T> rows, `stride` apart, at `source`.
template <class T, class Store> inline void transpose_square(const T* source, index stride, Store&& store) {
    using Vec = typename Vector<T>::type;
    using Packet = typename Eigen::internal::packet_traits<T>::type;
    constexpr index N = lanes<T>;
    if constexpr (Eigen::internal::unpacket_traits<Packet>::size == N) {
        Eigen::internal::PacketBlock<Packet, N> square;
        for (index i = 0; i < N; ++i) square.packet[i] = Eigen::internal::ploadu<Packet>(source + i * stride);
        Eigen::internal::ptranspose(square);
        for (index i = 0; i < N; ++i) store(i, Vec(square.packet[i]));
    } else {  // a processor that Eigen has no packets for
        for (index i = 0; i < N; ++i) {
            Vec column;
            for (index j = 0; j < N; ++j) column[j] = source[j * stride + i];
            store(i, column);
        }
    }
}

}  // namespace fastcka::FASTCKA_LEVEL
