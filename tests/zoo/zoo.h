// Model folders with reference outputs, for whole-model tests: zoo.json, and per model model.onnx and case_*.npz with
// arrays "in:NAME" and "out:NAME".
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "graph/tensor.h"

namespace lathe::zoo {

struct Model {
  std::string name;
  std::filesystem::path folder;
  double atol = 0;
  double rtol = 0;
  std::vector<std::string> cases;  // file names

  std::filesystem::path file() const { return folder / "model.onnx"; }
};

// The models of `folder`, in the order of its zoo.json; those that are listed but have no folder are left out.
std::vector<Model> list_models(const std::filesystem::path& folder);

// The models of tests/data/zoo, or of the folder that LATHE_ZOO names.
std::vector<Model> bundled_models();
// A test's name made of the model's.
std::string test_name(const Model& model);

// One case: arrays of `kind` "in" or "out" in the order of `names`.
std::vector<Tensor> read_case(const Model& model, const std::string& file, const std::string& kind,
                              const std::vector<std::string>& names);

// "" when the tensors agree: type and shape exactly, floats within |x - y| <= atol + rtol * |y|, the rest exactly;
// otherwise one sentence that names the worst element.
std::string difference(const Tensor& actual, const Tensor& expected, double atol, double rtol);

}  // namespace lathe::zoo
