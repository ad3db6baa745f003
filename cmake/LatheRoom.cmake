# Decides how a room, a kernel source and the program are built. Rooms list their sources: nothing is globbed.

# The ISA variants that every kernel source is compiled for, and their flags. `generic` is the x86-64 baseline (SSE2).
set(LATHE_ISAS generic avx2 avx512)
set(LATHE_ISA_FLAGS_generic "")
set(LATHE_ISA_FLAGS_avx2 -mavx2 -mfma -mf16c)
set(LATHE_ISA_FLAGS_avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mfma -mf16c
    -mprefer-vector-width=512)

# lathe_room(<target> SOURCES <file>... [DEPS <lower room>...] [THIRD_PARTY <lathe::library>...])
#
# DEPS are the rooms below that this one may use, headers and all; the link line is the dependency law, and
# scripts/check_floors holds the includes to the same order. THIRD_PARTY stays out of the room's headers.
function(lathe_room target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;DEPS;THIRD_PARTY")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "lathe_room(${target}): unknown arguments ${arg_UNPARSED_ARGUMENTS}")
  endif()
  add_library(${target} STATIC ${arg_SOURCES})
  lathe_include_directories(${target} PUBLIC)
  target_link_libraries(${target} PUBLIC ${arg_DEPS} PRIVATE "$<BUILD_INTERFACE:lathe_options>")
  foreach(library IN LISTS arg_THIRD_PARTY)
    get_target_property(type ${library} TYPE)
    if(type STREQUAL "INTERFACE_LIBRARY")  # headers only: nothing is left for the installed package to link
      target_link_libraries(${target} PRIVATE "$<BUILD_INTERFACE:${library}>")
    else()
      target_link_libraries(${target} PRIVATE ${library})
    endif()
  endforeach()
  set_property(GLOBAL APPEND PROPERTY LATHE_ROOMS ${target})
endfunction()

# lathe_hot_room(<room target>): its loops run over data for most of the tests' time, so that checked builds, which have
# no optimisation otherwise, optimise it a little.
function(lathe_hot_room target)
  if(LATHE_SANITIZE)
    target_compile_options(${target} PRIVATE -O1)
  endif()
endfunction()

function(lathe_include_directories target scope)
  target_include_directories(${target} ${scope}
    "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src>"
    "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>"
    "$<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/include>")
  if(NOT scope STREQUAL "PRIVATE")
    target_include_directories(${target} ${scope} "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
  endif()
endfunction()

# lathe_isa_sources(<room target> ISA <generic|avx2|avx512>... FILES <file>...)
#
# Compiles each file once per ISA, with that ISA's flags and -DLATHE_ISA=<isa>, into the room. Every definition in such a
# file lives in `namespace LATHE_ISA`, so that the variants have different names.
#
# The trap: an inline or template function of the standard library (std::max, std::vector, std::sort ...) that is not
# inlined becomes a weak symbol with the same name in every variant, and the linker keeps any one of them. When it keeps
# the AVX-512 one, a machine without AVX-512 dies with an illegal instruction, far away from here. Therefore a kernel
# source calls no std function that emits code: no containers, no algorithms, no std::function; helpers belong into
# `namespace LATHE_ISA`. scripts/check_isa_symbols reads the objects and fails on a weak symbol outside that namespace.
function(lathe_isa_sources target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "ISA;FILES")
  foreach(isa IN LISTS arg_ISA)
    if(NOT isa IN_LIST LATHE_ISAS)
      message(FATAL_ERROR "lathe_isa_sources(${target}): '${isa}' is none of: ${LATHE_ISAS}")
    endif()
    set(objects ${target}_isa_${isa})
    if(NOT TARGET ${objects})
      add_library(${objects} OBJECT)
      lathe_include_directories(${objects} PRIVATE)
      target_link_libraries(${objects} PRIVATE lathe_options)
      target_compile_definitions(${objects} PRIVATE LATHE_ISA=${isa})
      set_property(TARGET ${objects} PROPERTY LATHE_FP_CONTRACT ON)  # read by lathe_options
      target_compile_options(${objects} PRIVATE ${LATHE_ISA_FLAGS_${isa}})
      # Checked builds would spend minutes on -O3, and on running what is not optimised at all.
      if(LATHE_SANITIZE)
        target_compile_options(${objects} PRIVATE -O1)
      else()
        target_compile_options(${objects} PRIVATE -O3)
      endif()
      target_sources(${target} PRIVATE "$<TARGET_OBJECTS:${objects}>")
    endif()
    list(TRANSFORM arg_FILES PREPEND "${CMAKE_CURRENT_SOURCE_DIR}/" OUTPUT_VARIABLE files)
    target_sources(${objects} PRIVATE ${files})
  endforeach()
endfunction()

# lathe_program(<target> SOURCES <file>... DEPS <room>...) builds an executable at <build folder>/<target>.
function(lathe_program target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;DEPS;THIRD_PARTY")
  add_executable(${target} ${arg_SOURCES})
  target_link_libraries(${target} PRIVATE lathe_options ${arg_DEPS} ${arg_THIRD_PARTY})
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}")
  # Sanitizers bring their own hooks into the C++ runtime and need it shared.
  if(LATHE_STATIC AND NOT LATHE_SANITIZE)
    target_link_options(${target} PRIVATE -static-libstdc++ -static-libgcc)
  endif()
  install(TARGETS ${target} RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT program)
endfunction()
