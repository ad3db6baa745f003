#include "build/timing_cache.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file_writer.h"
#include "base/mapped_file.h"

namespace lathe {
namespace {

using Json = nlohmann::json;

constexpr int kFormat = 1;

}  // namespace

TimingCache TimingCache::load(const std::filesystem::path& path) {
  TimingCache cache;
  if (!std::filesystem::exists(path)) return cache;
  const auto file = MappedFile::open(path);
  try {
    const Json root = Json::parse(file->text());
    if (root.at("lathe_timing_cache").get<int>() != kFormat) throw std::runtime_error("it has another format");
    for (const auto& [key, times] : root.at("microseconds").items())
      for (const auto& [kernel, time] : times.items()) cache.insert(key, kernel, time.get<double>());
    if (root.contains("notes"))
      for (const auto& [key, note] : root.at("notes").items()) cache.notes_[key] = note.dump();
    cache.changed_ = false;
  } catch (const std::exception& error) {
    throw Error(ErrorCode::invalid_model, fmt::format("not a timing cache: {}", error.what()))
        .in_file(path.string())
        .remedy("Delete the file, or name another one");
  }
  return cache;
}

void TimingCache::save(const std::filesystem::path& path) const {
  Json root = {{"lathe_timing_cache", kFormat}, {"microseconds", entries_}};
  for (const auto& [key, note] : notes_) root["notes"][key] = Json::parse(note);
  FileWriter file(path);
  file.write(root.dump(1) + "\n");
  file.commit();
}

const TimingCache::Times* TimingCache::find(const std::string& key) const {
  const auto found = entries_.find(key);
  return found == entries_.end() ? nullptr : &found->second;
}

void TimingCache::insert(const std::string& key, const std::string& kernel, double microseconds) {
  entries_[key][kernel] = microseconds;
  changed_ = true;
}

const std::string* TimingCache::find_note(const std::string& key) const {
  const auto found = notes_.find(key);
  return found == notes_.end() ? nullptr : &found->second;
}

void TimingCache::insert_note(const std::string& key, std::string json) {
  notes_[key] = std::move(json);
  changed_ = true;
}

}  // namespace lathe
