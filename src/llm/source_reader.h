// The encoder of an encoder-decoder as a compiled graph, with the inputs that the usual ONNX exports have: sources in,
// their states out. A source is read alone, so that
// its states do not depend on what else is being served.
#pragma once

#include <vector>

#include "build/compiler.h"
#include "checkpoint/seq2seq.h"
#include "lathe/lathe.h"
#include "llm/step_model.h"

namespace lathe::llm {

class SourceReader {
 public:
  SourceReader(checkpoint::SourceEncoder encoder, const CompileOptions& compile, const SessionOptions& session);

  const checkpoint::SourceInfo& info() const { return info_; }
  // Appends the states of the source, [states, hidden].
  void read(const Source& source, std::vector<float>& states);

 private:
  checkpoint::SourceInfo info_;
  Session session_;
};

}  // namespace lathe::llm
