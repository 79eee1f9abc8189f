// SPDX-License-Identifier: BSD-3-Clause
#include "base/parallel.hpp"

#include <thread>
#include <vector>

#ifndef FASTCKA_THREADS_STD
#include <omp.h>
#include <pthread.h>
#endif

namespace fastcka {
namespace {

constexpr std::chrono::milliseconds look_interval{50};  // Ctrl-C has to be answered within 200 ms

// Spins before a waiting worker sleeps: about 1 ms, longer than the gap between rounds. A thread that sleeps, or gives way
// with yield(), may wait for its turn when work comes. With 500 spins the first pair of 300 x 300 after a product of
// NumPy's BLAS, whose threads spin for a while, took 3 to 5 ms instead of 1.
constexpr int looks_before_sleep = 20000;

void pause_a_moment() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Ends a task because another worker, or a team around this one, has failed.
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
    } catch (const std::exception&) {  // no more threads: those already started share the work
    }
    member(0);
    for (std::thread& thread : others) thread.join();
}

#ifdef FASTCKA_THREADS_STD

void run_members(int threads, const std::function<void(int)>& member) { run_plain_threads(threads, member); }

#else

// GNU OpenMP hangs in a child process whose parent had already run a parallel region; plain threads do not.
std::atomic<bool> forked{false};
const int fork_noted = pthread_atfork(nullptr, nullptr, [] { forked = true; });

// How many of so many threads, with the calling one, can exist at once.
int startable(int threads) {
    std::vector<std::thread> others;
    std::atomic<bool> counted{false};
    try {
        others.reserve(static_cast<std::size_t>(threads - 1));
        while (std::ssize(others) < threads - 1) others.emplace_back([&] { counted.wait(false); });
    } catch (const std::exception&) {  // those already started are the answer
    }
    counted = true;
    counted.notify_all();
    for (std::thread& thread : others) thread.join();
    return 1 + static_cast<int>(others.size());
}

// OpenMP ends the process when a thread does not start, under a limit on memory or on processes. It keeps the threads of a
// team for the next one of the same caller, so only a larger team than the last is tried out first.
int team_that_starts(int threads) {
    thread_local int last = 1;
    if (threads > last) threads = startable(threads);
    last = threads;
    return threads;
}

void run_members(int threads, const std::function<void(int)>& member) {
    if (forked) return run_plain_threads(threads, member);
    threads = team_that_starts(threads);
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

void Team::together(const std::function<void()>& body) {
    if (together_ || threads_ == 1) return body();
    together_ = true;
    ended_ = false;
    const unsigned rounds_before = rounds_;
    std::exception_ptr failure;
    run_members(threads_, [&](int worker) {
        if (worker > 0) return follow(worker, rounds_before);
        try {
            body();
        } catch (...) {
            failure = std::current_exception();
        }
        ended_ = true;
        begin_round();
    });
    together_ = false;
    if (failure) std::rethrow_exception(failure);
}

void Team::begin_round() {
    ++rounds_;
    rounds_.notify_all();
}

void Team::follow(int worker, unsigned seen) {
    // The first exception of a thread needs memory of its own, and without it glibc ends the process: it is taken here.
    static_cast<void>(std::current_exception());
    for (;;) {
        for (int look = 0; look < looks_before_sleep && rounds_ == seen; ++look) pause_a_moment();
        rounds_.wait(seen);
        seen = rounds_;
        if (ended_) return;
        take_tasks(worker);
    }
}

void Team::run(index tasks, const std::function<void(index task, int worker)>& work, bool observed) {
    if (!together_ && tasks > 1 && threads_ > 1) return together([&] { run(tasks, work, observed); });
    if (observed && !expecting_) {
        done_ = 0;
        total_ = tasks;
    }
    work_ = &work;
    tasks_ = tasks;
    observed_ = observed;
    next_ = 0;
    stopped_ = false;
    failure_ = nullptr;
    open_ = true;
    if (together_ && tasks > 1) begin_round();
    take_tasks(0);
    open_ = false;
    wait_for_others();
    if (failure_) std::rethrow_exception(failure_);
    if (observed && observer_ && done_ == total_) observer_(total_, total_);
}

void Team::take_tasks(int worker) {
    ++busy_;
    const Leaving leaving{busy_};
    if (!open_) return;  // it came too late
    try {
        for (index task = next_++; task < tasks_; task = next_++) {
            poll(worker);
            (*work_)(task, worker);
            if (observed_) done_.fetch_add(1, std::memory_order_relaxed);
        }
    } catch (const Stopped&) {
        if (!stopped_) fail();  // thrown by the observer: a team around this one has stopped
    } catch (...) {
        fail();
    }
}

// The caller has no task left, but other threads may be in long ones: it keeps polling the observer.
void Team::wait_for_others() {
    for (int look = 0; busy_ > 0; ++look) {
        if (look < looks_before_sleep)
            pause_a_moment();
        else
            std::this_thread::sleep_for(std::chrono::microseconds(50));
        try {
            poll(0);
        } catch (const Stopped&) {
            if (!stopped_) fail();
        } catch (...) {
            fail();
        }
    }
}

// Keeps the exception in flight, if it is the first.
void Team::fail() noexcept {
    const std::lock_guard lock(failure_mutex_);
    if (!failure_) failure_ = std::current_exception();
    stopped_ = true;
}

#ifdef FASTCKA_THREADS_STD
int default_threads() { return std::max(1, static_cast<int>(std::thread::hardware_concurrency())); }
const char* threading_layer() { return "std::thread"; }
#else
int default_threads() { return omp_get_max_threads(); }
const char* threading_layer() {
    static_cast<void>(fork_noted);
    return "OpenMP";
}
#endif

}  // namespace fastcka
