// A library without functions. Lathe takes one that lacks what it needs for none at all.
namespace lathe::emulator {
extern const int kNothing = 0;
}  // namespace lathe::emulator
