// lathe compare: do two models, plans or recordings give the same outputs?
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "tools/command.h"
#include "tools/comparison.h"
#include "tools/layer_compare.h"
#include "tools/model_options.h"
#include "tools/named_values.h"
#include "tools/table.h"
#include "tools/tensor_files.h"
#include "tools/units.h"

namespace lathe::tools {
namespace {

bool is_recording(const std::string& path) { return path.ends_with(".npz"); }

// One of the two things compared: a recording, or a model that is run.
struct Side {
  std::string path;
  ModelOptions options;
  std::optional<Recording> recording;
  std::optional<Session> session;

  void open(Console& console) {
    if (is_recording(path))
      recording = read_recording(path);
    else
      session.emplace(open_model(path, options, console), options.session_options());
  }
  const Graph& graph() const { return *session->engine().impl().model.graph; }
  Tensors outputs(const Tensors& inputs) { return recording ? recording->outputs : run_once(*session, inputs); }
  std::string describe() const { return recording ? path : fmt::format("{} on {}", path, options.device); }
};

struct OutputComparison {
  std::string name;
  Tolerance tolerance;
  Comparison comparison;
};

class CompareCommand : public Command {
 public:
  CommandInfo info() const override {
    return {
        "compare",
        "Run and check",
        "Compare the outputs of two models, plans or recordings",
        "A is what counts as right, B is what is tested. Both see the same inputs: those of a recording (an .npz with "
        "arrays in:NAME and out:NAME), given ones, or made-up ones. An output passes when |b - a| <= atol + rtol * |a| "
        "everywhere; integers must be equal. Exit status 1 when one does not. With --layers every value that both "
        "programs compute is compared while they run, and the first one that drifts is named. With --against there is "
        "no B: A is compared with itself on other devices.",
        {{"compare model.onnx model.plan", "a plan against its model on the reference evaluator"},
         {"compare expected.npz model.plan --atol 1e-4 --rtol 1e-3", "a plan against recorded outputs"},
         {"compare model.onnx model.plan --layers --shape input_ids:1x16", "where do they part?"},
         {"compare model.onnx --against cpu,cuda", "a model on the reference evaluator, the CPU and the GPU"}}};
  }

  void add_options(CLI::App& app) override {
    app.add_option("A", a_.path, "What is right: a .onnx, a .plan, an encoder's checkpoint folder or an .npz")
        ->required();
    auto* b = app.add_option("B", b_.path, "What is tested: the same");
    app.add_option("--against", against_, "Test A itself on these devices instead of B")
        ->type_name("DEVICE,..")
        ->delimiter(',')
        ->allow_extra_args(false)
        ->excludes(b);
    app.add_option("--atol", atol_, "Absolute tolerance (default 1e-4; 2e-2 for 16-bit floats)")->type_name("X");
    app.add_option("--rtol", rtol_, "Relative tolerance (default 1e-3; 2e-2 for 16-bit floats)")->type_name("X");
    app.add_flag("--layers", layers_, "Compare the values inside as well");
    add_device_option(app, "--device-b", b_.options.device, "Where B runs (default cpu)");
    add_input_options(app, inputs_, true);
    add_model_options(app, a_.options);
    app.get_option("--device")->description("Where A runs (default: reference for a .onnx, cpu for a .plan)");
    a_.options.device.clear();
  }

  int run(Console& console) override {
    settle_options();
    a_.open(console);
    if (!against_.empty()) return run_against(console);
    b_.open(console);
    const Tensors inputs = choose_inputs(console);
    if (layers_) return run_layers(inputs, console);
    const nlohmann::json document = compare_with(b_, a_.outputs(inputs), inputs, console);
    console.result(document);
    return document["passed"] ? kExitOk : kExitNo;
  }

 private:
  void settle_options() {
    if (b_.path.empty() && against_.empty())
      throw Error(ErrorCode::invalid_argument, "there is nothing to compare with")
          .remedy("Name a second model, plan or recording, or give --against cpu");
    if (!against_.empty() && (layers_ || is_recording(a_.path)))
      fail(ErrorCode::invalid_argument, "--against compares the outputs of a model: not --layers, not a recording");
    for (const double tolerance : {atol_.value_or(0), rtol_.value_or(0)})
      if (!(tolerance >= 0)) fail(ErrorCode::invalid_argument, "a tolerance cannot be {}", tolerance);
    if (a_.options.device.empty()) a_.options.device = a_.path.ends_with(".onnx") ? "reference" : "cpu";
    const std::string device = b_.options.device;
    b_.options = a_.options;
    b_.options.device = device;
    if (layers_ && (is_recording(a_.path) || is_recording(b_.path)))
      fail(ErrorCode::invalid_argument, "--layers needs two models or plans: a recording holds no inner values");
  }

  int run_against(Console& console) {
    const Tensors inputs = choose_inputs(console);
    const Tensors expected = a_.outputs(inputs);
    nlohmann::json list = nlohmann::json::array();
    bool passed = true;
    for (const std::string& device : against_) {
      Side other{a_.path, a_.options, {}, {}};
      other.options.device = device;
      other.open(console);
      nlohmann::json document = compare_with(other, expected, inputs, console);
      document["device"] = device;
      passed &= document["passed"].get<bool>();
      list.push_back(std::move(document));
    }
    console.result({{"a", a_.path}, {"passed", passed}, {"against", list}});
    return passed ? kExitOk : kExitNo;
  }

  nlohmann::json compare_with(Side& b, const Tensors& expected, const Tensors& inputs, Console& console) const {
    const std::vector<OutputComparison> outputs = compare_outputs(expected, b.outputs(inputs), b.path);
    return report_outputs(b, outputs, console);
  }

  Tensors choose_inputs(Console& console) const {
    Tensors recorded;
    for (const Side* side : {&a_, &b_})
      if (side->recording) recorded.insert(side->recording->inputs.begin(), side->recording->inputs.end());
    const Side* model = a_.session ? &a_ : b_.session ? &b_ : nullptr;
    if (model == nullptr) return recorded;
    // A recording may hold inputs that the optimiser found to be useless.
    std::erase_if(recorded, [&](const auto& entry) { return find_input(model->graph(), entry.first) == nullptr; });
    return make_inputs(model->graph(), inputs_, console, std::move(recorded)).tensors;
  }

  Tolerance tolerance_for(DType type) const {
    const Tolerance standard = default_tolerance(type);
    return {atol_.value_or(standard.atol), rtol_.value_or(standard.rtol)};
  }

  std::vector<OutputComparison> compare_outputs(const Tensors& a, const Tensors& b, const std::string& b_path) const {
    std::vector<OutputComparison> outputs;
    for (const auto& [name, expected] : a) {
      const auto found = b.find(name);
      if (found == b.end() && b.contains(length_name(name.substr(0, name.rfind('.'))))) {
        Comparison missing;
        missing.incomparable = "B's sequence is shorter";
        outputs.push_back({name, {}, missing});
        continue;
      }
      if (found == b.end()) {
        std::string names;
        for (const auto& [other, tensor] : b) names += (names.empty() ? "" : ", ") + other;
        throw Error(ErrorCode::invalid_argument, fmt::format("{} has no output '{}' to compare", b_path, name))
            .remedy("It has: " + names);
      }
      const Tolerance tolerance = tolerance_for(expected.dtype());
      outputs.push_back({name, tolerance, compare(expected, found->second, tolerance)});
    }
    return outputs;
  }

  nlohmann::json report_outputs(const Side& b, const std::vector<OutputComparison>& outputs, Console& console) const {
    bool passed = true;
    Table table({{"output", Table::Align::left, 40},
                 {"result"},
                 {"max abs", Table::Align::right},
                 {"max rel", Table::Align::right},
                 {"cosine", Table::Align::right},
                 {"passes from", Table::Align::right},
                 {"outside", Table::Align::right}});
    nlohmann::json list = nlohmann::json::array();
    for (const auto& [name, tolerance, c] : outputs) {
      passed &= c.passed();
      const std::string verdict =
          c.passed() ? console.paint(Colour::green, "pass") : console.paint(Colour::red, "FAIL");
      if (c.incomparable.empty())
        table.add_row({name, verdict, format_number(c.max_abs), format_number(c.max_rel),
                       fmt::format("{:.7f}", c.cosine), format_number(c.smallest_tolerance),
                       fmt::format("{} of {}", c.failed, c.elements)});
      else
        table.add_row({name, verdict, c.incomparable});
      nlohmann::json entry = to_json(c);
      entry["name"] = name;
      entry["atol"] = tolerance.atol;
      entry["rtol"] = tolerance.rtol;
      list.push_back(std::move(entry));
    }
    console.print("A  {}\nB  {}\n\n{}", a_.describe(), b.describe(), table.render(console));
    console.print("\n\"passes from\": with atol = rtol = this, the output would pass.\n");
    return {{"a", a_.path}, {"b", b.path}, {"passed", passed}, {"outputs", list}};
  }

  int run_layers(const Tensors& inputs, Console& console) {
    const LayerReport report =
        compare_layers(*a_.session, *b_.session, as_inputs(a_.session->engine(), inputs), tolerance_for(DType::f32));
    Table table({{"value", Table::Align::left, 44},
                 {"op"},
                 {"kernel"},
                 {"shape"},
                 {"max abs", Table::Align::right},
                 {"of range", Table::Align::right},
                 {"cosine", Table::Align::right},
                 {""}});
    nlohmann::json list = nlohmann::json::array();
    for (const LayerComparison& layer : report.layers) {
      const Comparison& c = layer.comparison;
      table.add_row({layer.value, layer.op, layer.kernel, format_dims(layer.dims), format_number(c.max_abs),
                     format_number(c.range > 0 ? c.max_abs / c.range : 0), fmt::format("{:.7f}", c.cosine),
                     layer.drifted ? console.paint(Colour::red, "drifts") : ""});
      nlohmann::json entry = to_json(c);
      entry.update({{"value", layer.value},
                    {"node", layer.node},
                    {"op", layer.op},
                    {"kernel", layer.kernel},
                    {"shape", layer.dims},
                    {"drifted", layer.drifted}});
      list.push_back(std::move(entry));
    }
    const LayerComparison* first = report.first_drift();
    console.print("A  {}\nB  {}\n\n{}\n", a_.describe(), b_.describe(), table.render(console));
    console.print("{} values compared; {} values of B have no counterpart of the same name and sizes in A.\n",
                  report.layers.size(), report.unmatched);
    if (first == nullptr)
      console.print("No layer drifts.\n");
    else
      console.print("The first layer that drifts is '{}' ({}, node '{}').\n", first->value, first->op, first->node);
    console.result({{"a", a_.path},
                    {"b", b_.path},
                    {"passed", first == nullptr},
                    {"layers", list},
                    {"steps", report.steps},
                    {"unmatched", report.unmatched},
                    {"first_drift", first == nullptr ? nlohmann::json() : nlohmann::json(first->value)}});
    return first == nullptr ? kExitOk : kExitNo;
  }

  Side a_, b_;
  std::vector<std::string> against_;
  std::optional<double> atol_, rtol_;
  bool layers_ = false;
  InputOptions inputs_;
};

}  // namespace

std::unique_ptr<Command> make_compare_command() { return std::make_unique<CompareCommand>(); }

}  // namespace lathe::tools
