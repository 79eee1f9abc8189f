// SPDX-License-Identifier: BSD-3-Clause
// Runs all tests, or those whose name or file contains the first argument. The exit code is 1 when one fails, 2 where there
// are none.
#include "check.hpp"

#include <chrono>
#include <cstring>
#include <exception>

// Asked by the sanitizers, if any: absurd sizes are to fail as they do without one, and a child process may start threads.
#define SANITIZER_HOOK extern "C" __attribute__((visibility("default"))) const char*
SANITIZER_HOOK __asan_default_options() { return "allocator_may_return_null=1"; }                   // NOLINT
SANITIZER_HOOK __tsan_default_options() { return "allocator_may_return_null=1:die_after_fork=0"; }  // NOLINT

int main(int count, char** arguments) {
    int failed = 0, ran = 0;
    for (const check::Test& test : check::tests()) {
        const auto has = [&](const char* text) { return std::strstr(text, arguments[1]) != nullptr; };
        const char* folder = std::strrchr(test.file, '/');
        if (count > 1 && !has(test.name) && !has(folder != nullptr ? folder : test.file)) continue;
        check::failures = 0;
        const auto start = std::chrono::steady_clock::now();
        try {
            test.run();
        } catch (const std::exception& e) {
            std::printf("    exception: %s\n", e.what());
            ++check::failures;
        }
        ++ran;
        failed += check::failures > 0 ? 1 : 0;
        const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
        std::printf("%s %6.2f s  %s\n", check::failures > 0 ? "FAILED" : "ok    ", time.count(), test.name);
        std::fflush(stdout);  // a child process would print it again
    }
    std::printf("%d tests, %d failed\n", ran, failed);
    return ran == 0 ? 2 : failed > 0 ? 1 : 0;
}
