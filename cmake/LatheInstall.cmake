# Decides what `cmake --install` and the Debian packages contain. Two components: `program` (the command-line tool) and
# `development` (public headers, one archive per room, the CMake package).
include(CMakePackageConfigHelpers)

get_property(rooms GLOBAL PROPERTY LATHE_ROOMS)
set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/lathe")

# The rooms are an inner matter: a consumer links lathe::lathe, which is all of them.
add_library(lathe_package INTERFACE)
set_target_properties(lathe_package PROPERTIES EXPORT_NAME lathe)
target_link_libraries(lathe_package INTERFACE ${rooms})
target_compile_features(lathe_package INTERFACE cxx_std_20)

# Everything that is installed, without the tests.
add_custom_target(product DEPENDS ${rooms})
if(TARGET lathe)
  add_dependencies(product lathe)
endif()

install(TARGETS ${rooms} lathe_package EXPORT lathe-targets
  ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}/lathe" COMPONENT development)
install(EXPORT lathe-targets NAMESPACE lathe:: DESTINATION "${package_dir}" COMPONENT development)
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/lathe" "${PROJECT_BINARY_DIR}/include/lathe"
  DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT development FILES_MATCHING PATTERN "*.h")
configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/lathe-config.cmake.in"
  "${PROJECT_BINARY_DIR}/lathe-config.cmake" INSTALL_DESTINATION "${package_dir}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/lathe-config-version.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/lathe-config.cmake" "${PROJECT_BINARY_DIR}/lathe-config-version.cmake"
    "${PROJECT_SOURCE_DIR}/cmake/LatheThirdParty.cmake"
  DESTINATION "${package_dir}" COMPONENT development)
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DOCDIR}" COMPONENT program)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME lathe)
set(CPACK_PACKAGE_VENDOR "The Lathe authors")
set(CPACK_PACKAGE_CONTACT "The Lathe authors <lathe@localhost>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_PACKAGE_DIRECTORY "${PROJECT_BINARY_DIR}/packages")
set(CPACK_STRIP_FILES ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_ALL program development)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_NAME lathe)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_DEPENDS "libc6 (>= 2.36)")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME lathe-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "zlib1g-dev, libutf8proc-dev, libpcre2-dev")
set(CPACK_DEBIAN_PROGRAM_DESCRIPTION "Turns neural networks into engines: the command-line tool")
set(CPACK_DEBIAN_DEVELOPMENT_DESCRIPTION "Turns neural networks into engines: headers and static libraries")
include(CPack)
