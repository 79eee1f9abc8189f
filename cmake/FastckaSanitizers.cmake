# SPDX-License-Identifier: BSD-3-Clause
# FASTCKA_SANITIZE=address,undefined or thread. A finding ends the program, so that a test run can fail. With valgrind, which
# needs no flags, tests are only made smaller.

function(fastcka_set_sanitizers target)
  if(FASTCKA_SANITIZE AND NOT FASTCKA_SANITIZE STREQUAL "valgrind")
    target_compile_options(
      ${target}
      PRIVATE -fsanitize=${FASTCKA_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer
              -O1 # unoptimised, Eigen is slower by an order of magnitude
              -g1) # lines for the stack of a finding; names of variables would cost a quarter of the compilation
    target_link_options(${target} PRIVATE -fsanitize=${FASTCKA_SANITIZE})
  endif()
endfunction()
