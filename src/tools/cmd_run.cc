// lathe run: one run of a model, on given or made-up inputs.
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/file_writer.h"
#include "tools/command.h"
#include "tools/json_values.h"
#include "tools/model_options.h"
#include "tools/named_values.h"
#include "tools/table.h"
#include "tools/tensor_files.h"
#include "tools/units.h"

namespace lathe::tools {
namespace {

// What a tensor holds, in a line.
struct Digest {
  double min = 0, max = 0, mean = 0;
  int64_t nans = 0;
};

Digest digest(const Tensor& tensor) {
  Digest d;
  int64_t count = 0;
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    const double value = tensor.read_double(i);
    if (std::isnan(value)) {
      ++d.nans;
      continue;
    }
    d.min = count == 0 ? value : std::min(d.min, value);
    d.max = count == 0 ? value : std::max(d.max, value);
    d.mean += (value - d.mean) / static_cast<double>(++count);
  }
  return d;
}

std::string element_text(const Tensor& tensor, int64_t index) {
  if (tensor.dtype() != DType::string) return format_number(tensor.read_double(index));
  return '"' + tensor.strings()[static_cast<size_t>(index)] + '"';
}

// With the keys, where the tensor is what one or more maps hold.
std::string first_values(const Tensor& tensor, const Tensor* keys) {
  constexpr int64_t kShown = 6;
  std::string text;
  for (int64_t i = 0; i < std::min(kShown, tensor.elements()); ++i) {
    if (i > 0) text += ", ";
    if (keys != nullptr && keys->elements() > 0) text += element_text(*keys, i % keys->elements()) + ": ";
    text += element_text(tensor, i);
  }
  return tensor.elements() > kShown ? text + ", …" : text;
}

const Tensor* keys_of(const std::string& name, const Tensors& tensors) {
  const std::string map = map_of_values(name);
  const auto keys = map.empty() ? tensors.end() : tensors.find(keys_name(map));
  return keys == tensors.end() ? nullptr : &keys->second;
}

nlohmann::json describe(const Tensors& tensors) {
  nlohmann::json list = nlohmann::json::array();
  for (const auto& [name, tensor] : tensors) {
    list.push_back({{"name", name}, {"type", to_string(tensor.dtype())}, {"shape", tensor.dims()}});
    if (tensor.dtype() == DType::string) continue;
    const Digest d = digest(tensor);
    list.back().update({{"min", d.min}, {"max", d.max}, {"mean", d.mean}, {"nan", d.nans}});
  }
  return list;
}

class RunCommand : public Command {
 public:
  CommandInfo info() const override {
    return {
        "run",
        "Run and check",
        "Run a model or plan once",
        "Inputs that are not given are made up: token ids within the vocabulary, masks of ones, normal(0, 1) numbers.",
        {{"run model.onnx --shape input_ids:2x64 --output out.npz",
          "made-up inputs of these sizes; keep inputs and outputs"},
         {"run bert.plan --input input_ids=ids.npy --input attention_mask=mask.npy", "your own inputs"},
         {"run model.onnx --device reference --output expected.npz", "exact answers to compare with"}}};
  }

  void add_options(CLI::App& app) override {
    app.add_option("MODEL", model_, "A .onnx model, a .plan or an encoder's checkpoint folder")->required();
    app.add_option("-o,--output", output_,
                   "Write inputs (in:NAME) and outputs (out:NAME) to an .npz file, or both to a .json file")
        ->type_name("FILE");
    add_input_options(app, inputs_, true);
    add_model_options(app, options_);
  }

  int run(Console& console) override {
    const auto engine = open_model(model_, options_, console);
    Session session(engine, options_.session_options());
    const ModelInputs inputs = make_inputs(*engine->impl().model.graph, inputs_, console);
    const Tensors outputs = run_once(session, inputs.tensors);
    write_values(*engine, inputs.tensors, outputs);
    Table table({{"", Table::Align::left},
                 {"name", Table::Align::left, 40},
                 {"type"},
                 {"shape"},
                 {"min", Table::Align::right},
                 {"max", Table::Align::right},
                 {"mean", Table::Align::right},
                 {"values", Table::Align::left, 60}});
    for (const auto& [label, tensors] : {std::pair{"in", &inputs.tensors}, std::pair{"out", &outputs}}) {
      for (const auto& [name, tensor] : *tensors) {
        std::string min, max, mean;
        if (tensor.dtype() != DType::string) {
          const Digest d = digest(tensor);
          min = format_number(d.min), max = format_number(d.max), mean = format_number(d.mean);
        }
        table.add_row({label, name, std::string(to_string(tensor.dtype())), format_dims(tensor.dims()), min, max, mean,
                       first_values(tensor, keys_of(name, *tensors))});
      }
    }
    console.print("{}", table.render(console));
    if (!output_.empty()) console.print("written to {}\n", output_);
    console.result({{"model", model_},
                    {"inputs", describe(inputs.tensors)},
                    {"outputs", describe(outputs)},
                    {"output_file", output_}});
    return kExitOk;
  }

 private:
  void write_values(const Engine& engine, const Tensors& inputs, const Tensors& outputs) const {
    if (output_.empty()) return;
    if (!output_.ends_with(".json")) return write_recording(output_, inputs, outputs);
    const nlohmann::json document = {{"inputs", to_json(engine.inputs(), inputs)},
                                     {"outputs", to_json(engine.outputs(), outputs)}};
    FileWriter file(output_);
    file.write(document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
    file.commit();
  }

  std::string model_, output_;
  InputOptions inputs_;
  ModelOptions options_;
};

}  // namespace

std::unique_ptr<Command> make_run_command() { return std::make_unique<RunCommand>(); }

}  // namespace lathe::tools
