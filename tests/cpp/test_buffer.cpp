// SPDX-License-Identifier: BSD-3-Clause
// Memory that is kept between calls.
#include "base/buffer.hpp"
#include "check.hpp"
#include "support.hpp"

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <new>
#include <set>
#include <thread>

#ifdef __linux__
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace fastcka::test {

TEST(buffer_is_aligned_and_writable) {
    release_buffers();
    for (index size : {1, 63, 1000, 1 << 18, (1 << 18) + 1}) {
        const Buffer<double> buffer(size);
        CHECK(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64 == 0);
        std::fill_n(buffer.data(), size, 1.0);
    }
}

TEST(buffer_is_reused_for_about_the_same_size) {
    release_buffers();
    constexpr index size = 1 << 20;
    const void* first = Buffer<char>(size).data();
    CHECK(Buffer<char>(size).data() == first);
    CHECK(Buffer<char>(size - size / 8).data() == first);
    const Buffer<char> in_use(size), other(size), small(size / 4);
    CHECK(in_use.data() == first);
    CHECK(other.data() != in_use.data() && small.data() != in_use.data());
}

TEST(buffer_stays_when_it_is_within_what_is_kept) {
    release_buffers();
    constexpr index size = 1 << 20;
    const auto two_addresses = [] {
        const Buffer<char> small(size), large(4 * size);
        return std::pair<const void*, const void*>(small.data(), large.data());
    };
    const auto before = two_addresses();
    release_buffers(6 * size);
    CHECK(two_addresses() == before);
}

TEST(buffer_of_no_size_moves_and_swaps) {
    Buffer<int> a, b(10);
    CHECK(a.data() == nullptr);
    int* const memory = b.data();
    a = std::move(b);
    CHECK(a.data() == memory);
    const Buffer<int> c = std::move(a);
    CHECK(c.data() == memory && a.data() == nullptr);  // NOLINT(bugprone-use-after-move)
    release_buffers();                                 // what is in use stays
    c.data()[9] = 1;
}

TEST(buffer_of_absurd_size_is_bad_alloc) {
    constexpr index bits = 8 * sizeof(index);
    for (int shift = 50; shift < bits - 1; ++shift)
        CHECK_THROWS(std::bad_alloc, Buffer<double>(index{1} << shift));
    CHECK_THROWS(std::bad_alloc, Buffer<double>{std::numeric_limits<index>::max()});
    CHECK_THROWS(std::bad_alloc, Buffer<double>(-1));
    CHECK_THROWS(std::bad_alloc,
                 Panels<float>(index{1} << 40, index{1} << 30, 48));  // the product leaves 64 bits
}

TEST(buffer_from_many_threads) {
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
        threads.emplace_back([t] {
            for (index i = 0; i < 200; ++i) {
                const index size = 10000 + (i * 37 + t) % 5 * 10000;
                const Buffer<index> buffer(size);
                std::fill_n(buffer.data(), size, t);
                if (i % 50 == 0) release_buffers();
                if (std::count(buffer.data(), buffer.data() + size, t) != size) std::abort();
            }
        });
    for (std::thread& thread : threads) thread.join();
}

// Blocks that another thread was just looking for, too, had been taken from the system instead, and then kept.
TEST(buffer_is_reused_though_threads_ask_at_the_same_time) {
    release_buffers();
    constexpr int threads = 4;
    constexpr index size = 1 << 16;
    std::mutex mutex;
    std::set<const void*> addresses;
    std::vector<std::thread> asking;
    for (int t = 0; t < threads; ++t)
        asking.emplace_back([&] {
            for (int i = 0; i < 20000; ++i) {
                const Buffer<char> buffer(size);
                if (i % 100 != 0) continue;
                const std::lock_guard lock(mutex);
                addresses.insert(buffer.data());
            }
        });
    for (std::thread& thread : asking) thread.join();
    CHECK(addresses.size() <= threads);
}

TEST(buffer_idle_for_longest_makes_room) {
    release_buffers();
    constexpr index size = 200 << 20;  // hardly touched: it takes no memory
    {
        const Buffer<char> first(size);
    }
    {
        const Buffer<char> second(2 * size);  // no room for both within 512 MiB
        second.data()[size] = 7;
    }
    CHECK(Buffer<char>(2 * size).data()[size] == 7);
    release_buffers();
}

#ifdef __linux__
// Each request had looked through all of them: 200 000 took a minute.
TEST(buffer_of_any_number_of_small_sizes) {
    const pid_t child = fork();
    if (child == 0) {
        alarm(20);  // a thousand times what it takes
        for (int repeat = 0; repeat < 2; ++repeat) {
            std::vector<Buffer<char>> many;
            for (index i = 0; i < 200000; ++i) many.emplace_back(1000 + i % 1000);
        }
        std::_Exit(0);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

TEST(buffer_in_a_forked_child) {
    constexpr index size = 1 << 16;
    std::atomic<bool> done{false};
    std::thread other([&] {
        while (!done) const Buffer<char> buffer(size);
    });
    for (int i = 0; i < 50; ++i) {
        const pid_t child = fork();
        if (child == 0) {
            alarm(10);  // ends a child that waits for a lock
            const Buffer<char> buffer(size);
            std::_Exit(buffer.data() == nullptr);
        }
        int status = -1;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    done = true;
    other.join();
}
#endif

}  // namespace fastcka::test
