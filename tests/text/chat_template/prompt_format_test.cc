#include "text/chat_template/prompt_format.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "lathe/error.h"

namespace lathe::text {
namespace {

using nlohmann::ordered_json;

// A folder of its own for each test, which may write files into it.
class PromptFormatTest : public testing::Test {
 protected:
  void SetUp() override { use_folder("model"); }
  void TearDown() override { std::filesystem::remove_all(root()); }

  static std::filesystem::path root() {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    return std::filesystem::path(testing::TempDir()) / ("prompt_format_" + std::string(info->name()));
  }
  void use_folder(const std::string& name) { std::filesystem::create_directories(folder_ = root() / name); }
  void write(const std::string& name, const std::string& text) { std::ofstream(folder_ / name) << text; }
  PromptFormat load() const { return PromptFormat::load(folder_); }

  std::filesystem::path folder_;
};

ordered_json turns(std::initializer_list<std::pair<const char*, const char*>> messages) {
  ordered_json out = {{"messages", ordered_json::array()}, {"add_generation_prompt", true}};
  for (const auto& [role, content] : messages) out["messages"].push_back({{"role", role}, {"content", content}});
  return out;
}

const ordered_json kOneTurn = turns({{"user", "Q"}});
const ordered_json kTwoTurns = turns({{"user", "Q1"}, {"assistant", "A1"}, {"user", "Q2"}});

TEST_F(PromptFormatTest, ReadsTheTemplateAndSpecialTokensOfTheTokenizer) {
  write("tokenizer_config.json",
        R"({"chat_template": "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}{{ pad_token is defined }}",
            "bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "</s>", "pad_token": null})");
  const PromptFormat format = load();
  EXPECT_EQ(format.render(kOneTurn).text, "<s>Q</s>False");
  EXPECT_EQ(format.source(), "the chat template of tokenizer_config.json");
  EXPECT_TRUE(format.has_special_tokens());
  EXPECT_FALSE(format.is_plain());
}

TEST_F(PromptFormatTest, TokensOfTheMapFillGapsAndConversationsWin) {
  write("tokenizer_config.json", R"({"chat_template": "{{ bos_token }}{{ eos_token }}{{ x }}", "eos_token": "E"})");
  write("special_tokens_map.json", R"({"bos_token": "B", "eos_token": "other"})");
  ordered_json conversation = kOneTurn;
  conversation["x"] = 1;
  EXPECT_EQ(load().render(conversation).text, "BE1");
  conversation["eos_token"] = "mine";
  EXPECT_EQ(load().render(conversation).text, "Bmine1");
}

TEST_F(PromptFormatTest, NamedTemplatesServeToolsApart) {
  write("tokenizer_config.json", R"({"chat_template": [{"name": "tool_use", "template": "tools"},
                                                       {"name": "default", "template": "plain"}]})");
  ordered_json conversation = kOneTurn;
  EXPECT_EQ(load().render(conversation).text, "plain");
  conversation["tools"] = ordered_json::array();
  EXPECT_EQ(load().render(conversation).text, "plain");
  conversation["tools"].push_back({{"name", "f"}});
  EXPECT_EQ(load().render(conversation).text, "tools");
}

TEST_F(PromptFormatTest, OtherFilesHoldTemplatesToo) {
  write("chat_template.json", R"({"chat_template": "from json"})");
  EXPECT_EQ(load().render(kOneTurn).text, "from json");
  write("tokenizer_config.json", R"({"chat_template": "from settings"})");
  EXPECT_EQ(load().render(kOneTurn).text, "from settings");
  write("chat_template.jinja", "from jinja");
  EXPECT_EQ(load().render(kOneTurn).text, "from jinja");
  EXPECT_EQ(load().source(), "the chat template of chat_template.jinja");
}

TEST_F(PromptFormatTest, MalformedFilesAreNamed) {
  const auto expect_error = [&](const std::string& file, const std::string& part) {
    try {
      load();
      FAIL() << "no error for " << file;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_model);
      EXPECT_NE(std::string(error.what()).find(file), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  };
  write("chat_template.jinja", "\n{% if x %}");
  expect_error("chat_template.jinja", "line 2");
  std::filesystem::remove(folder_ / "chat_template.jinja");
  write("tokenizer_config.json", R"({"chat_template": [{"name": "default"}]})");
  expect_error("tokenizer_config.json", "pairs");
  write("tokenizer_config.json", "[]");
  expect_error("tokenizer_config.json", "JSON object");
}

TEST_F(PromptFormatTest, FoldersWithNothingAreContinued) {
  write("config.json", R"({"model_type": "bloom"})");
  const PromptFormat format = load();
  EXPECT_TRUE(format.is_plain());
  EXPECT_FALSE(format.has_special_tokens());
  const RenderedPrompt prompt = format.render(turns({{"user", "Once upon <s>"}}));
  EXPECT_EQ(prompt.text, "Once upon <s>");
  EXPECT_EQ(prompt.user, (std::vector<ByteRange>{{0, 13}}));
}

TEST_F(PromptFormatTest, TigerBot) {
  use_folder("TigerBot-7b-sft");
  write("config.json", R"({"model_type": "bloom"})");
  const PromptFormat format = load();
  EXPECT_EQ(format.source(), "the documented prompt of TigerBot");
  EXPECT_EQ(format.render(kOneTurn).text, "\n\n### Instruction:\nQ\n\n### Response:\n");
  EXPECT_EQ(format.render(kTwoTurns).text,
            "\n\n### Instruction:\nQ1\n\n### Response:\nA1\n\n### Instruction:\nQ2\n\n### Response:\n");
  EXPECT_EQ(format.stop_strings(), std::vector<std::string>{"\n\n### Instruction:"});
}

TEST_F(PromptFormatTest, TigerBotIsKnownByTheNameItCameFrom) {
  write("config.json", R"({"model_type": "llama", "_name_or_path": "TigerResearch/tigerbot-13b-chat"})");
  EXPECT_EQ(load().source(), "the documented prompt of TigerBot");
}

TEST_F(PromptFormatTest, ChatGlm6b) {
  write("config.json", R"({"model_type": "chatglm", "position_encoding_2d": true})");
  EXPECT_EQ(load().render(kOneTurn).text, "Q");  // without history, its own code asks just so
  EXPECT_EQ(load().render(kTwoTurns).text, "[Round 0]\n问：Q1\n答：A1\n[Round 1]\n问：Q2\n答：");
  EXPECT_EQ(load().render(turns({{"system", "S"}, {"user", "Q"}})).text, "S\nQ");
}

TEST_F(PromptFormatTest, ChatGlm2And3) {
  write("config.json", R"({"model_type": "chatglm", "padded_vocab_size": 65024})");
  EXPECT_EQ(load().render(kOneTurn).text, "[Round 1]\n\n问：Q\n\n答：");
  EXPECT_EQ(load().render(kTwoTurns).text, "[Round 1]\n\n问：Q1\n\n答：A1\n\n[Round 2]\n\n问：Q2\n\n答：");
  write("config.json",
        R"({"model_type": "chatglm", "padded_vocab_size": 65024, "_name_or_path": "THUDM/chatglm3-6b"})");
  EXPECT_EQ(load().render(kTwoTurns).text, "<|user|>\n Q1<|assistant|>\n A1<|user|>\n Q2<|assistant|>");
}

TEST_F(PromptFormatTest, Baichuan) {
  write("config.json", R"({"model_type": "baichuan", "vocab_size": 125696})");
  EXPECT_TRUE(load().is_plain());  // a base model
  write("generation_config.json", R"({"user_token_id": 195, "assistant_token_id": 196})");
  EXPECT_EQ(load().render(kTwoTurns).text, "<reserved_106>Q1<reserved_107>A1<reserved_106>Q2<reserved_107>");
  write("config.json", R"({"model_type": "baichuan", "vocab_size": 64000})");
  write("tokenizer_config.json", R"({"eos_token": "</s>"})");
  EXPECT_EQ(load().render(kTwoTurns).text, "<reserved_102>Q1<reserved_103>A1</s><reserved_102>Q2<reserved_103>");
}

TEST_F(PromptFormatTest, Llama2Chat) {
  use_folder("Llama-2-7b-chat-hf");
  write("config.json", R"({"model_type": "llama"})");
  EXPECT_EQ(load().render(turns({{"system", "S"}, {"user", "Q1"}, {"assistant", "A1"}, {"user", " Q2 "}})).text,
            "[INST] <<SYS>>\nS\n<</SYS>>\n\nQ1 [/INST] A1 </s><s>[INST] Q2 [/INST]");
}

}  // namespace
}  // namespace lathe::text
