# SPDX-License-Identifier: BSD-3-Clause
# The warnings that gcc and clang both know. Eigen and pybind11 are system headers and stay silent.

function(fastcka_set_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wcast-align
                                           -Wnon-virtual-dtor -Woverloaded-virtual)
  # Beside sanitizers gcc warns of its own instrumentation.
  if(FASTCKA_WERROR AND NOT FASTCKA_SANITIZE)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()
