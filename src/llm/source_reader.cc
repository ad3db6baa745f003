#include "llm/source_reader.h"

#include <utility>

#include "runtime/engine.h"

namespace lathe::llm {

SourceReader::SourceReader(checkpoint::SourceEncoder encoder, const CompileOptions& compile,
                           const SessionOptions& session)
    : info_(encoder.info), session_(make_engine(lathe::compile(std::move(encoder.graph), compile)), session) {}

void SourceReader::read(const Source& source, std::vector<float>& states) {
  std::vector<Input> inputs;
  const std::vector<int64_t> ids(source.ids.begin(), source.ids.end()), mask(ids.size(), 1);
  if (info_.mel_bins > 0) {
    inputs.emplace_back("input_features", source.features, std::vector<int64_t>{1, info_.mel_bins, info_.frames});
  } else {
    const std::vector<int64_t> dims = {1, static_cast<int64_t>(ids.size())};
    inputs.emplace_back("input_ids", ids, dims);
    inputs.emplace_back("attention_mask", mask, dims);
  }
  const auto read = session_.run(inputs).front().as<float>();
  states.insert(states.end(), read.begin(), read.end());
}

}  // namespace lathe::llm
