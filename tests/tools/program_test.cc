#include "tools/program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace lathe::tools {
namespace {

using testing::HasSubstr;

struct Result {
  int status;
  std::string out, err;
};

std::string content(std::FILE* file) {
  std::string text(static_cast<size_t>(std::ftell(file)), '\0');
  std::rewind(file);
  text.resize(std::fread(text.data(), 1, text.size(), file));
  return text;
}

Result lathe(const std::vector<std::string>& arguments) {
  std::FILE *out = std::tmpfile(), *err = std::tmpfile();
  Console console(out, err, true);
  const int status = run_program(arguments, console);
  Result result{status, content(out), content(err)};
  std::fclose(out);
  std::fclose(err);
  return result;
}

TEST(Program, HelpNamesEveryCommand) {
  const Result help = lathe({"--help"});
  EXPECT_EQ(help.status, kExitOk);
  for (const auto& command : make_commands()) {
    EXPECT_THAT(help.out, HasSubstr(std::string(command->info().name)));
    const Result page = lathe({std::string(command->info().name), "--help"});
    EXPECT_EQ(page.status, kExitOk);
    EXPECT_THAT(page.out, HasSubstr("Usage: lathe " + std::string(command->info().name)));
    EXPECT_THAT(page.out, HasSubstr("Examples:"));
    EXPECT_THAT(page.out, HasSubstr("--json"));
    EXPECT_EQ(page.err, "");
  }
  EXPECT_EQ(lathe({}).out, help.out);
  EXPECT_EQ(lathe({"help"}).out, help.out);
  EXPECT_EQ(lathe({"help", "run"}).out, lathe({"run", "--help"}).out);
}

TEST(Program, LinesOfHelpAreNotTooLong) {
  for (const auto& command : make_commands()) {
    std::istringstream page(lathe({std::string(command->info().name), "--help"}).out);
    for (std::string line; std::getline(page, line);) {
      if (line.starts_with("  lathe ") || line.starts_with("Usage")) continue;
      EXPECT_LE(line.size(), 110u) << line;
    }
  }
}

TEST(Program, DidYouMean) {
  const Result command = lathe({"biuld", "x.onnx"});
  EXPECT_EQ(command.status, kExitBadInput);
  EXPECT_THAT(command.err, HasSubstr("lathe: error: unknown command 'biuld'"));
  EXPECT_THAT(command.err, HasSubstr("Did you mean 'build'?"));
  EXPECT_EQ(command.out, "");
  const Result option = lathe({"run", "x.onnx", "--shap", "a:1"});
  EXPECT_EQ(option.status, kExitBadInput);
  EXPECT_THAT(option.err, HasSubstr("Did you mean '--shape'?"));
  EXPECT_THAT(lathe({"frobnicate"}).err, HasSubstr("--help"));
}

TEST(Program, ErrorsAreOneLine) {
  for (const auto& arguments :
       std::vector<std::vector<std::string>>{{"run"},
                                             {"run", "/no/such/model.onnx"},
                                             {"run", "x", "--threads", "0"},
                                             {"run", "x", "--device", "abacus"},
                                             {"bench", "x", "--iterations", "1", "--duration", "1"},
                                             {"completion", "tcsh"},
                                             {"inspect"}}) {
    const Result result = lathe(arguments);
    EXPECT_EQ(result.status, kExitBadInput) << arguments.front();
    EXPECT_EQ(result.out, "");
    EXPECT_THAT(result.err, testing::StartsWith("lathe: error: "));
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  }
}

TEST(Program, VersionAsTextAndJson) {
  EXPECT_THAT(lathe({"--version"}).out, HasSubstr("commit"));
  const auto json = nlohmann::json::parse(lathe({"--version", "--json"}).out);
  EXPECT_TRUE(json.contains("isas"));
  EXPECT_TRUE(json["machine"].contains("isa"));
}

TEST(Program, CompletionKnowsCommandsAndOptions) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const Result result = lathe({"completion", shell});
    EXPECT_EQ(result.status, kExitOk);
    EXPECT_THAT(result.out, HasSubstr("inspect"));
    EXPECT_THAT(result.out, HasSubstr(std::string(shell) == "fish" ? "-l profile" : "--profile"));
  }
}

TEST(Program, OptionsMayComeBeforeArguments) {
  // The file is missed, so the rest was understood.
  EXPECT_THAT(lathe({"run", "--shape", "a:1", "--shape", "b:2", "/no/such.onnx"}).err, HasSubstr("/no/such.onnx"));
}

}  // namespace
}  // namespace lathe::tools
