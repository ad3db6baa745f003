#include "graph/region.h"

#include "graph/graph.h"

namespace lathe {

Region::Region() : graph_(std::make_unique<Graph>()) {}
Region::Region(std::unique_ptr<Graph> graph) : graph_(std::move(graph)) {}
Region::Region(const Region& other) : graph_(other.graph_->clone()) {}
Region& Region::operator=(const Region& other) {
  if (this != &other) graph_ = other.graph_->clone();
  return *this;
}
Region::Region(Region&&) noexcept = default;
Region& Region::operator=(Region&&) noexcept = default;
Region::~Region() = default;

}  // namespace lathe
