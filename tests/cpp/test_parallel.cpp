// SPDX-License-Identifier: BSD-3-Clause
// The team of threads: every task once, failures come through, and none of it hangs after a fork.
#include "base/parallel.hpp"
#include "check.hpp"
#include "support.hpp"

#include <atomic>
#include <mutex>
#include <set>
#include <stdexcept>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace fastcka::test {
namespace {

constexpr int thread_counts[] = {1, 2, 3, 8};

// Whether all tasks ran exactly once, on workers below the number of threads.
bool runs_every_task_once(int threads, index tasks) {
    Team team(threads);
    std::vector<std::atomic<int>> runs(static_cast<std::size_t>(tasks));
    std::atomic<bool> numbered{true};
    team.for_each(tasks, [&](index task, int worker) {
        ++runs[static_cast<std::size_t>(task)];
        if (worker < 0 || worker >= threads) numbered = false;
    });
    return numbered && std::all_of(runs.begin(), runs.end(), [](const auto& count) { return count == 1; });
}

// What `body` returns in a child process; false when it does not come back within 20 seconds.
template <class Body> bool in_child(Body&& body) {
    std::fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        alarm(20);
        _exit(body() ? 0 : 1);
    }
    int status = 0;
    return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

struct Failure : std::runtime_error {
    using std::runtime_error::runtime_error;
};

}  // namespace

TEST(team_runs_every_task_once) {
    for (int threads : thread_counts)
        for (index tasks : {0, 1, 2, 7, 1000}) CHECK(runs_every_task_once(threads, tasks));
}

TEST(team_numbers_each_thread) {
    Team team(3);
    std::mutex mutex;
    std::vector<std::set<std::thread::id>> threads_of(3);
    const std::thread::id caller = std::this_thread::get_id();
    team.for_each(300, [&](index, int worker) {
        const std::lock_guard lock(mutex);
        threads_of[static_cast<std::size_t>(worker)].insert(std::this_thread::get_id());
    });
    for (const auto& threads : threads_of) CHECK(threads.size() <= 1);
    CHECK(threads_of[0].empty() || *threads_of[0].begin() == caller);  // the observer may need it
}

TEST(team_rethrows_the_first_exception) {
    for (int threads : thread_counts) {
        Team team(threads);
        std::atomic<index> runs{0};
        bool caught = false;
        try {
            team.for_each(100000, [&](index task, int) {
                ++runs;
                if (task == 5) throw Failure("task 5");
            });
        } catch (const Failure& e) {
            caught = std::string(e.what()) == "task 5";
        }
        CHECK(caught);
        CHECK(runs < 100000);  // the others were stopped
    }
}

TEST(team_keeps_the_first_of_two_exceptions) {
    Team team(2);
    std::atomic<int> started{0};
    std::string caught;
    try {
        team.for_each(2, [&](index task, int worker) {
            ++started;
            for (int i = 0; i < 1000000 && started < 2; ++i) std::this_thread::yield();
            if (task == 0) throw Failure("first");
            try {
                for (;;) team.poll(worker);  // until the other has failed
            } catch (...) {
                throw Failure("second");
            }
        });
    } catch (const Failure& e) {
        caught = e.what();
    }
    CHECK(caught == "first");
}

TEST(team_stops_long_tasks_that_poll) {
    for (int threads : {2, 3}) {
        Team team(threads);
        std::atomic<int> started{0};
        CHECK_THROWS(Failure, team.for_each(threads, [&](index task, int worker) {
            ++started;
            if (task > 0)
                for (;;) team.poll(worker);  // ends by an exception
            for (int i = 0; i < 10000 && started < threads; ++i) std::this_thread::yield();
            throw Failure("one");
        }));
    }
}

TEST(team_lets_the_observer_look_and_stop) {
    for (int threads : thread_counts) {
        std::vector<std::pair<index, index>> seen;
        const std::thread::id caller = std::this_thread::get_id();
        bool on_caller = true;
        Team team(threads, [&](index done, index total) {
            on_caller = on_caller && std::this_thread::get_id() == caller;
            seen.emplace_back(done, total);
        });
        team.for_each_observed(10, [](index, int) {});
        CHECK(on_caller);
        CHECK(!seen.empty() && seen.back() == std::pair<index, index>(10, 10));

        Team stopped(threads, [](index, index) { throw Failure("enough"); });
        CHECK_THROWS(Failure, stopped.for_each_observed(1, [&](index, int worker) {
            for (;;) stopped.poll(worker);  // until the observer is asked
        }));
    }
}

TEST(team_together_shares_out_many_times) {
    for (int threads : thread_counts) {
        Team team(threads);
        const std::thread::id caller = std::this_thread::get_id();
        index sum =
            0;  // no atomic: what a round wrote is seen by the caller afterwards, and by the next round
        std::vector<index> values(64, 1);
        team.together([&] {
            for (int round = 0; round < 500; ++round) {
                team.for_each(64, [&](index task, int) { values[static_cast<std::size_t>(task)] += round; });
                sum += values[static_cast<std::size_t>(round % 64)];
            }
            CHECK(std::this_thread::get_id() == caller);
        });
        index expected = 0, value = 1;
        for (int round = 0; round < 500; ++round) expected += value += round;
        CHECK(sum == expected);
    }
}

TEST(team_together_lets_exceptions_through) {
    for (int threads : thread_counts) {
        Team team(threads);
        CHECK_THROWS(Failure, team.together([] { throw Failure("between the rounds"); }));
        CHECK_THROWS(Failure, team.together([&] {
            team.for_each(1000, [](index task, int) {
                if (task == 500) throw Failure("in a round");
            });
        }));
        std::atomic<index> runs{0};  // and the team is as before
        team.together([&] {
            try {
                team.for_each(1000, [](index, int) { throw Failure("caught"); });
            } catch (const Failure&) {
                team.for_each(1000, [&](index, int) { ++runs; });
            }
        });
        CHECK(runs == 1000);
    }
}

TEST(team_within_a_thread_of_another) {
    std::atomic<bool> fine{true};
    Team(2).for_each(4, [&](index, int) {
        if (!runs_every_task_once(2, 50)) fine = false;
    });
    CHECK(fine);
}

TEST(team_passes_on_that_a_team_around_it_was_stopped) {
    Team outer(2);
    std::atomic<bool> inside{false}, went_on{false};
    CHECK_THROWS(Failure, outer.for_each(2, [&](index task, int worker) {
        if (task == 0) {
            for (int i = 0; i < 100000 && !inside; ++i)
                std::this_thread::sleep_for(std::chrono::microseconds(50));
            throw Failure("outer");
        }
        Team inner(1, [&](index, index) { outer.poll(worker); });
        inner.for_each(1, [&](index, int) {
            inside = true;
            for (;;) inner.poll(0);
        });
        went_on = true;
    }));
    CHECK(inside);
    CHECK(!went_on);
}

TEST(team_from_several_threads_at_once) {
    std::atomic<int> fine{0};
    std::vector<std::thread> callers;
    for (int t = 0; t < 3; ++t)
        callers.emplace_back([&] {
            for (int repeat = 0; repeat < 20; ++repeat) fine += runs_every_task_once(2, 100) ? 1 : 0;
        });
    for (std::thread& caller : callers) caller.join();
    CHECK(fine == 60);
}

TEST(team_after_fork) {
    CHECK(runs_every_task_once(4, 100));  // the parent has a team of threads, of which a child has none
    CHECK(in_child([] {
        for (int threads : thread_counts)
            if (!runs_every_task_once(threads, 100)) return false;
        return in_child([] { return runs_every_task_once(3, 100); });  // and a child of the child
    }));
    CHECK(in_child([] {
        try {
            Team(3).for_each(10, [](index, int) { throw Failure("in a child"); });
        } catch (const Failure&) {
            return true;
        }
        return false;
    }));
    CHECK(runs_every_task_once(4, 100));
}

TEST(team_knows_its_machine) {
    CHECK(default_threads() >= 1);
    const std::string layer = threading_layer();
    CHECK(layer == "OpenMP" || layer == "std::thread");
}

}  // namespace fastcka::test
