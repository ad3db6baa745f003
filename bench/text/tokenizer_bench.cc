// How fast a tokenizer encodes a text: tokenizer_bench TOKENIZER TEXT_FILE [SECONDS]. Prints the fastest run in MB/s, with
// the lines of the file as inputs, on one core.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "text/tokenizer.h"

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fputs("usage: tokenizer_bench TOKENIZER TEXT_FILE [SECONDS]\n", stderr);
    return 2;
  }
  const auto tokenizer = lathe::text::Tokenizer::load(argv[1]);
  std::ifstream file(argv[2]);
  std::vector<std::string> lines;
  size_t bytes = 0;
  for (std::string line; std::getline(file, line); bytes += line.size() + 1) lines.push_back(line + "\n");
  using Clock = std::chrono::steady_clock;
  const auto seconds_since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  const double budget = argc > 3 ? std::atof(argv[3]) : 2.0;
  double best = 1e30;
  size_t ids = 0;
  for (const auto start = Clock::now(); seconds_since(start) < budget;) {
    const auto run = Clock::now();
    ids = 0;
    for (const std::string& line : lines) ids += tokenizer->encode(line).ids.size();
    best = std::min(best, seconds_since(run));
  }
  std::printf("%.1f MB/s, %zu ids\n", static_cast<double>(bytes) / best / 1e6, ids);
}
