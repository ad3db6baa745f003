// The interpreter of PTX: what it computes, and that it finds what GPUs let pass.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/backends/cuda/emulator/warp.h"

namespace lathe::emulator {
namespace {

using testing::HasSubstr;

// A kernel with one argument, the address of `words`, which lies in %rd1; %r1 is the thread and %rd2 its word's
// address.
class Emulator : public testing::Test {
 protected:
  std::optional<Fault> run(const std::string& body, unsigned threads = 32) {
    const std::string text =
        ".version 8.0\n.target sm_80\n.address_size 64\n.extern .shared .align 16 .b8 open[];\n.visible .entry "
        "k(.param .u64 k_param_0)\n{\n"
        ".reg .pred %p<9>; .reg .b16 %rs<9>; .reg .b32 %r<40>; .reg .f32 %f<9>; .reg .f64 %fd<9>; .reg .b64 %rd<9>;\n"
        ".shared .align 16 .b8 s[256];\n"
        "ld.param.u64 %rd1, [k_param_0]; mov.u32 %r1, %tid.x; mad.wide.u32 %rd2, %r1, 4, %rd1;\n" +
        body + "\nret;\n}\n";
    const auto module = parse_module(text);
    const Kernel& kernel = module->kernels.at("k");
    Launch launch{&kernel, Dim3(), Dim3{threads}, kernel.shared_bytes, std::vector<std::byte>(kernel.param_bytes)};
    std::memcpy(launch.params.data(), &address_, sizeof(address_));
    uint64_t instructions = 0;
    return run_launch(launch, instructions);
  }
  // What the kernel stores to each thread's word: %r2.
  std::vector<uint32_t> results(const std::string& body, unsigned threads = 32) {
    const std::optional<Fault> fault = run(body + " st.global.u32 [%rd2], %r2;", threads);
    EXPECT_FALSE(fault) << fault->what;
    std::vector<uint32_t> words(threads);
    std::memcpy(words.data(), reinterpret_cast<const void*>(address_), threads * sizeof(uint32_t));
    return words;
  }
  uint32_t result(const std::string& body) { return results(body)[0]; }
  std::string fault_of(const std::string& body, unsigned threads = 32) {
    const std::optional<Fault> fault = run(body, threads);
    return fault ? fault->what : "none";
  }

  static constexpr size_t kBytes = 1024;
  const uint64_t address_ = device_memory().allocate(kBytes);
};

TEST_F(Emulator, LanesPartAndMeetAgain) {
  // A loop with as many rounds as the lane's number; after it all lanes are together for the shuffle.
  const auto words = results(R"(mov.u32 %r2, 0; mov.u32 %r3, 0;
    LOOP: setp.ge.u32 %p1, %r3, %r1; @%p1 bra DONE;
    add.u32 %r3, %r3, 1; and.b32 %r4, %r1, 1; setp.eq.u32 %p2, %r4, 0; @%p2 bra EVEN;
    add.u32 %r2, %r2, 100; bra.uni LOOP;
    EVEN: add.u32 %r2, %r2, 1; bra.uni LOOP;
    DONE: shfl.sync.bfly.b32 %r2|%p3, %r2, 1, 31, -1;)");
  for (uint32_t lane = 0; lane < 32; ++lane)
    EXPECT_EQ(words[lane], (lane ^ 1) % 2 == 0 ? lane ^ 1 : (lane ^ 1) * 100) << lane;
}

TEST_F(Emulator, ShufflesStopAtTheirSegments) {
  const auto up = results("shfl.sync.up.b32 %r2|%p1, %r1, 3, 0, -1;"),
             down = results("shfl.sync.down.b32 %r2|%p1, %r1, 3, 0x181f, -1;"),  // segments of 8
      index = results("shfl.sync.idx.b32 %r2|%p1, %r1, 5, 0x181f, -1;");
  for (uint32_t lane = 0; lane < 32; ++lane) {
    EXPECT_EQ(up[lane], lane < 3 ? lane : lane - 3);
    EXPECT_EQ(down[lane], lane % 8 < 5 ? lane + 3 : lane);
    EXPECT_EQ(index[lane], lane / 8 * 8 + 5);
  }
}

TEST_F(Emulator, WarpsSeeSharedMemoryAfterBarriers) {
  const auto words = results(R"(mov.u32 %r3, s; shl.b32 %r4, %r1, 2; add.u32 %r5, %r3, %r4; st.shared.u32 [%r5], %r1;
    bar.sync 0; xor.b32 %r6, %r4, 128; add.u32 %r6, %r3, %r6; ld.shared.u32 %r2, [%r6];)",
                             64);
  for (uint32_t i = 0; i < 64; ++i) EXPECT_EQ(words[i], i ^ 32);
}

TEST_F(Emulator, SharedMemoryOfTheLaunchLiesBehindTheKernels) {
  EXPECT_EQ(result("mov.u32 %r3, open; mov.u32 %r4, s; sub.u32 %r2, %r3, %r4;"), 256u);
}

TEST_F(Emulator, ArithmeticIsThatOfGpus) {
  const auto bits = [](float x) { return std::bit_cast<uint32_t>(x); };
  EXPECT_EQ(result("mov.u32 %r3, 7; mov.u32 %r4, 0; div.u32 %r2, %r3, %r4;"), ~0U);
  EXPECT_EQ(result("mov.u32 %r3, -7; shr.s32 %r2, %r3, 40;"), ~0U);
  EXPECT_EQ(result("mov.u32 %r3, 1; shl.b32 %r2, %r3, 32;"), 0u);
  EXPECT_EQ(result("mov.u32 %r3, 0x80000000; mul.hi.s32 %r2, %r3, 6;"), static_cast<uint32_t>(-3));
  EXPECT_EQ(result("mov.u32 %r3, 0x12345678; prmt.b32 %r2, %r3, 0xabcdef01, 0x70f4;"), 0xab78ff01u);
  EXPECT_EQ(result("mov.u32 %r3, 0xf0; mov.u32 %r4, 0xcc; lop3.b32 %r2, %r3, %r4, 0xaa, 0x6a;"), (0xf0u & 0xcc) ^ 0xaa);
  EXPECT_EQ(result("mov.f32 %f1, 0f7FC00000; cvt.rni.s32.f32 %r2, %f1;"), 0u);
  EXPECT_EQ(result("mov.f32 %f1, 0fCF800000; cvt.rzi.s32.f32 %r2, %f1;"), 0x80000000u);
  EXPECT_EQ(result("mov.f32 %f1, 0f40200000; cvt.rni.s32.f32 %r2, %f1;"), 2u);
  EXPECT_EQ(result("mov.f32 %f1, 0f7FC00000; max.f32 %f2, %f1, 0f3F800000; mov.b32 %r2, %f2;"), bits(1));
  EXPECT_EQ(result("mov.f32 %f1, 0f3F800000; fma.rm.f32 %f2, %f1, 0f33000000, %f1; mov.b32 %r2, %f2;"), bits(1));
  EXPECT_EQ(result("mov.f32 %f1, 0f3F800000; fma.rp.f32 %f2, %f1, 0f33000000, %f1; mov.b32 %r2, %f2;"),
            bits(std::nextafter(1.0f, 2.0f)));
  EXPECT_EQ(result("mov.f32 %f1, 0f477FF000; cvt.rn.f16.f32 %rs1, %f1; cvt.u32.u16 %r2, %rs1;"), 0x7c00u);  // 65520
  EXPECT_EQ(result("mov.u32 %r3, 0xff80; cvt.u16.u32 %rs1, %r3; cvt.s16.s8 %rs2, %rs1; cvt.s32.s16 %r2, %rs2;"),
            static_cast<uint32_t>(-128));
}

TEST_F(Emulator, ProductsOfTensorCores) {
  // a = 1 in row 3 and column 5, b = 2 in row 5 and column 6: one element of the result is 2, c added.
  const auto words = results(R"(mov.u32 %r3, 0; mov.u32 %r4, 0;
    setp.eq.u32 %p1, %r1, 14; @%p1 mov.u32 %r3, 0x3c000000;
    setp.eq.u32 %p1, %r1, 26; @%p1 mov.u32 %r4, 0x40000000;
    mov.u32 %r5, 0; mov.f32 %f1, 0f3F000000;
    mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f2, %f3, %f4, %f5}, {%r3, %r5, %r5, %r5}, {%r4, %r5}, {%f1, %f1, %f1, %f1};
    mov.b32 %r2, %f2;)");
  for (uint32_t lane = 0; lane < 32; ++lane)
    EXPECT_EQ(std::bit_cast<float>(words[lane]), lane == 15 ? 2.5f : 0.5f) << lane;
}

TEST_F(Emulator, CopiesArriveWhenTheyAreWaitedFor) {
  const std::string copy = R"(mov.u32 %r2, 77; st.global.u32 [%rd1], %r2; mov.u32 %r3, s;
    cp.async.ca.shared.global [%r3], [%rd1], 4; cp.async.commit_group;)";
  EXPECT_NE(result(copy + "ld.shared.u32 %r2, [%r3];"), 77u);
  EXPECT_EQ(result(copy + "cp.async.wait_group 0; ld.shared.u32 %r2, [%r3];"), 77u);
}

TEST_F(Emulator, FindsWhatIsWrong) {
  EXPECT_THAT(fault_of("ld.global.u32 %r2, [%rd1+1024];"), HasSubstr("outside of all allocations"));
  EXPECT_THAT(fault_of("ld.global.u32 %r2, [%rd1+1024];"), HasSubstr("thread (0, 0, 0), instruction 3: ld.global.u32"));
  EXPECT_THAT(fault_of("ld.global.v2.u32 {%r2, %r3}, [%rd1+4];"), HasSubstr("not aligned"));
  EXPECT_THAT(fault_of("mov.u32 %r3, s; st.shared.u32 [%r3+256], %r1;"), HasSubstr("shared memory"));
  EXPECT_THAT(fault_of("mov.u32 %r3, s; st.shared.u32 [%r3], %r1;", 64),
              HasSubstr("race: since the last barrier warp 0"));
  EXPECT_EQ(fault_of("mov.u32 %r3, s; ld.shared.u32 %r2, [%r3]; atom.shared.add.u32 %r2, [%r3+4], 1;", 64), "none");
  EXPECT_THAT(fault_of("setp.lt.u32 %p1, %r1, 32; @%p1 bra L; bar.sync 1, 96; L: bar.sync 0;", 64),
              HasSubstr("wait at barriers"));
  EXPECT_THAT(fault_of("setp.lt.u32 %p1, %r1, 8; @%p1 bra L; shfl.sync.idx.b32 %r2|%p2, %r1, 0, 31, -1; bra.uni M;"
                       "L: shfl.sync.idx.b32 %r2|%p2, %r1, 0, 31, -1; M:"),
              HasSubstr("wait for others"));
  EXPECT_THAT(fault_of("trap;"), HasSubstr("trap"));
  try {
    run("frobnicate.u32 %r2, %r1;");
    FAIL() << "nonsense was parsed";
  } catch (const PtxError& error) {
    EXPECT_THAT(error.what(), HasSubstr("the instruction frobnicate.u32 is not known"));
  }
}

TEST_F(Emulator, FreshMemoryIsNan) {
  EXPECT_TRUE(std::isnan(std::bit_cast<float>(result("ld.global.u32 %r2, [%rd1+512];"))));
  EXPECT_TRUE(std::isnan(std::bit_cast<float>(result("mov.u32 %r3, s; ld.shared.u32 %r2, [%r3];"))));
}

}  // namespace
}  // namespace lathe::emulator
