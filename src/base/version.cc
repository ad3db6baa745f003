// The only source that sees the commit: a new commit compiles this file again and nothing else.
#include "lathe/version.h"

#include "lathe_commit.h"

namespace lathe {

namespace {
constexpr std::string_view kIsas[] = {LATHE_BUILT_ISAS};
constexpr BuildInfo kBuildInfo = {LATHE_VERSION, LATHE_COMMIT, LATHE_COMPILER, kIsas};
}  // namespace

const BuildInfo& build_info() { return kBuildInfo; }

}  // namespace lathe
