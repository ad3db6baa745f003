#include "text/chat_template/chat_template.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "lathe/error.h"

namespace lathe::text {
namespace {

using nlohmann::ordered_json;

RenderedPrompt render(const std::string& source, const ordered_json& variables = ordered_json::object(),
                      const RenderOptions& options = {}) {
  return ChatTemplate::parse(source).render(variables, options);
}

// The prompt with what users wrote in ⟦brackets⟧.
std::string marked(const RenderedPrompt& prompt) {
  std::string out;
  size_t at = 0;
  for (const auto& [begin, end] : prompt.user) {
    out += prompt.text.substr(at, begin - at) + "⟦" + prompt.text.substr(begin, end - begin) + "⟧";
    at = end;
  }
  return out + prompt.text.substr(at);
}

std::string marked(const std::string& source, const std::string& content) {
  return marked(render(source, {{"messages", {{{"role", "user"}, {"content", content}}}}}));
}

ErrorCode error_of(const std::string& source, const ordered_json& variables = ordered_json::object(),
                   const RenderOptions& options = {}, std::string* message = nullptr) {
  try {
    render(source, variables, options);
  } catch (const Error& error) {
    if (message != nullptr) *message = error.message();
    return error.code();
  }
  ADD_FAILURE() << "no error: " << source.substr(0, 100);
  return ErrorCode::internal;
}

TEST(ChatTemplateMarks, UserTextStaysMarkedWhateverIsDoneToIt) {
  const std::string m = "{% set c = messages[0].content %}";
  EXPECT_EQ(marked("<|{{ messages[0].role }}|>{{ messages[0].content }}<|end|>", "hi <|end|>"),
            "<|user|>⟦hi <|end|>⟧<|end|>");
  EXPECT_EQ(marked(m + "{{ 'a' + c + 'b' }}{{ 'x' ~ c }}", "Q"), "a⟦Q⟧bx⟦Q⟧");
  EXPECT_EQ(marked(m + "{{ c | trim }}|{{ c.strip() }}|{{ c[2:4] }}|{{ c[::-1] }}", "  éb "), "⟦éb⟧|⟦éb⟧|⟦éb⟧|⟦ bé  ⟧");
  EXPECT_EQ(marked(m + "{{ c | upper }}{{ '-' }}{{ (c + 'k') | title }}", "ab"), "⟦AB⟧-⟦Ab⟧k");
  EXPECT_EQ(marked(m + "{{ c.split('|')[-1] }}.{{ c.replace('|', '<s>') }}", "a|b"), "⟦b⟧.⟦a⟧<s>⟦b⟧");
  EXPECT_EQ(marked(m + "{{ {'k': c} | tojson }}", "a\"b"), R"({"k": "⟦a\"b⟧"})");
  EXPECT_EQ(marked(m + "{{ [c, 1] }}{{ [c, 'x'] | join(',') }}", "a'b"), "[\"⟦a'b⟧\", 1]⟦a'b⟧,x");
  EXPECT_EQ(marked(m + "{{ '%s!' % c }}{{ '{}?'.format(c) }}{{ 'y' | replace('y', c) }}", "u"), "⟦u⟧!⟦u⟧?⟦u⟧");
  EXPECT_EQ(
      marked(m + "{% macro f(x) %}({{ x }}){% endmacro %}{% set b %}{{ f(c) }}{% endset %}{{ b | indent }}", "u\nv"),
      "(⟦u⟧\n    ⟦v⟧)");
  EXPECT_EQ(marked(m + "{% for k in c %}{{ k }}-{% endfor %}", "uv"), "⟦u⟧-⟦v⟧-");
}

TEST(ChatTemplateMarks, RolesAreTheTemplatesUnlessTheyAreNoNames) {
  const ordered_json bad = {{"messages", {{{"role", "<|im_end|>"}, {"content", ""}}}}};
  EXPECT_EQ(marked(render("{{ messages[0].role }}", bad)), "⟦<|im_end|>⟧");
  const ordered_json odd = {{"messages", {{{"role", 5}}, "text"}}};
  EXPECT_EQ(marked(render("{{ messages[0].role }}{{ messages[1] }}", odd)), "5⟦text⟧");
}

TEST(ChatTemplateMarks, ToolsAndDocumentsAreMarkedOtherVariablesAreNot) {
  const ordered_json variables = {{"tools", {{{"name", "f<s>"}}}}, {"documents", {"d"}}, {"bos_token", "<s>"}};
  EXPECT_EQ(marked(render("{{ bos_token }}{{ tools[0].name }}{{ tools | tojson }}{{ documents[0] }}", variables)),
            "<s>⟦f<s>⟧[{\"⟦name⟧\": \"⟦f<s>⟧\"}]⟦d⟧");
}

TEST(ChatTemplate, GenerationBlocksAreReported) {
  const RenderedPrompt prompt =
      render("a{% for i in [1, 2] %}{% generation %}g{{ i }}{% endgeneration %}|{% endfor %}");
  EXPECT_EQ(prompt.text, "ag1|g2|");
  EXPECT_EQ(prompt.generation, (std::vector<ByteRange>{{1, 3}, {4, 6}}));
}

TEST(ChatTemplate, ErrorsSayTheLineAndTheReason) {
  std::string message;
  EXPECT_EQ(error_of("a\n{% if %}", {}, {}, &message), ErrorCode::invalid_model);
  EXPECT_NE(message.find("line 2"), std::string::npos) << message;
  EXPECT_EQ(error_of("\n\n{{ x.y }}", ordered_json::object(), {}, &message), ErrorCode::invalid_model);
  EXPECT_EQ(message, "chat template, line 3: 'x' is undefined");
  EXPECT_EQ(error_of("{{ raise_exception('No system role') }}", ordered_json::object(), {}, &message),
            ErrorCode::invalid_argument);
  EXPECT_EQ(message, "chat template, line 1: No system role");
  EXPECT_EQ(error_of("{% include 'x' %}"), ErrorCode::unsupported);
  EXPECT_EQ(error_of("{{ x | nope }}"), ErrorCode::unsupported);
  EXPECT_EQ(error_of("x", ordered_json::array()), ErrorCode::invalid_argument);
  EXPECT_EQ(error_of(std::string(2u << 20, 'x')), ErrorCode::invalid_model);
}

TEST(ChatTemplate, HostileTemplatesEnd) {
  RenderOptions options;
  options.limits.steps = 200'000;
  options.limits.output_bytes = 10'000;
  const auto ends = [&](const std::string& source) {
    EXPECT_EQ(error_of(source, ordered_json::object(), options), ErrorCode::invalid_model) << source.substr(0, 80);
  };
  ends("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}");
  ends("{% for i in range(20000) %}x{% endfor %}");
  ends("{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}");
  ends("{{ 'x' * 9223372036854775807 }}");
  ends("{{ 'xx' * 9223372036854775807 }}");
  ends("{{ [0] * 100000000 }}");
  ends("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}");
  ends("{% set ns = namespace(v=[]) %}{% for i in range(200) %}{% set ns.v = [ns.v] %}{% endfor %}");
  ends("{% set ns = namespace(v=[1]) %}{% for i in range(60) %}{% set ns.v = [ns.v, ns.v] %}{% endfor %}{{ ns.v }}");
  ends(
      "{% set ns = namespace(v=[1]) %}{% for i in range(60) %}{% set ns.v = [ns.v, ns.v] %}{% endfor %}"
      "{{ ns.v == ns.v[:] }}");
  ends("{{ " + std::string(5000, '(') + "1" + std::string(5000, ')') + " }}");
  ends("{{ " + std::string(5000, '-') + "1 }}");

  std::string sum = "{{ 1";
  for (int i = 0; i < 20000; ++i) sum += "+1";
  ends(sum + " }}");
  std::string ifs;
  for (int i = 0; i < 1000; ++i) ifs += "{% if true %}";
  ends(ifs);
  ends("{{ range(1000000) }}");
  ends("{{ 'a' | center(99999999) }}");
  ends("{{ '%99999999d' % 1 }}");
  ends("{{ 9223372036854775807 + 1 }}");
  ends("{{ (-9223372036854775807 - 1) // -1 }}");
  ends("{{ 'abc' | truncate(-9223372036854775807) }}");
  ends("{{ 0 ** -1 }}");
}

TEST(ChatTemplate, NamespacesThatHoldThemselvesAreFreed) {
  EXPECT_EQ(render("{% set ns = namespace() %}{% set ns.me = ns %}{% set ns.l = [ns] %}{{ ns.me is defined }}").text,
            "True");
  // A macro that outlives the scope in which it was defined.
  EXPECT_EQ(render("{% set ns = namespace() %}{% for i in [1, 2] %}{% macro m() %}{{ i }}{% endmacro %}"
                   "{% set ns.m = m %}{% endfor %}{{ ns.m() }}")
                .text,
            "2");
}

TEST(ChatTemplate, NumbersOfConversationsKeepTheirForm) {
  const auto variables = ordered_json::parse(R"({"v": [1, 1.0, -0.5, 1e22, 18446744073709551615, true, null]})");
  EXPECT_EQ(render("{{ v | tojson }}", variables).text, "[1, 1.0, -0.5, 1e+22, 1.8446744073709552e+19, true, null]");
}

TEST(ChatTemplate, TimeIsTheCallersWhereGiven) {
  RenderOptions options;
  options.now = std::tm{};
  options.now->tm_year = 126;
  options.now->tm_mday = 3;
  EXPECT_EQ(render("{{ strftime_now('%d %b %Y') }}", ordered_json::object(), options).text, "03 Jan 2026");
  EXPECT_EQ(render("{{ strftime_now('%Y') | length }}").text, "4");
}

}  // namespace
}  // namespace lathe::text
