# Decides what `cmake --install` and the Debian package contain.
