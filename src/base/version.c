// What this program is: version, and the revision it was built from.
#include "base/version.h"

#ifndef WORKBENCH_REVISION
#define WORKBENCH_REVISION "unknown"
#endif

const char version_text[] = WORKBENCH_VERSION;
const char version_revision[] = WORKBENCH_REVISION;
