// lathe inspect: what is inside a model or plan; and `inspect capability`: what of a model Lathe cannot run.
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "graph/text.h"
#include "onnx/importer.h"
#include "runtime/model_import.h"
#include "tools/command.h"
#include "tools/llm_inspect.h"
#include "tools/llm_options.h"
#include "tools/model_facts.h"
#include "tools/model_options.h"
#include "tools/pinned_dims.h"
#include "tools/table.h"
#include "tools/units.h"

namespace lathe::tools {
namespace {

using nlohmann::json;

constexpr int64_t kShownElements = 8;  // of constants among attributes

std::string dims_text(const TensorInfo& info) {
  std::string text;
  for (const std::string& dim : info.dims) text += (text.empty() ? "" : ", ") + dim;
  return "[" + text + "]";
}

json tensors_json(const std::vector<TensorInfo>& infos) {
  json list = json::array();
  for (const TensorInfo& info : infos)
    list.push_back({{"name", info.name}, {"type", to_string(info.dtype)}, {"shape", info.dims}});
  return list;
}

class CapabilityCommand : public Command {
 public:
  CommandInfo info() const override {
    return {"capability",
            "Run and check",
            "List every node of a model that Lathe cannot run",
            "All of them at once, with the reason and what to do. Exit status 1 when there is one.",
            {{"inspect capability model.onnx", "can this model be built?"}}};
  }

  void add_options(CLI::App& app) override { app.add_option("MODEL", model_, "A .onnx model")->required(); }

  int run(Console& console) override {
    const onnx::CapabilityReport report = onnx::check(model_);
    Table table({{"node", Table::Align::left, 40},
                 {"op"},
                 {"domain"},
                 {"opset", Table::Align::right},
                 {"why", Table::Align::left, 70},
                 {"what to do"}});
    json list = json::array();
    for (const onnx::UnsupportedNode& node : report.unsupported) {
      const std::string domain = node.domain.empty() ? "ai.onnx" : node.domain;
      table.add_row({node.name, node.op, domain, std::to_string(node.opset), node.reason, node.remedy});
      list.push_back({{"name", node.name},
                      {"op", node.op},
                      {"domain", domain},
                      {"opset", node.opset},
                      {"reason", node.reason},
                      {"remedy", node.remedy}});
    }
    if (report.supported())
      console.print("{}: all {} nodes are supported.\n", model_, report.nodes);
    else
      console.print("{}\n{}: {} of {} nodes are not supported.\n", table.render(console), model_,
                    report.unsupported.size(), report.nodes);
    console.result(
        {{"model", model_}, {"nodes", report.nodes}, {"supported", report.supported()}, {"unsupported", list}});
    return report.supported() ? kExitOk : kExitNo;
  }

 private:
  std::string model_;
};

class InspectCommand : public Command {
 public:
  CommandInfo info() const override {
    return {"inspect",
            "Look inside",
            "Show what is inside a model or plan",
            "Costs and memory are those of the optimised program, for the sizes given by --shape and --dim or assumed.",
            {{"inspect model.onnx --shape input_ids:1x128", "inputs, ops, parameters, cost and memory for these sizes"},
             {"inspect model.plan --layers --attrs", "every step with its kernel and attributes"},
             {"inspect capability model.onnx", "what Lathe cannot run, and why"}}};
  }

  void add_options(CLI::App& app) override {
    app.add_option("MODEL", model_, "A .onnx model, a .plan or a checkpoint folder");
    app.add_flag("--layers", layers_, "List every step");
    app.add_flag("--attrs", attributes_, "With --layers: attributes, too");
    app.add_flag("--weights", weights_, "List every weight");
    app.add_flag("--verify", verify_, "Of a plan: read all weights and check them");
    add_input_options(app, inputs_, false);
    add_model_options(app, options_);
    add_rounding_options(app, weight_args_, "Of a checkpoint: ");
    add_kv_option(app, kv_dtype_);
  }

  std::vector<std::unique_ptr<Command>> subcommands() const override {
    std::vector<std::unique_ptr<Command>> list;
    list.push_back(std::make_unique<CapabilityCommand>());
    return list;
  }

  int run(Console& console) override {
    if (model_.empty())
      throw Error(ErrorCode::invalid_argument, "MODEL is required")
          .remedy("`lathe inspect --help` shows what there is");
    if (is_checkpoint(model_)) {
      inspect_llm(model_, options_, weight_args_, kv_dtype_, console);
      return kExitOk;
    }
    engine_ = open_model(model_, options_, console);
    if (verify_ && engine_->impl().plan != nullptr) engine_->impl().plan->verify_weights();
    document_ = {{"model", model_}};
    show_file(console);
    show_tensors(console);
    show_costs(console);
    show_pins(console);
    if (layers_) show_layers(console);
    if (weights_) show_weights(console);
    console.result(document_);
    return kExitOk;
  }

 private:
  const Program& program() const { return engine_->impl().model.program; }
  bool is_plan() const { return engine_->impl().plan != nullptr; }

  void show_file(Console& console) {
    const std::string name = console.paint(Colour::bold, model_);
    if (std::filesystem::is_directory(model_)) {
      document_["kind"] = "checkpoint";
      console.print("{}  checkpoint\n", name);
      return;
    }
    const double bytes = static_cast<double>(std::filesystem::file_size(model_));
    document_["file_bytes"] = bytes;
    document_["kind"] = is_plan() ? "plan" : "onnx";
    console.print("{}  {}, {}\n", name, is_plan() ? "plan" : "ONNX model", format_bytes(bytes));
    if (is_plan())
      show_plan(console);
    else
      show_onnx(console);
  }

  void show_onnx(Console& console) {
    const OnnxFacts facts = read_onnx_facts(model_);
    std::string opsets;
    json opset_list;
    for (const auto& [domain, version] : facts.opsets) {
      opsets += fmt::format("{}{} {}", opsets.empty() ? "" : ", ", domain, version);
      opset_list[domain] = version;
    }
    console.print("made by {}, IR {}, opset {}, {} nodes\n", facts.producer.empty() ? "unknown" : facts.producer,
                  facts.ir_version, opsets, facts.nodes);
    std::vector<std::pair<size_t, std::string>> sorted;
    for (const auto& [op, count] : facts.op_types) sorted.emplace_back(count, op);
    std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
      return a.first != b.first ? a.first > b.first : a.second < b.second;
    });
    std::string ops;
    for (const auto& [count, op] : sorted) ops += fmt::format("{}{} {}", ops.empty() ? "" : ", ", count, op);
    console.print("nodes: {}\n", ops);
    document_["onnx"] = {{"producer", facts.producer},
                         {"ir_version", facts.ir_version},
                         {"opsets", opset_list},
                         {"nodes", facts.nodes},
                         {"op_types", facts.op_types}};
  }

  void show_plan(Console& console) {
    const PlanInfo& info = engine_->impl().plan->info();
    console.print(
        "built from {} by lathe {}\nmade for {} ({}){}{}\n", info.model, info.lathe_version, info.device, info.target,
        info.threads > 0 ? fmt::format(", kernels timed with {} threads", info.threads) : ", kernels not timed",
        verify_ ? "; all weights verified" : "");
    const size_t code = engine_->impl().plan->compiled_code().size();
    if (code > 0) console.print("compiled kernels, {}\n", format_bytes(static_cast<double>(code)));
    const std::string& here = engine_->impl().model.backend->target();
    if (here != info.target) console.print("lowered again for this machine: {}\n", here);
    json profiles = json::array();
    Table table({{"profile"}, {"input"}, {"min"}, {"opt"}, {"max"}});
    for (size_t i = 0; i < info.profiles.size(); ++i) {
      json profile;
      for (const auto& [name, range] : info.profiles[i]) {
        table.add_row(
            {std::to_string(i), name, format_dims(range.min), format_dims(range.opt), format_dims(range.max)});
        profile[name] = {{"min", range.min}, {"opt", range.opt}, {"max", range.max}};
      }
      profiles.push_back(profile);
    }
    if (table.empty())
      console.print("no profiles: it runs any sizes, tuned for none in particular\n");
    else
      console.print("\n{}", table.render(console));
    document_["plan"] = {{"source", info.model},
                         {"lathe_version", info.lathe_version},
                         {"device", info.device},
                         {"target", info.target},
                         {"threads", info.threads},
                         {"profiles", profiles},
                         {"kernel_choices", info.choices.size()},
                         {"compiled_bytes", engine_->impl().plan->compiled_code().size()}};
  }

  void show_tensors(Console& console) {
    Table table({{""}, {"name", Table::Align::left, 50}, {"type"}, {"shape"}});
    for (const auto& [label, infos] : {std::pair{"in", &engine_->inputs()}, std::pair{"out", &engine_->outputs()}})
      for (const TensorInfo& info : *infos)
        table.add_row({label, info.name, std::string(to_string(info.dtype)), dims_text(info)});
    console.print("\n{}", table.render(console));
    document_["inputs"] = tensors_json(engine_->inputs());
    document_["outputs"] = tensors_json(engine_->outputs());
  }

  void show_costs(Console& console) {
    const ChosenSizes sizes = choose_sizes(*engine_->impl().model.graph, inputs_);
    costs_ = estimate_costs(program(), sizes.symbols);
    const WeightTotals weights = total(list_weights(program()));
    std::string at;
    for (const auto& [symbol, value] : sizes.symbols) at += fmt::format(" {}={}", symbol, value);

    Table ops({{"op"},
               {"steps", Table::Align::right},
               {"FLOPs", Table::Align::right},
               {"%", Table::Align::right},
               {"traffic", Table::Align::right}});
    json op_list = json::array();
    for (const auto& [name, op] : costs_.ops) {
      const double share = costs_.total.flops > 0 ? 100 * op.cost.flops / costs_.total.flops : 0;
      ops.add_row({name, std::to_string(op.count), format_count(op.cost.flops), fmt::format("{:.1f}", share),
                   format_bytes(op.cost.bytes)});
      op_list.push_back({{"op", name}, {"steps", op.count}, {"flops", op.cost.flops}, {"bytes", op.cost.bytes}});
    }
    console.print("\n{} steps after optimisation{}{}\n{}", program().steps.size(), at.empty() ? "" : ", cost with", at,
                  ops.render(console));
    if (costs_.unknown > 0)
      console.print("{} steps have sizes that only a run tells; their cost is not counted\n", costs_.unknown);
    console.print("\nparameters   {} in {}\ncost         {}FLOP and {} of traffic a run\n",
                  format_count(static_cast<double>(weights.parameters)), format_bytes(weights.bytes),
                  format_count(costs_.total.flops) + (costs_.total.flops < 10000 ? " " : ""),
                  format_bytes(costs_.total.bytes));
    show_memory(sizes.inputs, console);
    document_["sizes"] = sizes.inputs;
    document_["symbols"] = sizes.symbols;
    document_["steps"] = program().steps.size();
    document_["ops"] = std::move(op_list);
    document_["parameters"] = weights.parameters;
    document_["weight_bytes"] = weights.bytes;
    document_["flops"] = costs_.total.flops;
    document_["traffic_bytes"] = costs_.total.bytes;
  }

  // Sizes that do not fit together, or that only a run tells, leave the rest of the page as it is.
  void show_memory(const Sizes& sizes, Console& console) {
    try {
      Session session(engine_, {1});
      const Executor::Footprint memory = footprint_of(session, sizes);
      const size_t packed = engine_->impl().weights.owned_bytes();
      console.print("memory       activations {} (without sharing {}), workspace {}, weights packed anew {}\n",
                    format_bytes(static_cast<double>(memory.arena_bytes)),
                    format_bytes(static_cast<double>(memory.activation_bytes)),
                    format_bytes(static_cast<double>(memory.workspace_bytes)),
                    format_bytes(static_cast<double>(packed)));
      document_["memory"] = {{"arena_bytes", memory.arena_bytes},
                             {"activation_bytes", memory.activation_bytes},
                             {"workspace_bytes", memory.workspace_bytes},
                             {"packed_weight_bytes", packed},
                             {"values_of_unknown_size", memory.late_values}};
    } catch (const Error& error) {
      console.print("memory       unknown for these sizes: {}\n", error.what());
      document_["memory"] = {{"error", error.what()}};
    }
  }

  void show_pins(Console& console) {
    // An imported graph still has the nodes that the user knows.
    const auto imported = is_plan() ? nullptr : import_graph(model_);
    const std::vector<PinnedDim> pins = find_pinned_dims(is_plan() ? *engine_->impl().model.graph : *imported);
    json list = json::array();
    if (!pins.empty())
      console.print("\n{}\n", console.paint(Colour::yellow, "dimensions that are declared free but are not:"));
    for (const PinnedDim& pin : pins) {
      console.print("  {} must be {}: node '{}' ({}) {}\n", pin.dim.to_string(), pin.needed(), pin.node, pin.op,
                    pin.why);
      list.push_back({{"dimension", pin.dim.to_string()},
                      {"needed", pin.allowed},
                      {"node", pin.node},
                      {"op", pin.op},
                      {"why", pin.why}});
    }
    document_["pinned_dimensions"] = std::move(list);
  }

  void show_layers(Console& console) {
    Table table({{"#", Table::Align::right},
                 {"value", Table::Align::left, 44},
                 {"op"},
                 {"kernel"},
                 {"type"},
                 {"FLOPs", Table::Align::right}});
    json list = json::array();
    std::string attributes;
    for (size_t i = 0; i < program().steps.size(); ++i) {
      const ProgramStep& step = program().steps[i];
      const Value* value = step.node->outputs().empty() ? nullptr : step.node->output();
      const std::string name = value == nullptr ? step.node->name() : value->name();
      const std::string type = value == nullptr ? "" : to_string(value->type());
      table.add_row({std::to_string(i), name, std::string(op_name(step.node->op())),
                     step.kernel + (step.fallback ? " (fallback)" : ""), type, format_count(costs_.steps[i].flops)});
      json entry = {{"value", name},
                    {"node", step.node->name()},
                    {"op", op_name(step.node->op())},
                    {"kernel", step.kernel},
                    {"fallback", step.fallback},
                    {"type", type},
                    {"flops", costs_.steps[i].flops},
                    {"bytes", costs_.steps[i].bytes}};
      if (!step.reason.empty()) entry["reason"] = step.reason;
      if (attributes_) {
        entry["text"] = print(*step.node, {kShownElements});
        attributes += fmt::format("{:>4}  {}\n", i, print(*step.node, {kShownElements}));
      }
      list.push_back(std::move(entry));
    }
    console.print("\n{}", table.render(console));
    if (attributes_) console.print("\n{}", attributes);
    document_["layers"] = std::move(list);
  }

  void show_weights(Console& console) {
    Table table({{"weight", Table::Align::left, 60}, {"type"}, {"size", Table::Align::right}, {"layout"}});
    json list = json::array();
    for (const WeightFact& weight : list_weights(program())) {
      table.add_row({weight.name, to_string(weight.type), format_bytes(weight.bytes), weight.layout});
      list.push_back({{"name", weight.name},
                      {"type", to_string(weight.type)},
                      {"bytes", weight.bytes},
                      {"layout", weight.layout}});
    }
    console.print("\n{}", table.render(console));
    document_["weights"] = std::move(list);
  }

  std::string model_;
  bool layers_ = false, attributes_ = false, weights_ = false, verify_ = false;
  InputOptions inputs_;
  ModelOptions options_;
  WeightArgs weight_args_;
  std::string kv_dtype_ = "auto";
  std::shared_ptr<const Engine> engine_;
  CostFacts costs_;
  json document_;
};

}  // namespace

std::unique_ptr<Command> make_inspect_command() { return std::make_unique<InspectCommand>(); }

}  // namespace lathe::tools
