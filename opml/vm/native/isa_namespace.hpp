// Code that is compiled once for each instruction-set level lives in a namespace of that level, so that the linker
// can never pick an inline function built for a newer processor.
#pragma once

#ifndef OPML_ISA
#define OPML_ISA baseline
#endif

#define OPML_LEVEL_BEGIN \
  namespace opml {       \
  inline namespace OPML_ISA {
#define OPML_LEVEL_END \
  }                    \
  }
