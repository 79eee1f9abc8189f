# SPDX-License-Identifier: BSD-3-Clause
# One object library per SIMD level, all from the same source, and all part of the core.

# fastcka_add_level(<level> [flags...])
function(fastcka_add_level level)
  set(target fastcka_level_${level})
  add_library(${target} OBJECT src/cpp/simd/level.cpp)
  fastcka_target(${target})
  # The linker keeps one copy of an inline function, whatever flags it was compiled with. So nothing inline may have the
  # same name in two levels: our own code is in a namespace named after the level, and Eigen's namespace is renamed.
  # tools/check_symbols.py looks after it. Link-time optimisation would mix the levels again.
  target_compile_definitions(${target} PRIVATE FASTCKA_LEVEL=${level} Eigen=Eigen_${level})
  target_include_directories(${target} PRIVATE src/cpp)
  set_target_properties(${target} PROPERTIES INTERPROCEDURAL_OPTIMIZATION OFF)
  # In Debug too: unoptimised, the standard library's inline functions would be emitted and shared. -O1, which sanitizers
  # bring, is enough for that, and compiles in a fifth of the time.
  if(NOT FASTCKA_SANITIZE)
    set(optimise -O3)
  endif()
  target_compile_options(
    ${target}
    PRIVATE ${optimise}
            ${ARGN}
            # The relaxations of floating-point rules that we rely on, by name. Never -ffast-math: it also gives up NaN and
            # infinity, reorders sums, and changes rounding of the whole process.
            -fno-math-errno # nobody reads errno after sqrt or exp, and setting it prevents vectorisation
            -fno-trapping-math # no floating-point exception is ever caught, so operations may be done early or masked
            -ffp-contract=fast # a * b + c in one rounding wherever the level has the instruction
            # gcc takes the deliberately undefined operands of its own AVX-512 intrinsics for a mistake (gcc bug 105593),
            # and says of every vector type used as a template argument that its alignment plays no part there
            $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized -Wno-uninitialized -Wno-ignored-attributes>)
  target_sources(fastcka_core PRIVATE $<TARGET_OBJECTS:${target}>)
  target_compile_definitions(fastcka_core PRIVATE FASTCKA_HAVE_${level}=1) # read by dispatch.cpp
endfunction()
