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
