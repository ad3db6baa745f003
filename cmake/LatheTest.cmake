# Decides how a test, a fuzz target and a benchmark are built and how ctest finds them.

# lathe_test(<name> SOURCES <file>... DEPS <room>... [THIRD_PARTY <lathe::library>...] [LABELS <fast|slow>])
#
# One GoogleTest executable; ctest lists each of its cases. The label is `fast` unless said otherwise. Test data is found
# through "tests/data_path.h", which defines LATHE_TEST_DATA, the path of tests/data: a header, so that only those who
# include it depend on where the checkout is.
function(lathe_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;DEPS;THIRD_PARTY;LABELS")
  if(NOT LATHE_TESTS)
    return()
  endif()
  if(NOT arg_LABELS)
    set(arg_LABELS fast)
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE lathe_options ${arg_DEPS} ${arg_THIRD_PARTY} GTest::gmock GTest::gtest_main)
  lathe_include_directories(${name} PRIVATE)
  target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}" "${PROJECT_BINARY_DIR}/generated")
  # What is tested does the work; the cases themselves only have to compile quickly.
  target_compile_options(${name} PRIVATE $<IF:$<BOOL:${LATHE_SANITIZE}>,-O0,-O1>)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
  # Listing the cases when ctest starts, not when the test is linked, keeps the build free of running half-built things.
  gtest_discover_tests(${name} TEST_PREFIX "${name}." NO_PRETTY_VALUES DISCOVERY_MODE PRE_TEST
    DISCOVERY_TIMEOUT 60
    PROPERTIES LABELS "${arg_LABELS}" TIMEOUT 600)
  # A separate list for the sanitizer runs, which leave the slow tests out.
  if(NOT "slow" IN_LIST arg_LABELS)
    set_property(GLOBAL APPEND PROPERTY LATHE_FAST_TESTS ${name})
  endif()
endfunction()

# lathe_fuzz(<name> DEPS <room>...) builds tests/fuzz/<name>_fuzz.cc.
#
# The same source serves twice: with LATHE_FUZZ it is a libFuzzer program; in every other build it is linked with a small
# main that replays the files of tests/fuzz/corpus/<name>, as a test.
function(lathe_fuzz name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "DEPS;THIRD_PARTY")
  set(program ${name}_fuzz)
  set(corpus "${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name}")
  add_executable(${program} ${program}.cc)
  target_link_libraries(${program} PRIVATE lathe_options ${arg_DEPS} ${arg_THIRD_PARTY})
  lathe_include_directories(${program} PRIVATE)
  set_target_properties(${program} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/fuzz")
  if(LATHE_FUZZ)
    target_link_options(${program} PRIVATE -fsanitize=fuzzer)
    add_test(NAME ${name}.corpus COMMAND ${program} -runs=0 "${corpus}")
  else()
    target_sources(${program} PRIVATE "${PROJECT_SOURCE_DIR}/tests/fuzz/replay_main.cc")
    add_test(NAME ${name}.corpus COMMAND ${program} "${corpus}")
    set_property(GLOBAL APPEND PROPERTY LATHE_FAST_TESTS ${program})
  endif()
  set_tests_properties(${name}.corpus PROPERTIES LABELS "fast;fuzz" TIMEOUT 600)
endfunction()

# lathe_bench(<name> SOURCES <file>... DEPS <room>...) makes one Google Benchmark executable; ctest does not run it.
function(lathe_bench name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;DEPS;THIRD_PARTY")
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE lathe_options ${arg_DEPS} ${arg_THIRD_PARTY} benchmark::benchmark)
  lathe_include_directories(${name} PRIVATE)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bench")
endfunction()

if(LATHE_TESTS)
  find_package(GTest REQUIRED)
  include(GoogleTest)
  file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/generated/tests/data_path.h"
    CONTENT "#define LATHE_TEST_DATA \"${PROJECT_SOURCE_DIR}/tests/data\"\n")
endif()
if(LATHE_BENCH)
  find_package(benchmark REQUIRED)
endif()
