// What the importers of ai.onnx.ml share: scores, what is made of them, and the classes that they name.
#pragma once

#include <string>
#include <vector>

#include "onnx/importers/context.h"

namespace lathe::onnx {

// A row of features as a matrix of one row; unsupported() unless the rank is 1 or 2.
Value* rows_of(Context& ctx, size_t input);

// `post_transform` of scores [rows, n]. PROBIT is unsupported().
Value* post_transformed(Context& ctx, Value* scores);

// The columns of a classifier of two classes whose second one has this score [rows, 1], which is its probability or
// else lies around 0, through `post_transform`; and before that, for the choice of the label.
Value* two_columns(Context& ctx, Value* score, bool is_probability);
Value* two_scores(Context& ctx, Value* score, bool is_probability);

// The class labels of a classifier, i64 or strings, under either attribute.
Tensor class_labels(Context& ctx, std::string_view integers, std::string_view strings);

// The labels of the largest scores of each row.
Value* best_labels(Context& ctx, const Tensor& labels, Value* scores);

// An attribute of one number for each column, f32 [n].
Value* float_list(Context& ctx, std::string_view name);

Tensor strings_tensor(std::vector<std::string> strings);     // [n]
Tensor integers_tensor(const std::vector<int64_t>& values);  // [n]

}  // namespace lathe::onnx
