// Element types are part of the public interface; this header keeps the include paths of the rooms uniform.
#pragma once

#include "lathe/dtype.h"
