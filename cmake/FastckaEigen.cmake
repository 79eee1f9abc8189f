# SPDX-License-Identifier: BSD-3-Clause
# Where Eigen comes from. No copy of it is in the repository: a checkout takes the headers of the pinned build
# requirement (cmeel-eigen), an sdist carries them, and FASTCKA_SYSTEM_EIGEN takes an installed one.

set(fastcka_eigen_version 3.4.1) # the same as in pyproject.toml
set(fastcka_eigen_copy "${CMAKE_CURRENT_LIST_DIR}/../third_party/eigen")

# Finds the headers of the Python package cmeel-eigen, which is not on CMake's search path.
macro(fastcka_find_pinned_eigen)
  execute_process(
    COMMAND "${Python_EXECUTABLE}" -c
            "import importlib.metadata as m; print(m.distribution('cmeel-eigen').locate_file('cmeel.prefix').as_posix())"
    OUTPUT_VARIABLE eigen_prefix
    OUTPUT_STRIP_TRAILING_WHITESPACE
    ERROR_QUIET
    RESULT_VARIABLE eigen_missing)
  if(eigen_missing)
    message(FATAL_ERROR "Eigen not found: run \"${Python_EXECUTABLE} -m pip install cmeel-eigen==${fastcka_eigen_version}\","
                        " or configure with -DFASTCKA_SYSTEM_EIGEN=ON to use an installed Eigen.")
  endif()
  find_package(Eigen3 ${fastcka_eigen_version} EXACT CONFIG REQUIRED PATHS "${eigen_prefix}" NO_DEFAULT_PATH)
endmacro()

# Defines the target Eigen3::Eigen.
macro(fastcka_find_eigen)
  if(FASTCKA_SYSTEM_EIGEN)
    find_package(Eigen3 3.4 CONFIG REQUIRED)
  elseif(EXISTS "${PROJECT_SOURCE_DIR}/PKG-INFO") # only an sdist has this file
    add_library(Eigen3::Eigen INTERFACE IMPORTED)
    target_include_directories(Eigen3::Eigen INTERFACE "${fastcka_eigen_copy}")
  else()
    fastcka_find_pinned_eigen()
  endif()
endmacro()

# Copies the headers to where an sdist carries them.
function(fastcka_vendor_eigen)
  fastcka_find_pinned_eigen()
  get_target_property(include_dir Eigen3::Eigen INTERFACE_INCLUDE_DIRECTORIES)
  file(REMOVE_RECURSE "${fastcka_eigen_copy}")
  file(COPY "${include_dir}/Eigen" DESTINATION "${fastcka_eigen_copy}")
endfunction()
