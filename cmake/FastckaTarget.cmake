# SPDX-License-Identifier: BSD-3-Clause
# What every target of this project has in common.

function(fastcka_target target)
  target_compile_features(${target} PRIVATE cxx_std_20)
  set_target_properties(
    ${target}
    PROPERTIES CXX_EXTENSIONS OFF
               POSITION_INDEPENDENT_CODE ON
               CXX_VISIBILITY_PRESET hidden
               VISIBILITY_INLINES_HIDDEN ON)
  # MPL2_ONLY makes the few LGPL headers of Eigen an error; DONT_PARALLELIZE, because the core owns the threads.
  target_compile_definitions(${target} PRIVATE EIGEN_MPL2_ONLY EIGEN_DONT_PARALLELIZE)
  target_link_libraries(${target} PRIVATE Eigen3::Eigen)
  fastcka_set_warnings(${target})
  fastcka_set_sanitizers(${target})
endfunction()

# Lets the compiler read several sources as one: the headers of Eigen and pybind11 take it longer than our own code.
function(fastcka_join_sources target)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 6)
  # gcc takes a source that is included for a header, in which an anonymous namespace would be a mistake.
  target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>)
endfunction()
