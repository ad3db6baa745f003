// How fast a tokenizer encodes a text: tokenizer_bench TOKENIZER TEXT_FILE [SECONDS]. Prints the fastest run in MB/s,
// with the lines of the file as inputs, on one core.
#include <algorithm>
#include <cstdio>
#include <ctime>
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
  for (std::string line; std::getline(file, line); bytes += lines.back().size()) lines.push_back(line + "\n");
  // Processor time: a busy machine then matters less.
  const auto seconds = [] { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; };
  const double end = seconds() + (argc > 3 ? std::atof(argv[3]) : 2.0);
  double best = 1e30;
  size_t ids = 0;
  do {
    const double start = seconds();
    ids = 0;
    for (const std::string& line : lines) ids += tokenizer->encode(line).ids.size();
    best = std::min(best, seconds() - start);
  } while (seconds() < end);
  std::printf("%.1f MB/s, %zu ids\n", static_cast<double>(bytes) / best / 1e6, ids);
}
