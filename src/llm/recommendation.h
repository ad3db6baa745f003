// How a model's files would have its answers chosen, for an engine and for those who ask before they open one.
#pragma once

#include <filesystem>
#include <string_view>

#include "lathe/llm.h"

namespace lathe::llm {

// Of the texts of the two files, either may be empty. As in Transformers, generation_config.json alone counts where it
// is there. has_encoder: who translates or summarises wants the likeliest answer unless the file says otherwise; of
// other models that do not say whether to sample, the numbers still tell how.
Recommendation read_recommendation(std::string_view config, std::string_view generation_config, bool has_encoder);

// Of what Engine::open() takes. Throws what that throws for paths without a model.
Recommendation recommendation_of(const std::filesystem::path& model);

}  // namespace lathe::llm
