#include "backends/cuda/lower/gemm_row.h"

#include <algorithm>

#include "graph/constant.h"
#include "graph/epilogue.h"

namespace lathe::cuda {
namespace {

// As in the kernel.
constexpr int64_t kWarps = 8, kThreads = kWarps * 32, kTile = 16, kPack = 8;

constexpr int64_t kBlocks = 2;                     // for each multiprocessor
constexpr int64_t kRingBytes = int64_t{64} << 10;  // of weights on their way to a block
constexpr int kEndless = 30;                       // log2 of more steps than a row can have
constexpr int64_t kMaxTerms = 16384, kMinColumns = 512, kMaxNormChunks = 4;

bool is_product(const Node& node) { return node.is<MatMul>() || node.is<MatMulNBits>(); }

bool reads_as_row(const Node& product, const Value& row) {
  if (!is_product(product) || product.input(0) != &row) return false;
  return std::count(product.inputs().begin(), product.inputs().end(), &row) == 1;
}

}  // namespace

std::optional<RowNorm> row_norm(const Node& node) {
  const auto* norm = node.as<lathe::Norm>();
  if (norm == nullptr || norm->num_x != 1 || !norm->prologue.empty()) return std::nullopt;
  const Value& output = *node.output();
  const Shape& shape = output.shape();
  if (!is_half(output.dtype()) || node.input(0)->dtype() != output.dtype()) return std::nullopt;
  if (norm->axis + 1 != static_cast<int64_t>(shape.size()) || !shape.back().is_constant()) return std::nullopt;
  const int64_t width = shape.back().value();
  if (width % kPack != 0 || ceil_div(width, kThreads * kPack) > kMaxNormChunks) return std::nullopt;
  for (size_t i = 1; i < node.outputs().size(); ++i)
    if (!node.output(i)->is_unused()) return std::nullopt;
  const auto users = output.users();
  if (std::none_of(users.begin(), users.end(), [&](const Node* user) { return reads_as_row(*user, output); }))
    return std::nullopt;
  RowNorm row{norm, {}, {}};
  for (const size_t i : {size_t{1}, size_t{2}}) {
    const Value* factor = node.input(i);
    if (factor == nullptr) continue;
    if (!is_constant(factor) || factor->shape() != Shape{shape.back()} || cuda_type(factor->dtype()).empty())
      return std::nullopt;
    (i == 1 ? row.scale : row.bias) = factor->dtype();
  }
  return row;
}

RowNeighbours row_neighbours(const Node& product, size_t first_extra) {
  RowNeighbours found;
  const Value& row = *product.input(0);
  if (row.producer() != nullptr) found.norm = row_norm(*row.producer());
  for (const Node* user : row.users())
    found.others |= user != &product && reads_as_row(*user, row) && user->op().index() == product.op().index();
  for (size_t i = first_extra; i < product.inputs().size() && found.partner == 0; ++i) {
    const Value& extra = *product.input(i);
    const Node* maker = extra.producer();
    if (maker == nullptr || maker->op().index() != product.op().index() || !reads_as_row(*maker, row)) continue;
    if (!epilogue_of(maker->op())->empty() || extra.users().size() != 1 || extra.is_output()) continue;
    if (extra.shape() != product.output()->shape() || extra.dtype() != row.dtype()) continue;
    found.partner = static_cast<int>(i - first_extra) + 1;
  }
  return found;
}

// ---- launches that grow ----

class RowLaunch : public Deferred {
 public:
  RowLaunch(const RowGemm& gemm, const MatmulRowArgs& args) : gemm_(gemm), args_(args) {}

  void launch(CUstream stream) override {
    const RowGemm::Form form{norm_ != nullptr, pairs_};
    const Kernel* kernel = pairs_ ? (form.normalises ? gemm_.normalising_pair_ : gemm_.pair_)
                                  : (form.normalises ? gemm_.normalising_ : gemm_.plain_);
    int64_t tiles = 0;
    for (int i = 0; i < (pairs_ ? 1 : args_.parts); ++i) tiles += ceil_div(args_.part[i].n, kTile);
    const int64_t blocks = std::min(tiles, kBlocks * gemm_.target_.device.multiprocessors);
    kernel->launch(stream, {static_cast<unsigned>(blocks)}, kThreads, gemm_.shared_bytes(form), args_);
  }

  bool holds_back_next() const override { return true; }

  // The row is what the norm gives.
  bool take_norm(std::unique_ptr<Deferred>& before) {
    auto* norm = dynamic_cast<RowNormLaunch*>(before.get());
    if (norm == nullptr || gemm_.normalising_ == nullptr) return false;
    const RowNormLaunch::Row& row = norm->row();
    if (row.output != args_.a || row.width != args_.k) return false;
    const MemorySpan x(row.x, row.bytes), result(row.output, row.bytes);
    const bool read =
        std::any_of(reads_.begin(), reads_.end(), [&](const MemorySpan& r) { return r.overlaps(result); });
    if (x.overlaps(result) || writes(x) || writes(result) || read) return false;
    args_.a = row.x;
    args_.norm_scale = row.scale;
    args_.norm_bias = row.bias;
    args_.normalised = row.output;
    args_.epsilon = static_cast<float>(row.epsilon);
    row_ = row.output;
    reads_.push_back(x);
    writes_.push_back(result);
    norm_ = std::move(before);
    return true;
  }

  // Becomes the earlier launch with this one's product, if both can run at once.
  bool join(RowLaunch& earlier) {
    if (earlier.pairs_ || row() != earlier.row() || args_.k != earlier.args_.k) return false;
    if (args_.blocks != earlier.args_.blocks || args_.block_shift != earlier.args_.block_shift) return false;
    if (pair_with(earlier)) return true;
    if (gemm_.plain_ != earlier.gemm_.plain_ || earlier.args_.parts == kRowMaxParts) return false;
    if (earlier.norm_ != nullptr && gemm_.normalising_ == nullptr) return false;
    if (collides(earlier, nullptr)) return false;
    const MatmulRowPart part = args_.part[0];
    adopt(earlier);
    args_.part[args_.parts++] = part;
    return true;
  }

  void will_read(const void* data, size_t bytes) { reads_.emplace_back(data, bytes); }
  void will_write(const void* data, size_t bytes) { writes_.emplace_back(data, bytes); }

 private:
  const void* row() const { return norm_ != nullptr ? row_ : args_.a; }
  bool writes(const MemorySpan& span) const {
    return std::any_of(writes_.begin(), writes_.end(), [&](const MemorySpan& w) { return w.overlaps(span); });
  }
  // `given`: what the earlier launch writes for this one to read, by other ways than memory.
  bool collides(const RowLaunch& earlier, const void* given) const {
    const auto among = [&](const std::vector<MemorySpan>& spans, const RowLaunch& writer) {
      return std::any_of(spans.begin(), spans.end(),
                         [&](const MemorySpan& span) { return span.begin != given && writer.writes(span); });
    };
    return among(reads_, earlier) || among(writes_, earlier) || among(earlier.reads_, *this);
  }
  // The earlier product gives an operand of this one's epilogue and nothing else.
  bool pair_with(RowLaunch& earlier) {
    if (gemm_.pair_ == nullptr || earlier.args_.parts != 1 || args_.part[0].n != earlier.args_.part[0].n) return false;
    const MatmulRowPart own = args_.part[0];
    MatmulRowPart partner = earlier.args_.part[0];
    const void* given = own.epilogue.extras[gemm_.neighbours_.partner - 1];
    if (given != partner.output || gemm_.weights_ != earlier.gemm_.weights_) return false;
    if (earlier.norm_ != nullptr && gemm_.normalising_pair_ == nullptr) return false;
    if (collides(earlier, given)) return false;
    adopt(earlier);
    partner.output = nullptr;
    args_.part[0] = own;
    args_.part[1] = partner;
    args_.parts = 2;
    pairs_ = true;
    return true;
  }
  void adopt(RowLaunch& earlier) {
    args_ = earlier.args_;
    norm_ = std::move(earlier.norm_);
    row_ = earlier.row_;
    reads_.insert(reads_.end(), earlier.reads_.begin(), earlier.reads_.end());
    writes_.insert(writes_.end(), earlier.writes_.begin(), earlier.writes_.end());
  }

  const RowGemm& gemm_;
  MatmulRowArgs args_;
  bool pairs_ = false;
  std::unique_ptr<Deferred> norm_;
  const void* row_ = nullptr;               // what the norm gives
  std::vector<MemorySpan> reads_, writes_;  // but for the row, and weights
};

// ---- RowGemm ----

bool RowGemm::knows(int64_t n, int64_t k) { return n >= kMinColumns && k <= kMaxTerms && k % kPack == 0; }

RowGemm::RowGemm(const GemmTypes& types, std::vector<std::string> weights, int64_t step_terms, int64_t k,
                 const Node& node, size_t first_extra, const Target& target)
    : types_(types),
      weights_(std::move(weights)),
      step_bytes_(kTile * step_terms * bit_width(node.input(1)->dtype()) / 8),
      k_(k),
      neighbours_(row_neighbours(node, first_extra)),
      target_(target) {
  for (size_t i = first_extra; i < node.inputs().size(); ++i)
    extra_bytes_.push_back(static_cast<size_t>(bit_width(node.input(i)->dtype()) / 8));
  const bool norm = neighbours_.norm.has_value(), pair = neighbours_.partner > 0;
  plain_ = &request({false, false});
  if (norm) normalising_ = &request({true, false});
  if (pair) pair_ = &request({false, true});
  if (norm && pair) normalising_pair_ = &request({true, true});
}

int64_t RowGemm::stages(Form form) const {
  const int64_t room = static_cast<int64_t>(target_.device.shared_bytes) / kBlocks - k_ * 2 - (int64_t{8} << 10);
  const int64_t stage = kWarps * step_bytes_ * (form.pairs ? 2 : 1);
  return std::max<int64_t>(std::min(kRingBytes, room) / stage, 2);
}

size_t RowGemm::shared_bytes(Form form) const {
  return static_cast<size_t>(kWarps * step_bytes_ * (form.pairs ? 2 : 1) * stages(form) + k_ * 2);
}

const Kernel& RowGemm::request(Form form) const {
  std::vector<std::string> defines = weights_;
  const auto type = [](const std::optional<DType>& dtype) { return cuda_type(dtype.value_or(DType::f32)); };
  const int kind = !form.normalises ? 0 : neighbours_.norm->op->kind == NormKind::rms ? 1 : 2;
  defines.push_back(fmt::format("WARPS={}", kWarps));
  defines.push_back(fmt::format("STAGES={}", stages(form)));
  defines.push_back(fmt::format("PAIR={}", form.pairs ? neighbours_.partner : 0));
  defines.push_back(fmt::format("NORM={}", kind));
  if (kind != 0) {
    defines.push_back(fmt::format("NORM_CHUNKS={}", ceil_div(k_, kThreads * kPack)));
    defines.push_back(fmt::format("GAMMA={}", type(neighbours_.norm->scale)));
    defines.push_back(fmt::format("BETA={}", type(neighbours_.norm->bias)));
  }
  return target_.kernels.request({"matmul_row.cu", "matmul_row", std::move(defines), types_.epilogue});
}

void RowGemm::run(const MatmulArgs& product, const void* scales, const void* zeros, int64_t blocks, int block_shift,
                  CudaContext& context) const {
  MatmulRowArgs args{};
  args.a = product.a;
  args.k = product.k;
  args.blocks = blocks;
  args.block_shift = std::min(block_shift, kEndless);
  args.parts = 1;
  args.part[0] = {product.b, scales, zeros, product.output, product.n, product.epilogue};
  auto launch = std::make_unique<RowLaunch>(*this, args);
  const auto columns = static_cast<size_t>(product.n);
  launch->will_write(product.output, columns * static_cast<size_t>(bit_width(types_.output) / 8));
  for (size_t i = 0; i < extra_bytes_.size(); ++i)
    launch->will_read(product.epilogue.extras[i], extra_bytes_[i] * (product.epilogue.column[i] == 1 ? columns : 1));
  std::unique_ptr<Deferred> before = context.take_deferred();
  auto* earlier = dynamic_cast<RowLaunch*>(before.get());
  const bool taken = earlier != nullptr ? launch->join(*earlier) : launch->take_norm(before);
  if (before != nullptr && !taken) before->launch(context.stream());
  if (neighbours_.others)
    context.defer(std::move(launch));
  else
    launch->launch(context.stream());
}

}  // namespace lathe::cuda
