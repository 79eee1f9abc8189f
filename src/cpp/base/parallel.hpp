// SPDX-License-Identifier: BSD-3-Clause
// A team of threads that shares out numbered tasks. Which thread does what never matters for a result: every task writes
// to a place of its own. parallel.cpp is the only file that knows OpenMP.
#pragma once

#include "base/matrix_view.hpp"

#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <mutex>

namespace fastcka {

// Called every 50 ms or so on the thread that called the core, with the numbers of tasks done and of all tasks. May throw,
// which stops the computation.
using Observer = std::function<void(index done, index total)>;

// Belongs to one thread, the caller: it alone calls everything but poll().
class Team {
  public:
    explicit Team(int threads, Observer observer = {}) : threads_(threads), observer_(std::move(observer)) {}

    int threads() const { return threads_; }

    // Calls body() on this thread while the others wait for tasks: one start of threads for every for_each in it. Workers
    // may arrive late or not at all; the calling thread then does their share.
    void together(const std::function<void()>& body);

    // Calls work(task, worker) once for every task; worker < threads() numbers the thread, 0 is the caller. The first
    // exception stops the team and is rethrown here.
    void for_each(index tasks, const std::function<void(index task, int worker)>& work) {
        run(tasks, work, false);
    }
    // The same, counted for the observer: the main loop of a computation.
    void for_each_observed(index tasks, const std::function<void(index task, int worker)>& work) {
        run(tasks, work, true);
    }

    // Announces that the observed tasks of all following calls are one computation, of `tasks` tasks.
    void expect(index tasks) {
        done_ = 0;
        total_ = tasks;
        expecting_ = true;
    }

    // To be called within long tasks, with the number of the worker: calls the observer when it is time, and throws when
    // another worker has failed.
    void poll(int worker);

  private:
    void run(index tasks, const std::function<void(index task, int worker)>& work, bool observed);
    void follow(int worker, unsigned rounds_before);
    void take_tasks(int worker);
    void wait_for_others();
    void begin_round();
    void fail() noexcept;

    int threads_;
    Observer observer_;
    std::atomic<index> done_{0};
    index total_ = 0;
    bool expecting_ = false;
    std::chrono::steady_clock::time_point last_look_ = std::chrono::steady_clock::now();

    bool together_ = false;            // whether the other threads are at hand
    std::atomic<unsigned> rounds_{0};  // goes up when there is something new for them: tasks, or the end
    std::atomic<bool> ended_{false};   // they may go

    // What is being shared out. A thread counts itself in, and only then looks whether there still is something.
    const std::function<void(index, int)>* work_ = nullptr;
    index tasks_ = 0;
    bool observed_ = false;
    std::atomic<bool> open_{false};
    std::atomic<int> busy_{0};
    std::atomic<index> next_{0};
    std::atomic<bool> stopped_{false};
    std::exception_ptr failure_;
    std::mutex failure_mutex_;
};

// What OpenMP would use for a region started by the calling thread (the number of processors without OpenMP).
int default_threads();
const char* threading_layer();

}  // namespace fastcka
