// Links the installed library without any of its build settings and checks that header and archive are of one version.
#include <lathe/version.h>

#include <cstdio>

int main() {
  const lathe::BuildInfo& info = lathe::build_info();
  std::printf("lathe %.*s\n", static_cast<int>(info.version.size()), info.version.data());
  return info.version == LATHE_VERSION ? 0 : 1;
}
