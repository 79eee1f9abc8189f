// SPDX-License-Identifier: BSD-3-Clause
// Runs all tests, or those whose name contains the first argument. The exit code is 1 when one fails.
#include "check.hpp"

#include <cstring>
#include <exception>

int main(int count, char** arguments) {
    int failed = 0, ran = 0;
    for (const check::Test& test : check::tests()) {
        if (count > 1 && std::strstr(test.name, arguments[1]) == nullptr) continue;
        check::failures = 0;
        try {
            test.run();
        } catch (const std::exception& e) {
            std::printf("    exception: %s\n", e.what());
            ++check::failures;
        }
        ++ran;
        failed += check::failures > 0 ? 1 : 0;
        std::printf("%s %s\n", check::failures > 0 ? "FAILED" : "ok    ", test.name);
        std::fflush(stdout);  // a child process would print it again
    }
    std::printf("%d tests, %d failed\n", ran, failed);
    return failed > 0 || ran == 0 ? 1 : 0;
}
