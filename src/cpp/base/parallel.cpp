// SPDX-License-Identifier: BSD-3-Clause
#include "base/parallel.hpp"

#include <algorithm>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#ifndef FASTCKA_THREADS_STD
#include <omp.h>
#include <pthread.h>
#endif

namespace fastcka {
namespace {

constexpr std::chrono::milliseconds look_interval{50};  // Ctrl-C is to be answered within 200 ms

struct Stopped {};

// Counts a member out, however it leaves.
struct Leaving {
    std::atomic<int>& busy;
    ~Leaving() { --busy; }
};

void run_plain_threads(int threads, const std::function<void(int)>& member) {
    std::vector<std::thread> others;
    others.reserve(static_cast<std::size_t>(threads - 1));
    try {
        for (int worker = 1; worker < threads; ++worker) others.emplace_back(member, worker);
    } catch (const std::exception&) {  // the system gives no more threads: those that started share the work
    }
    member(0);
    for (std::thread& thread : others) thread.join();
}

#ifdef FASTCKA_THREADS_STD

void run_members(int threads, const std::function<void(int)>& member) { run_plain_threads(threads, member); }

#else

// GNU OpenMP hangs in a child process whose parent had already run a parallel region; plain threads do not.
std::atomic<bool> forked{false};
const int watching_forks = pthread_atfork(nullptr, nullptr, [] { forked = true; });

void run_members(int threads, const std::function<void(int)>& member) {
    if (forked) return run_plain_threads(threads, member);
#pragma omp parallel num_threads(threads)
    member(omp_get_thread_num());
}

#endif

}  // namespace

void Team::poll(int worker) {
    if (stopped_.load(std::memory_order_relaxed)) throw Stopped{};
    if (worker != 0 || !observer_) return;
    const auto now = std::chrono::steady_clock::now();
    if (now - last_look_ < look_interval) return;
    last_look_ = now;
    observer_(done_.load(std::memory_order_relaxed), total_);
}

void Team::run(index tasks, const std::function<void(index task, int worker)>& work, bool observed) {
    if (observed) {
        done_ = 0;
        total_ = tasks;
    }
    std::atomic<index> next{0};
    std::atomic<int> busy{0};  // members within their tasks
    std::exception_ptr failure;
    std::mutex failure_mutex;
    const auto member = [&](int worker) {
        try {
            ++busy;
            const Leaving leaving{busy};
            for (index task = next++; task < tasks; task = next++) {
                poll(worker);
                work(task, worker);
                if (observed) done_.fetch_add(1, std::memory_order_relaxed);
            }
            // The caller has no task left, but others may be in long ones: it goes on looking.
            for (int turn = 0; worker == 0 && observer_ && busy > 1; ++turn) {
                poll(worker);
                if (turn < 1000)
                    std::this_thread::yield();
                else
                    std::this_thread::sleep_for(std::chrono::microseconds(100));
            }
        } catch (const Stopped&) {  // another worker holds the reason
        } catch (...) {
            const std::lock_guard lock(failure_mutex);
            if (!failure) failure = std::current_exception();
            stopped_ = true;
        }
    };
    const int members = static_cast<int>(std::min<index>(threads_, tasks));
    if (members > 1)
        run_members(members, member);
    else
        member(0);
    if (failure) std::rethrow_exception(failure);
    if (observed && observer_) observer_(tasks, tasks);
}

#ifdef FASTCKA_THREADS_STD
int default_threads() { return std::max(1, static_cast<int>(std::thread::hardware_concurrency())); }
const char* threading_layer() { return "std::thread"; }
#else
int default_threads() { return omp_get_max_threads(); }
const char* threading_layer() {
    static_cast<void>(watching_forks);
    return "OpenMP";
}
#endif

}  // namespace fastcka
