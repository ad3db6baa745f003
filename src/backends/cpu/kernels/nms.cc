// Greedy: candidates come off a heap, so that only as many are ordered as are looked at, and each is compared with the
// boxes taken before it, a vector of them at a time.
#include "backends/cpu/kernels/nms.h"

#include <algorithm>
#include <array>

#include "backends/cpu/kernels/nms_kernels.h"
#include "backends/cpu/kernels/sort_key.h"
#include "backends/cpu/kernels/top_k_kernels.h"

namespace lathe::cpu {
namespace {

// A list of boxes with its memory.
class Boxes {
 public:
  void reserve(int64_t n) {
    for (auto& list : lists_) list.reserve(static_cast<size_t>(n));
  }
  void clear() {
    for (auto& list : lists_) list.clear();
  }
  void add(const float* numbers, bool center_point) {
    float left = numbers[0], bottom = numbers[1], right = numbers[2], top = numbers[3];
    if (center_point) {
      const float half_width = right / 2, half_height = top / 2;
      right = left + half_width, left -= half_width;
      top = bottom + half_height, bottom -= half_height;
    } else {
      if (left > right) std::swap(left, right);
      if (bottom > top) std::swap(bottom, top);
    }
    push({left, bottom, right, top, (right - left) * (top - bottom)});
  }
  void add(const Boxes& from, int64_t box) {
    const auto i = static_cast<size_t>(box);
    push({from.lists_[0][i], from.lists_[1][i], from.lists_[2][i], from.lists_[3][i], from.lists_[4][i]});
  }
  BoxList list() const {
    return {lists_[0].data(), lists_[1].data(), lists_[2].data(),
            lists_[3].data(), lists_[4].data(), static_cast<int64_t>(lists_[0].size())};
  }

 private:
  void push(const std::array<float, 5>& box) {
    for (size_t i = 0; i < box.size(); ++i) lists_[i].push_back(box[i]);
  }
  std::array<std::vector<float>, 5> lists_;  // as BoxList has them
};

// What one thread selects.
class Selection {
 public:
  Selection(const Nms& nms, const KernelTable& kernels) : nms_(nms), kernels_(kernels) {}

  void select(int64_t batch, int64_t cls, const Boxes& boxes) {
    find_candidates(nms_.scores + (batch * nms_.classes + cls) * nms_.count);
    std::make_heap(candidates_.begin(), candidates_.end());
    taken_.clear();
    for (int64_t taken = 0; taken < nms_.max_per_class && !candidates_.empty();) {
      std::pop_heap(candidates_.begin(), candidates_.end());
      const int64_t box = static_cast<uint32_t>(~candidates_.back());
      candidates_.pop_back();
      if (kernels_.nms.overlaps(boxes.list(), box, taken_.list(), nms_.iou_threshold)) continue;
      taken_.add(boxes, box);
      rows_.insert(rows_.end(), {batch, cls, box});
      ++taken;
    }
  }
  const std::vector<int64_t>& rows() const { return rows_; }

 private:
  // Candidates are numbers that compare as (score, lower index first).
  void find_candidates(const float* scores) {
    const auto next = [&](int64_t from) {
      return nms_.score_threshold ? kernels_.top_k.find_above(scores, from, nms_.count, *nms_.score_threshold) : from;
    };
    candidates_.clear();
    for (int64_t i = next(0); i < nms_.count; i = next(i + 1)) {
      if (scores[i] != scores[i]) continue;
      candidates_.push_back(uint64_t{sort_key(scores[i])} << 32 | ~static_cast<uint32_t>(i));
    }
  }

  const Nms& nms_;
  const KernelTable& kernels_;
  std::vector<uint64_t> candidates_;
  Boxes taken_;
  std::vector<int64_t> rows_;
};

}  // namespace

std::vector<int64_t> nms(ThreadTeam& team, const KernelTable& kernels, const Nms& n) {
  std::vector<Boxes> images(static_cast<size_t>(n.batch));
  team.parallel_for(n.batch, [&](int64_t begin, int64_t end, int) {
    for (int64_t batch = begin; batch < end; ++batch) {
      Boxes& boxes = images[static_cast<size_t>(batch)];
      boxes.reserve(n.count);
      for (int64_t i = 0; i < n.count; ++i) boxes.add(n.boxes + (batch * n.count + i) * 4, n.center_point);
    }
  });
  std::vector<Selection> selections(static_cast<size_t>(team.size()), Selection(n, kernels));
  team.parallel_for(n.batch * n.classes, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t i = begin; i < end; ++i)
      selections[static_cast<size_t>(thread)].select(i / n.classes, i % n.classes,
                                                     images[static_cast<size_t>(i / n.classes)]);
  });
  std::vector<int64_t> rows;  // parts follow one another in the order of threads
  for (const Selection& selection : selections)
    rows.insert(rows.end(), selection.rows().begin(), selection.rows().end());
  return rows;
}

}  // namespace lathe::cpu
