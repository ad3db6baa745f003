// Language models from C++: open a checkpoint folder or an ONNX decoder, submit requests, take their tokens as they
// come.
//
//   auto engine = lathe::llm::Engine::open("models/poem-bloom");
//   lathe::llm::Request request;
//   request.prompt = engine->encode("《春望》杜甫\n");
//   request.max_tokens = 64;
//   lathe::llm::Generation generation = engine->submit(std::move(request));
//   while (auto token = generation.next()) std::cout << token->text;
//
// One engine serves any number of requests at once, from any threads: each step of the model takes some tokens of each
// of them (a piece of a long prompt, one token of an answer), up to a budget. What a request computes and draws does
// not depend on what else is being served, up to rounding: kernels for few rows and for many may differ in the last
// bits, unless EngineOptions::deterministic. Keys and values live in blocks of a pool; requests whose prompts begin
// alike share blocks. When the pool runs out, the youngest request gives its blocks back and goes on later,
// which nobody sees but the clock.
//
// Every failure is a lathe::Error.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lathe/dtype.h"
#include "lathe/error.h"

namespace lathe::llm {

struct EngineOptions {
  std::string device = "cpu";  // "cpu", "cuda", "cuda:1"
  std::string isa;             // of CPU kernels; empty: the best there is
  std::string kernel_cache;    // as in lathe::EngineOptions
  std::string tokenizer;       // a file or folder; empty: what lies with the model
  int threads = 0;             // 0: one per physical core
  std::optional<DType> dtype;  // f32, f16 or bf16; none: f32 on CPUs, 16 bits on GPUs
  // Of cached keys and values: f32, f16, bf16, or quantised as they come, each head of a token with a scale of its own:
  // i8, f8e4m3. None: f32 on CPUs, as dtype on GPUs.
  std::optional<DType> kv_dtype;
  // Bytes that weights, keys and values and what a step works in may take on a GPU; 0: all that is free. Weights that
  // do not fit stay on the host, and come over while other layers are computed, in every step.
  int64_t gpu_memory = 0;
  // Weights of products are rounded while they are loaded: to 8 bits, or to 4 with 8 for the output matrix; 0: they
  // stay as they are stored, whoever rounded them.
  int weight_bits = 0;
  int64_t weight_group = 0;  // columns that share a scale; 0: 128 of 4 bits, all of a row of 8
  // Whether such products round activations to 8 bits, too, which is faster; none: where weight_bits is given. Weights
  // that others rounded are multiplied with exact activations then.
  std::optional<bool> round_activations;
  int64_t context = 0;      // tokens of the longest sequence; 0: what the model was made for, as far as it fits
  int64_t block_size = 16;  // tokens of a block
  // Bytes of host memory for the keys and values of requests that give their blocks back when the pool runs out; 0:
  // they are computed again.
  int64_t swap_memory = 0;
  int64_t blocks = 0;          // of the pool; 0: as many as memory and max_sequences make sensible
  int64_t step_tokens = 512;   // budget of a step; longer prompts take several
  int64_t max_sequences = 64;  // in a step
  // Logits do not depend, in any bit, on what else is served, how prompts are cut into steps, and what was preempted or
  // found in the cache. Slower: kernels that are best for some sizes only are left out.
  bool deterministic = false;
  bool prefix_cache = true;  // keep blocks of ended requests for prompts that begin like them
};

struct SamplingOptions {
  double temperature = 1;  // 0: the likeliest token
  int64_t top_k = 0;       // 0: no limit
  double top_p = 1;
  double min_p = 0;
  double typical_p = 1;
  double repetition_penalty = 1;  // divides positive logits of tokens seen in prompt and answer, multiplies negative
  double presence_penalty = 0;    // subtracted once from logits of tokens seen in the answer
  double frequency_penalty = 0;   // and for each time
  std::vector<std::pair<int32_t, float>> logit_bias;
  uint64_t seed = 0;
  int logprobs = -1;  // 0: tokens come with their logprob, which costs some time; N: the N likeliest as well
};

// Beam search as Hugging Face's `generate` defines it.
struct BeamOptions {
  enum class Stop {
    heuristic,  // when no running beam can beat the worst finished one at its present length
    first,      // as soon as there are `beams` finished ones
    never,      // only when none can ever beat them
  };
  int beams = 1;  // above 1: beam search; the best Request::n of them are the choices
  double length_penalty = 1;
  Stop stop = Stop::heuristic;
};

// How the folder's generation_config.json would have answers chosen, or, without one, its config.json.
struct Recommendation {
  SamplingOptions sampling;  // of an encoder-decoder, the likeliest token where nothing says that it samples
  BeamOptions beam;
  int n = 1;
  std::optional<int64_t> max_tokens;  // of an answer
  std::vector<std::string> ignored;   // settings that change answers elsewhere, and that Lathe does not have
};

struct TokenLogprob {
  int32_t id = 0;
  float logprob = 0;
};

struct Token {
  int choice = 0;
  int32_t id = 0;
  float logprob = 0;              // of the model's own distribution, before penalties and cuts; where it is wanted
  std::vector<TokenLogprob> top;  // SamplingOptions::logprobs of them, likeliest first
  std::string text;               // that became certain with this token: never half a character, nor half a stop string
};

enum class FinishReason { stop, length, cancelled, error };
std::string_view to_string(FinishReason reason);

struct Choice {
  std::vector<Token> tokens;  // those that end the text included
  std::string text;           // without special tokens, and without the stop string that ended it
  FinishReason finish = FinishReason::length;
  double score = 0;  // sum of the logprobs, where they are wanted; of a beam, divided by length^length_penalty

  std::vector<int32_t> ids() const;
};

struct Timing {
  double queued_ms = 0;       // from submit to the first step
  double prefill_ms = 0;      // from there to the first token
  double decode_ms = 0;       // from there to the last
  int64_t cached_tokens = 0;  // of the prompt, found in the prefix cache
};

struct Result {
  std::vector<Choice> choices;
  Timing timing;
};

struct Request {
  std::vector<int32_t> prompt;  // of an encoder-decoder: what its encoder reads
  // What an encoder that hears reads instead: a spectrogram [ModelFacts::mel_bins, ModelFacts::frames].
  std::vector<float> features;
  // What the decoder of an encoder-decoder begins with; empty: what generation_config.json says.
  std::vector<int32_t> answer_start;
  int64_t max_tokens = 256;  // fewer where the context ends
  // Answers have at least so many tokens before one that ends them, and do not hold so many tokens in a row twice (0:
  // as often as they like), prompts included; none: as generation_config.json says.
  std::optional<int64_t> min_tokens, no_repeat_ngram;
  int n = 1;  // choices, sampled independently
  SamplingOptions sampling;
  BeamOptions beam;
  bool ignore_eos = false;
  std::vector<int32_t> stop_tokens;  // besides the model's own
  std::vector<std::string> stop;     // strings that end the text
  std::string cache_salt;            // prompts share blocks only where their salts are equal

  // Called on the engine's thread, in order; they must be quick and may not call the engine but for cancel().
  std::function<void(const Token&)> on_token;
  // The logits that follow each token of the prompt; with it the whole prompt is computed, cached or not. Of an
  // encoder-decoder: those that follow each token that its decoder is given, the start and the answer of choice 0.
  std::function<void(int64_t position, std::span<const float> logits)> on_prompt_logits;
};

class Scheduled;  // a request inside the engine

// A request under way. Copies stand for the same request; when the last is gone, an unfinished request is cancelled.
class Generation {
 public:
  explicit Generation(std::shared_ptr<Scheduled> request);

  // Waits for the next token of any choice; nullopt once all have ended. Throws what ended the request early, if it was
  // an error. Beam search gives its tokens at the end.
  std::optional<Token> next();
  // Waits at most so long; true when next() would not wait.
  bool ready(std::chrono::milliseconds timeout) const;
  // As soon as the step under way is done, no more tokens come and its blocks are free.
  void cancel();
  bool done() const;
  // Waits for the end. Throws as next() does.
  const Result& wait();

 private:
  struct Handle;
  std::shared_ptr<Handle> handle_;
};

struct ModelFacts {
  std::string family;  // "llama"
  int64_t vocabulary = 0;
  int64_t context = 0;  // tokens of the longest sequence
  int64_t blocks = 0;
  int64_t block_size = 0;
  std::vector<int32_t> eos;
  std::vector<int32_t> prompt_end;  // what prompts have to end with, as the tokenizer has it; mostly nothing
  std::string note;                 // what makes this model slower than it need be, for people; mostly empty
  // Of an encoder-decoder, whose context is that of its decoder alone; else 0.
  int64_t source_context = 0;        // tokens of the longest source
  int64_t source_vocabulary = 0;     // of its tokens
  int64_t source_blocks = 0;         // of the pool for sources
  int64_t mel_bins = 0, frames = 0;  // of a spectrogram, where the encoder hears
};

// Where the time of an engine's steps went, all of them together.
struct StepTimes {
  int64_t steps = 0;
  double model_ms = 0;  // in which the model computed
  double host_ms = 0;   // the rest: what to compute is decided, tokens are chosen and handed out
};

struct ChatMessage {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

class Engine {
 public:
  // A folder with config.json, weights and a tokenizer, as trainers leave it; or a decoder in ONNX: a file, or a folder
  // as optimum or the generation builder of ONNX Runtime writes it. Throws Error(not_found, invalid_model,
  // unsupported, out_of_memory).
  static std::unique_ptr<Engine> open(const std::string& folder, const EngineOptions& options = {});
  ~Engine();

  // Returns at once. Throws Error(invalid_argument) for a request that can never be served: an empty prompt, one that
  // does not fit the context, more blocks than there are, options out of range.
  Generation submit(Request request);

  const ModelFacts& facts() const;
  StepTimes step_times() const;
  const Recommendation& recommended() const;
  // Whether the folder has a tokenizer. Without one, tokens have no text and what follows throws Error(not_found).
  bool has_text() const;
  // With the special tokens that the model expects around a prompt.
  std::vector<int32_t> encode(std::string_view text) const;
  // The prompt for the next answer in a conversation, by the model's chat template or, where it has none, the one that
  // its family documents.
  std::vector<int32_t> encode_chat(std::span<const ChatMessage> messages) const;
  // Stop strings for such answers, of models whose turns no token ends.
  const std::vector<std::string>& chat_stops() const;
  std::string decode(std::span<const int32_t> ids) const;

  struct Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  Impl& impl() const { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace lathe::llm
