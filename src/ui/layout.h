// Layout: where everything goes, a pure function of the terminal's size.
//
//     three pictures side by side     one at a time              narrow
//     ┌ header ──────────────────┐    ┌ header ─────────────┐    ┌ header ────┐
//     │ stats                    │    │ stats               │    │ stats      │
//     │ real │ recon. │ error │p │    │ picture │ plots     │    │ picture    │
//     │ plots                    │    │         │           │    │ plots      │
//     │ log                      │    │ log     │           │    └ footer ────┘
//     └ footer ──────────────────┘    └ footer ─────────────┘
//
// Pictures keep 20:9 cells (half-block pixels are square): 80x36, 60x27, 40x18, 20x9, plus one row
// of caption.
#ifndef UI_LAYOUT_H
#define UI_LAYOUT_H

#include <stdbool.h>

#include "ui/canvas.h"

enum { LAYOUT_MIN_WIDTH = 40, LAYOUT_MIN_HEIGHT = 12, LAYOUT_PLOTS = 20, LAYOUT_THUMBS = 20 };

struct layout {
    bool too_small;                               // nothing else is set: show the notice
    struct rect header, stats, body, log, footer; // log.h 0: not shown
    int n_pictures;                               // 0, 1 or 3
    struct rect pictures[3];                      // caption in the first row, picture below
    int n_plots;                                  // panels shown, at most the wanted number
    struct rect plots[LAYOUT_PLOTS];
    struct rect errors; // rollout: error per frame
    int n_thumbs;       // rollout: frames in each strip
    struct rect truth[LAYOUT_THUMBS], dream[LAYOUT_THUMBS];
};

enum layout_kind {
    LAYOUT_RUN, // pictures, plots, log
    LAYOUT_PLOTS_ONLY,
    LAYOUT_PICTURES_ONLY, // as large as they get
    LAYOUT_ROLLOUT,       // three pictures (or one) of a frame, errors, strips
    LAYOUT_LOG_ONLY,
    LAYOUT_TABLE // text all over the body
};

// n_plots: panels there are to show (0..LAYOUT_PLOTS).
struct layout layout_make(enum layout_kind kind, int width, int height, int n_plots);

#endif
