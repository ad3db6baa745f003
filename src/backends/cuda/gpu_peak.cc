#include "backends/cuda/gpu_peak.h"

#include <algorithm>
#include <bit>
#include <optional>
#include <random>

#include "backends/cuda/cuda_context.h"
#include "backends/cuda/libraries.h"

namespace lathe::cuda {
namespace {

constexpr size_t kCopyBytes = size_t{1} << 29;  // far more than any cache holds
constexpr uint64_t kSize = 8192;                // rows and columns
constexpr int kRepeats = 5;
constexpr double kMinMilliseconds = 20;

struct MatrixKind {
  std::string_view name;
  int operand, result, compute, scale;  // data types and compute types as cuBLASLt numbers them
  size_t bytes;                         // of an element of the operands; results have four at most
  uint8_t random, fixed;                // bits of an element's highest byte: numbers of about one, never NaN
};

constexpr MatrixKind kKinds[] = {{"f32", kCudaR32F, kCudaR32F, kCompute32F, kCudaR32F, 4, 0x80, 0x3f},
                                 {"tf32", kCudaR32F, kCudaR32F, kCompute32FFastTf32, kCudaR32F, 4, 0x80, 0x3f},
                                 {"f16", kCudaR16F, kCudaR16F, kCompute32F, kCudaR32F, 2, 0x83, 0x38},
                                 {"bf16", kCudaR16BF, kCudaR16BF, kCompute32F, kCudaR32F, 2, 0x80, 0x3f},
                                 {"f8", kCudaR8FE4M3, kCudaR16BF, kCompute32F, kCudaR32F, 1, 0xbf, 0},
                                 {"i8", kCudaR8I, kCudaR32I, kCompute32I, kCudaR32I, 1, 0xbf, 0}};

class Memory {
 public:
  Memory(CudaContext& context, size_t bytes) : context_(context), bytes_(bytes), data_(context.allocate(bytes)) {}
  ~Memory() { context_.release(data_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  void* data() const { return data_; }

  // Random elements, a piece repeated: on zeros a chip draws less power, and runs faster than on any data.
  void fill(const MatrixKind& kind) {
    std::vector<std::byte> piece(kPiece);
    std::minstd_rand random;
    for (size_t i = 0; i < piece.size(); ++i) {
      const auto bits = static_cast<uint8_t>(random() >> 8);
      const bool highest = i % kind.bytes == kind.bytes - 1;
      piece[i] = static_cast<std::byte>(highest ? (bits & kind.random) | kind.fixed : bits);
    }
    context_.upload(data_, piece);
    for (size_t done = kPiece; done < bytes_; done *= 2)
      context_.copy(static_cast<std::byte*>(data_) + done, data_, std::min(done, bytes_ - done));
    context_.synchronize();
  }

 private:
  static constexpr size_t kPiece = size_t{1} << 20;

  CudaContext& context_;
  const size_t bytes_;
  void* data_;
};

// Milliseconds of the fastest of several series of calls, per call.
template <class Call>
double best_time(CudaContext& context, const Call& call) {
  const auto clock = context.make_clock(2);
  const auto series = [&](int calls) {
    clock->mark(0);
    for (int i = 0; i < calls; ++i) call();
    clock->mark(1);
    return clock->milliseconds(0, 1) / calls;
  };
  const double first = std::max(series(1), 1e-3);
  const int calls = std::clamp(static_cast<int>(kMinMilliseconds / first), 1, 200);
  double best = series(calls);
  for (int i = 1; i < kRepeats; ++i) best = std::min(best, series(calls));
  return best;
}

// y = a^T * b, the form that all types have.
class Product {
 public:
  Product(const CublasLt& library, const MatrixKind& kind)
      : library_(library), api_(library.api()), one_(kind.scale == kCudaR32I ? 1 : std::bit_cast<uint32_t>(1.0F)) {
    api_.check(api_.desc_create(&desc_, kind.compute, kind.scale), "describing a product");
    api_.desc_set(desc_, kDescTransA, &kOpTranspose, sizeof(kOpTranspose));
    api_.check(api_.layout_create(&operand_, kind.operand, kSize, kSize, kSize), "describing a matrix");
    api_.check(api_.layout_create(&result_, kind.result, kSize, kSize, kSize), "describing a matrix");
    cublasLtMatmulPreference_t preference = nullptr;
    api_.check(api_.preference_create(&preference), "asking for algorithms");
    api_.preference_set(preference, kPreferMaxWorkspace, &kWorkspace, sizeof(kWorkspace));
    int found = 0;
    const cublasStatus_t status =
        api_.heuristic(library.handle(), desc_, operand_, operand_, result_, result_, preference, 1, &choice_, &found);
    api_.preference_destroy(preference);
    if (status != 0 || found == 0) fail(ErrorCode::unsupported, "this GPU has no {} products", kind.name);
  }
  ~Product() {
    api_.layout_destroy(operand_);
    api_.layout_destroy(result_);
    api_.desc_destroy(desc_);
  }
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;

  void run(const Memory& a, const Memory& b, const Memory& y, const Memory& workspace, CUstream stream) const {
    const uint32_t zero = 0;
    api_.check(api_.matmul(library_.handle(), desc_, &one_, a.data(), operand_, b.data(), operand_, &zero, y.data(),
                           result_, y.data(), result_, &choice_.algo, workspace.data(), kWorkspace, stream),
               "multiplying");
  }

  static constexpr size_t kWorkspace = size_t{32} << 20;

 private:
  const CublasLt& library_;
  const CublasLtApi& api_;
  const uint32_t one_;  // of the type of scales
  cublasLtMatmulDesc_t desc_ = nullptr;
  cublasLtMatrixLayout_t operand_ = nullptr, result_ = nullptr;
  cublasLtMatmulHeuristicResult_t choice_ = {};
};

double measure_product(CudaContext& context, const CublasLt& library, const MatrixKind& kind) {
  const Product product(library, kind);
  constexpr size_t kElements = kSize * kSize;
  Memory a(context, kElements * kind.bytes), b(context, kElements * kind.bytes);
  const Memory y(context, kElements * 4), workspace(context, Product::kWorkspace);
  a.fill(kind);
  b.fill(kind);
  const double milliseconds = best_time(context, [&] { product.run(a, b, y, workspace, context.stream()); });
  return 2.0 * static_cast<double>(kElements) * static_cast<double>(kSize) / milliseconds * 1e-9;
}

double measure_copy(CudaContext& context) {
  const Memory from(context, kCopyBytes), to(context, kCopyBytes);
  const double milliseconds = best_time(context, [&] { context.copy(to.data(), from.data(), kCopyBytes); });
  return 2.0 * static_cast<double>(kCopyBytes) / milliseconds * 1e-6;
}

}  // namespace

double GpuPeak::tflops(DType type) const {
  const std::string_view name = type == DType::f16      ? "f16"
                                : type == DType::bf16   ? "bf16"
                                : type == DType::i8     ? "i8"
                                : type == DType::f8e4m3 ? "f8"
                                                        : "f32";
  const auto found = std::find_if(matrix.begin(), matrix.end(), [&](const Rate& rate) { return rate.name == name; });
  return found == matrix.end() ? 0 : found->tflops;
}

GpuPeak measure_gpu_peak(int ordinal) {
  const std::shared_ptr<const Device> device = Device::open(ordinal);
  CudaContext context(device, {});
  GpuPeak peak;
  peak.gbytes_per_second = measure_copy(context);
  std::optional<CublasLt> library;
  std::string missing;
  try {
    library.emplace(device);
  } catch (const Error& error) {
    missing = error.what();
  }
  for (const MatrixKind& kind : kKinds) {
    GpuPeak::Rate& rate = peak.matrix.emplace_back(GpuPeak::Rate{kind.name, 0, missing});
    if (!library) continue;
    try {
      rate.tflops = measure_product(context, *library, kind);
    } catch (const Error& error) {
      rate.problem = error.message();
    }
  }
  return peak;
}

}  // namespace lathe::cuda
