#include "text/unicode_scripts.h"

#include <fmt/core.h>

#include "base/ascii.h"

namespace lathe::text {
namespace {

constexpr std::string_view kScripts =
    "Adlam Ahom Anatolian_hieroglyphs Arabic Armenian Avestan Balinese Bamum Bassa_vah Batak Bengali Bhaiksuki "
    "Bopomofo Brahmi Braille Buginese Buhid Canadian_aboriginal Carian Caucasian_albanian Chakma Cham Cherokee "
    "Chorasmian Common Coptic Cuneiform Cypriot Cypro_minoan Cyrillic Deseret Devanagari Dives_akuru Dogra Duployan "
    "Egyptian_hieroglyphs Elbasan Elymaic Ethiopic Georgian Glagolitic Gothic Grantha Greek Gujarati Gunjala_gondi "
    "Gurmukhi Han Hangul Hanifi_rohingya Hanunoo Hatran Hebrew Hiragana Imperial_aramaic Inherited "
    "Inscriptional_pahlavi Inscriptional_parthian Javanese Kaithi Kannada Katakana Kayah_li Kharoshthi "
    "Khitan_small_script Khmer Khojki Khudawadi Lao Latin Lepcha Limbu Linear_a Linear_b Lisu Lycian Lydian Mahajani "
    "Makasar Malayalam Mandaic Manichaean Marchen Masaram_gondi Medefaidrin Meetei_mayek Mende_kikakui "
    "Meroitic_cursive Meroitic_hieroglyphs Miao Modi Mongolian Mro Multani Myanmar Nabataean Nandinagari New_tai_lue "
    "Newa Nko Nushu Nyiakeng_puachue_hmong Ogham Ol_chiki Old_hungarian Old_italic Old_north_arabian Old_permic "
    "Old_persian Old_sogdian Old_south_arabian Old_turkic Old_uyghur Oriya Osage Osmanya Pahawh_hmong Palmyrene "
    "Pau_cin_hau Phags_pa Phoenician Psalter_pahlavi Rejang Runic Samaritan Saurashtra Sharada Shavian Siddham "
    "SignWriting Sinhala Sogdian Sora_sompeng Soyombo Sundanese Syloti_nagri Syriac Tagalog Tagbanwa Tai_le Tai_tham "
    "Tai_viet Takri Tamil Tangsa Tangut Telugu Thaana Thai Tibetan Tifinagh Tirhuta Toto Ugaritic Vai Vithkuqi Wancho "
    "Warang_citi Yezidi Yi Zanabazar_square";

// Calls use(name) for each name.
template <class Use>
void for_each_script(const Use& use) {
  for (std::string_view rest = kScripts; !rest.empty();) {
    const std::string_view name = rest.substr(0, rest.find(' '));
    use(name);
    rest.remove_prefix(name.size() == rest.size() ? name.size() : name.size() + 1);
  }
}

}  // namespace

std::string comparable_name(std::string_view name) {
  std::string letters;
  for (const char c : name)
    if (c != '_' && c != '-' && c != ' ') letters += ascii_lower(c);
  return letters;
}

bool is_script_name(std::string_view name) {
  bool found = false;
  for_each_script(
      [&, wanted = comparable_name(name)](std::string_view script) { found |= comparable_name(script) == wanted; });
  return found;
}

std::string one_script_expression() {
  constexpr std::string_view kNone = R"(\x{20}\p{Unknown})", kChinese = R"(\p{Han}\p{Hiragana}\p{Katakana}\x{30FC})";
  std::string all = fmt::format("[{0}][{0}{1}]*", kChinese, kNone);
  for_each_script([&](std::string_view script) {
    if (script == "Han" || script == "Hiragana" || script == "Katakana") return;
    const std::string_view others = script == "Common" ? R"((?!\x{30FC}))" : "";
    all += fmt::format(R"(|(?!\x{{20}})\p{{{0}}}(?:{1}[\p{{{0}}}{2}])*)", script, others, kNone);
  });
  return all;
}

}  // namespace lathe::text
