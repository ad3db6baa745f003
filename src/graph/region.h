// A graph nested inside an op, with value semantics: copying an op copies its regions.
#pragma once

#include <memory>

namespace lathe {

class Graph;

class Region {
 public:
  Region();  // empty graph with its own symbol source
  explicit Region(std::unique_ptr<Graph> graph);
  Region(const Region& other);
  Region& operator=(const Region& other);
  Region(Region&&) noexcept;
  Region& operator=(Region&&) noexcept;
  ~Region();

  Graph& graph() { return *graph_; }
  const Graph& graph() const { return *graph_; }

 private:
  std::unique_ptr<Graph> graph_;
};

}  // namespace lathe
