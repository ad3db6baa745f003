# lathe_embed(<target> <function> FILES <file>...) compiles the texts of the files into the target, as the definition of
# `const std::vector<KernelSource>& lathe::cuda::<function>()`. Run as a script (-P) it writes that source file.
if(NOT CMAKE_SCRIPT_MODE_FILE)
  function(lathe_embed target function)
    cmake_parse_arguments(PARSE_ARGV 2 arg "" "" "FILES")
    set(output "${CMAKE_CURRENT_BINARY_DIR}/${function}.cc")
    list(TRANSFORM arg_FILES PREPEND "${CMAKE_CURRENT_SOURCE_DIR}/")
    add_custom_command(OUTPUT "${output}"
      COMMAND "${CMAKE_COMMAND}" -D "FUNCTION=${function}" -D "OUTPUT=${output}" -D "FILES=${arg_FILES}"
        -P "${PROJECT_SOURCE_DIR}/cmake/LatheEmbed.cmake"
      DEPENDS ${arg_FILES} "${PROJECT_SOURCE_DIR}/cmake/LatheEmbed.cmake" VERBATIM)
    target_sources(${target} PRIVATE "${output}")
  endfunction()
  return()
endif()

set(entries "")
foreach(file IN LISTS FILES)
  get_filename_component(name "${file}" NAME)
  file(READ "${file}" text)
  string(APPEND entries "      {\"${name}\", R\"embedded(${text})embedded\"},\n")
endforeach()
file(WRITE "${OUTPUT}" "#include \"backends/cuda/compiler/kernel_spec.h\"

namespace lathe::cuda {

const std::vector<KernelSource>& ${FUNCTION}() {
  static const std::vector<KernelSource> sources = {
${entries}  };
  return sources;
}

}  // namespace lathe::cuda
")
