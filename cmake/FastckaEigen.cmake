# SPDX-License-Identifier: BSD-3-Clause
# Where Eigen comes from. No copy of it is in the repository: a checkout takes the headers of the pinned build
# requirement (cmeel-eigen), an sdist carries them, and FASTCKA_SYSTEM_EIGEN takes an installed one.

file(STRINGS "${PROJECT_SOURCE_DIR}/pyproject.toml" eigen_line REGEX "cmeel-eigen==")
string(REGEX REPLACE ".*cmeel-eigen==([0-9.]+).*" "\\1" fastcka_eigen_version "${eigen_line}")
set(fastcka_eigen_copy "${PROJECT_SOURCE_DIR}/third_party/eigen")

# Finds the headers of the Python package cmeel-eigen, which is not on CMake's search path.
function(fastcka_find_pinned_eigen include_dir)
  execute_process(
    COMMAND
      "${Python_EXECUTABLE}" -c
      "import importlib.metadata as m; d = m.distribution('cmeel-eigen'); \
print(d.version, d.locate_file('cmeel.prefix/include/eigen3').as_posix(), sep=';')"
    OUTPUT_VARIABLE found
    OUTPUT_STRIP_TRAILING_WHITESPACE
    ERROR_QUIET)
  list(POP_FRONT found version)
  if(NOT version VERSION_EQUAL fastcka_eigen_version)
    message(FATAL_ERROR "Eigen ${fastcka_eigen_version} not found: run \"${Python_EXECUTABLE} -m pip install "
                        "cmeel-eigen==${fastcka_eigen_version}\", or configure with -DFASTCKA_SYSTEM_EIGEN=ON to use "
                        "an installed Eigen.")
  endif()
  set(${include_dir} "${found}" PARENT_SCOPE)
endfunction()

# Defines the target Eigen3::Eigen.
macro(fastcka_find_eigen)
  if(FASTCKA_SYSTEM_EIGEN)
    find_package(Eigen3 3.4 CONFIG REQUIRED)
  else()
    set(eigen_include "${fastcka_eigen_copy}")
    if(NOT EXISTS "${PROJECT_SOURCE_DIR}/PKG-INFO") # only an sdist has this file
      fastcka_find_pinned_eigen(eigen_include)
    endif()
    # Through a link, so that the path is the same in every build: a compiler cache can then share what they compile.
    file(CREATE_LINK "${eigen_include}" "${PROJECT_BINARY_DIR}/eigen" SYMBOLIC)
    add_library(Eigen3::Eigen INTERFACE IMPORTED)
    target_include_directories(Eigen3::Eigen INTERFACE "${PROJECT_BINARY_DIR}/eigen")
  endif()
endmacro()

# Copies the headers to where an sdist carries them.
function(fastcka_vendor_eigen)
  fastcka_find_pinned_eigen(include_dir)
  file(REMOVE_RECURSE "${fastcka_eigen_copy}")
  file(COPY "${include_dir}/Eigen" DESTINATION "${fastcka_eigen_copy}")
endfunction()
