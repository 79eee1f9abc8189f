# SPDX-License-Identifier: BSD-3-Clause
# OpenMP, or std::thread where there is no OpenMP or a sanitizer has to see the threads. Only base/parallel.cpp can tell.

function(fastcka_link_threads target)
  find_package(Threads REQUIRED)
  target_link_libraries(${target} PRIVATE Threads::Threads)
  if(FASTCKA_THREADS STREQUAL "openmp")
    find_package(OpenMP REQUIRED COMPONENTS CXX)
    target_link_libraries(${target} PRIVATE OpenMP::OpenMP_CXX)
  elseif(FASTCKA_THREADS STREQUAL "std")
    target_compile_definitions(${target} PRIVATE FASTCKA_THREADS_STD)
  else()
    message(FATAL_ERROR "FASTCKA_THREADS is openmp or std, got: ${FASTCKA_THREADS}")
  endif()
endfunction()
