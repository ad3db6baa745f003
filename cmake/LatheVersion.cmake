# Decides what lathe/version.h and lathe::build_info() say. The version is fixed when CMake configures; the commit is read
# at every build, because a checkout or a commit does not make CMake run again.
if(CMAKE_SCRIPT_MODE_FILE)
  find_package(Git QUIET)
  set(commit "")
  if(GIT_FOUND)
    execute_process(COMMAND "${GIT_EXECUTABLE}" -C "${SOURCE_DIR}" describe --always --dirty --abbrev=12 --exclude "*"
      OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  endif()
  if(NOT commit)
    set(commit unknown)
  endif()
  file(CONFIGURE OUTPUT "${OUTPUT}" CONTENT "#define LATHE_COMMIT \"${commit}\"\n")
  return()
endif()

# Called by the room that owns version.cc.
function(lathe_version target)
  set(generated "${PROJECT_BINARY_DIR}/generated")
  configure_file("${PROJECT_SOURCE_DIR}/include/lathe/version.h.in" "${PROJECT_BINARY_DIR}/include/lathe/version.h" @ONLY)
  # Not an output of a rule but a by-product: the script leaves the file alone when the commit is the same.
  add_custom_target(lathe_commit
    COMMAND "${CMAKE_COMMAND}" "-DSOURCE_DIR=${PROJECT_SOURCE_DIR}" "-DOUTPUT=${generated}/lathe_commit.h"
            -P "${PROJECT_SOURCE_DIR}/cmake/LatheVersion.cmake"
    BYPRODUCTS "${generated}/lathe_commit.h"
    COMMENT "Reading the commit")
  add_dependencies(${target} lathe_commit)
  list(JOIN LATHE_ISAS "\", \"" isas)
  set_property(SOURCE version.cc PROPERTY INCLUDE_DIRECTORIES "${generated}")
  set_property(SOURCE version.cc PROPERTY COMPILE_DEFINITIONS
    "LATHE_BUILT_ISAS=\"${isas}\"" "LATHE_COMPILER=\"${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}\"")
endfunction()
