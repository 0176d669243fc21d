// What this program is: version, and the revision it was built from.
#ifndef BASE_VERSION_H
#define BASE_VERSION_H

extern const char version_text[]; // "0.1.0"
extern const char
    version_revision[]; // git describe --always --dirty at build time, "unknown" outside git

#endif
