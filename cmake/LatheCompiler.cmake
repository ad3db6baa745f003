# Decides the language level, the warnings and the code generation that every target of Lathe shares. They travel through
# the interface target lathe_options, so that third-party code and consumers of the package are not touched by them.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 12)
  message(FATAL_ERROR "Lathe needs g++ 12 or newer; this is ${CMAKE_CXX_COMPILER_VERSION}")
elseif(CMAKE_CXX_COMPILER_ID MATCHES "Clang" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 14)
  message(FATAL_ERROR "Lathe needs clang 14 or newer; this is ${CMAKE_CXX_COMPILER_VERSION}")
endif()

get_property(multi_config GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
if(NOT multi_config AND NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Debug, Release or RelWithDebInfo" FORCE)
endif()

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g -DNDEBUG")

if(NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
  find_program(LATHE_CCACHE ccache)
  if(LATHE_CCACHE)  # by paths within the checkout: another checkout finds the same objects
    set(CMAKE_CXX_COMPILER_LAUNCHER
      "${CMAKE_COMMAND};-E;env;CCACHE_BASEDIR=${PROJECT_SOURCE_DIR};CCACHE_NOHASHDIR=1;${LATHE_CCACHE}")
  endif()
endif()

add_library(lathe_options INTERFACE)
target_compile_options(lathe_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Werror
  # Nothing here reads errno after a math call, and waiting for it forbids vector code.
  -fno-math-errno
  # Reference numbers must not depend on whether the compiler found a multiply beside an add. Kernels that want fused
  # multiply-adds write them as intrinsics; those of lathe_isa_sources() may get them from the compiler as well.
  -ffp-contract=$<IF:$<BOOL:$<TARGET_PROPERTY:LATHE_FP_CONTRACT>>,fast,off>)

if(LATHE_SANITIZE)
  set(sanitize_flags "-fsanitize=${LATHE_SANITIZE}" -fno-omit-frame-pointer)
  if(LATHE_SANITIZE MATCHES "undefined")
    list(APPEND sanitize_flags -fno-sanitize-recover=undefined)
  endif()
  # Directory-wide, third-party sources included: mixing checked and unchecked containers gives false reports.
  # Whatever the build type: -O1 is where checked code builds and runs in the least time together.
  add_compile_options(${sanitize_flags} -O1 -g1 -UNDEBUG -D_GLIBCXX_ASSERTIONS)
  add_link_options(${sanitize_flags})
endif()
if(LATHE_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "LATHE_FUZZ needs clang: configure with -DCMAKE_CXX_COMPILER=clang++")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
