// SPDX-License-Identifier: BSD-3-Clause
// A test framework on one page. TEST(name) { CHECK(...); } registers itself; main.cpp runs all and counts failures.
#pragma once

#include <cmath>
#include <cstdio>
#include <vector>

namespace check {

struct Test {
    const char* name;
    const char* file;
    void (*run)();
};

inline std::vector<Test>& tests() {
    static std::vector<Test> all;
    return all;
}

struct Registration {
    Registration(const char* name, const char* file, void (*run)()) { tests().push_back({name, file, run}); }
};

inline int failures = 0;  // of the running test

inline void fail(const char* file, int line, const char* text) {
    if (++failures <= 10) std::printf("    %s:%d: %s\n", file, line, text);
}

inline void close(const char* file, int line, const char* text, double actual, double expected,
                  double tolerance) {
    if (std::abs(actual - expected) <= tolerance || actual == expected) return;  // false for NaN
    fail(file, line, text);
    if (failures <= 10) std::printf("        %.17g instead of %.17g +- %.2g\n", actual, expected, tolerance);
}

}  // namespace check

#define TEST(name)                                                                                           \
    static void name();                                                                                      \
    static const check::Registration name##_registration(#name, __FILE__, name);                             \
    static void name()

#define CHECK(...)                                                                                           \
    do {                                                                                                     \
        if (!(__VA_ARGS__)) check::fail(__FILE__, __LINE__, #__VA_ARGS__);                                   \
    } while (false)

// |actual - expected| <= tolerance, an absolute one
#define CHECK_CLOSE(actual, expected, tolerance)                                                             \
    check::close(__FILE__, __LINE__, #actual, static_cast<double>(actual), static_cast<double>(expected),    \
                 static_cast<double>(tolerance))

#define CHECK_THROWS(type, ...)                                                                              \
    do {                                                                                                     \
        bool thrown = false;                                                                                 \
        try {                                                                                                \
            __VA_ARGS__;                                                                                     \
        } catch (const type&) {                                                                              \
            thrown = true;                                                                                   \
        }                                                                                                    \
        if (!thrown) check::fail(__FILE__, __LINE__, "no " #type " from " #__VA_ARGS__);                     \
    } while (false)
