# Names the third-party libraries that only building Lathe needs (docs/dependencies.md says why these); those that end up
# in a link line are in LatheThirdParty.cmake.
include(LatheThirdParty)

lathe_third_party(fmt_headers HEADER fmt/format-inl.h)
lathe_third_party(protozero HEADER protozero/pbf_reader.hpp)
lathe_third_party(json HEADER nlohmann/json.hpp)
lathe_third_party(cli11 HEADER CLI/CLI.hpp)
