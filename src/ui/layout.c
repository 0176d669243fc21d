// Layout: rectangles from a size.
#include "ui/layout.h"

#include <string.h>

enum { PLOT_MIN_WIDTH = 36, PLOT_MIN_HEIGHT = 6, LOG_MIN = 3, LOG_MAX = 8 };

static const struct { int w, h; } sizes[] = {{80, 36}, {60, 27}, {40, 18}, {20, 9}};
enum { N_SIZES = 4 };

// Picks columns and rows that show most panels, then the roomiest cells; the last row shares its
// width.
static void grid(struct layout *l, struct rect area, int n) {
    if (area.w < 20 || area.h < 3 || n < 1) return;
    int best_columns = 1, best_rows = 1, best_shown = 0, best_area = 0;
    int max_columns = area.w / PLOT_MIN_WIDTH, max_rows = area.h / PLOT_MIN_HEIGHT;
    if (max_columns < 1) max_columns = 1;
    if (max_rows < 1) max_rows = 1;
    for (int columns = 1; columns <= max_columns && columns <= n; columns++) {
        int rows = (n + columns - 1) / columns;
        if (rows > max_rows) rows = max_rows;
        int shown = columns * rows < n ? columns * rows : n,
            cell = (area.w / columns) * (area.h / rows);
        if (shown > best_shown || (shown == best_shown && cell > best_area))
            best_columns = columns, best_rows = rows, best_shown = shown, best_area = cell;
    }
    int left = best_shown;
    for (int row = 0; row < best_rows && left > 0; row++) {
        int columns = left < best_columns ? left : best_columns;
        int y0 = area.h * row / best_rows, y1 = area.h * (row + 1) / best_rows;
        for (int i = 0; i < columns; i++, left--) {
            int x0 = area.w * i / columns, x1 = area.w * (i + 1) / columns;
            if (l->n_plots < LAYOUT_PLOTS)
                l->plots[l->n_plots++] = (struct rect){area.x + x0, area.y + y0, x1 - x0, y1 - y0};
        }
    }
}

// Cuts a log pane from the bottom of `area` unless the plots would lose a row of panels for it.
static void cut_log(struct layout *l, struct rect *area) {
    int rows = area->h / PLOT_MIN_HEIGHT, log = area->h / 5;
    if (log < LOG_MIN) log = LOG_MIN;
    if (log > LOG_MAX) log = LOG_MAX;
    while (log > LOG_MIN && (area->h - log) / PLOT_MIN_HEIGHT < rows) log--;
    int after = (area->h - log) / PLOT_MIN_HEIGHT;
    if (after < 1 || (after < rows && after < 2)) return;
    l->log = (struct rect){area->x, area->y + area->h - log, area->w, log};
    area->h -= log;
}

// Three pictures in one row at (x, y), spread over `width`, at most `max_gap` columns apart;
// returns the columns used.
static int three_pictures(struct layout *l, int x, int y, int width, int w, int h, int max_gap) {
    int gap = (width - 3 * w) / 2;
    if (gap > max_gap) gap = max_gap;
    l->n_pictures = 3;
    for (int i = 0; i < 3; i++) l->pictures[i] = (struct rect){x + i * (w + gap), y, w, h + 1};
    return 3 * w + 2 * gap;
}

static void layout_run(struct layout *l, int n_plots) {
    struct rect b = l->body;
    for (int s = 0; s < 3; s++) { // three side by side, with room for plots below
        if (b.w < 3 * sizes[s].w || b.h < sizes[s].h + 1 + PLOT_MIN_HEIGHT + 2) continue;
        if (s < 2 && b.h < sizes[s].h + 1 + 2 * PLOT_MIN_HEIGHT) continue;
        int used = three_pictures(l, b.x, b.y, b.w, sizes[s].w, sizes[s].h, 2),
            top = sizes[s].h + 1;
        struct rect below = {b.x, b.y + top, b.w, b.h - top};
        cut_log(l, &below);
        struct rect right = {b.x + used + 1, b.y, b.w - used - 1, top};
        if (right.w < PLOT_MIN_WIDTH) {
            for (int i = 0; i < 3; i++) l->pictures[i].x += (b.w - used) / 2;
            grid(l, below, n_plots);
            return;
        }
        int beside = top / PLOT_MIN_HEIGHT < n_plots / 2 ? top / PLOT_MIN_HEIGHT : n_plots / 2;
        grid(l, right, beside);
        grid(l, below, n_plots - l->n_plots);
        return;
    }
    for (int s = 1; s < N_SIZES; s++) { // one at a time, plots at its right
        if (b.w < sizes[s].w + 1 + PLOT_MIN_WIDTH || b.h < sizes[s].h + 1) continue;
        int w = sizes[s].w, h = sizes[s].h;
        l->n_pictures = 1;
        l->pictures[0] = (struct rect){b.x, b.y, w, h + 1};
        struct rect right = {b.x + w + 1, b.y, b.w - w - 1, b.h};
        if (b.h - h - 1 >= 2) l->log = (struct rect){b.x, b.y + h + 1, w, b.h - h - 1};
        grid(l, right, n_plots);
        return;
    }
    for (int s = 2; s < N_SIZES; s++) { // narrow: above the plots
        if (b.w < sizes[s].w || b.h < sizes[s].h + 1 + PLOT_MIN_HEIGHT) continue;
        l->n_pictures = 1;
        l->pictures[0] =
            (struct rect){b.x + (b.w - sizes[s].w) / 2, b.y, sizes[s].w, sizes[s].h + 1};
        grid(l, (struct rect){b.x, b.y + sizes[s].h + 1, b.w, b.h - sizes[s].h - 1}, n_plots);
        return;
    }
    grid(l, b, n_plots);
}

static void layout_pictures(struct layout *l) {
    struct rect b = l->body;
    for (int s = 0; s < N_SIZES; s++) {
        int w = sizes[s].w, h = sizes[s].h;
        if (b.w >= 3 * w && b.h >= h + 1 && s < 3) {
            int used = three_pictures(l, b.x, b.y, b.w, w, h, 4);
            for (int i = 0; i < 3; i++)
                l->pictures[i].x += (b.w - used) / 2, l->pictures[i].y += (b.h - h - 1) / 2;
            return;
        }
        if (b.w < w || b.h < h + 1) continue;
        bool three_smaller = s + 1 < 3 && b.w >= 3 * sizes[s + 1].w && b.h >= sizes[s + 1].h + 1;
        if (three_smaller) continue; // side by side beats one large one
        l->n_pictures = 1;
        l->pictures[0] = (struct rect){b.x + (b.w - w) / 2, b.y + (b.h - h - 1) / 2, w, h + 1};
        return;
    }
}

// Two strips of 20:9 thumbnails, one column apart, as many as fit.
static void thumbs(struct layout *l, struct rect area) {
    int h = area.h / 2, w = h * 20 / 9;
    if (h < 3 || area.w < w) return;
    int n = (area.w + 1) / (w + 1);
    if (n > LAYOUT_THUMBS) n = LAYOUT_THUMBS;
    l->n_thumbs = n;
    int x0 = area.x + (area.w - n * w - (n - 1)) / 2;
    for (int i = 0; i < n; i++) {
        l->truth[i] = (struct rect){x0 + i * (w + 1), area.y, w, h};
        l->dream[i] = (struct rect){x0 + i * (w + 1), area.y + h, w, h};
    }
}

static void layout_rollout(struct layout *l) {
    struct rect b = l->body;
    int top = 0;
    for (int s = 0; s < N_SIZES && !top; s++) {
        int w = sizes[s].w, h = sizes[s].h;
        if (s < 3 && b.w >= 3 * w && b.h >= h + 1 + (s < 2 ? 15 : 3)) {
            int used = three_pictures(l, b.x, b.y, b.w, w, h, 4);
            for (int i = 0; i < 3; i++) l->pictures[i].x += (b.w - used) / 2;
            top = h + 1;
        } else if (b.w >= w && b.w < 3 * w && b.h >= h + 1 + 1 &&
                   (s == N_SIZES - 1 || b.w < 3 * sizes[s + 1].w || s + 1 == 3)) {
            // One picture: truth and dream share it left and right where two fit.
            int n = b.w >= 2 * w ? 2 : 1;
            l->n_pictures = n;
            for (int i = 0; i < n; i++)
                l->pictures[i] = (struct rect){b.x + (b.w - n * w) / 2 + i * w, b.y, w, h + 1};
            top = h + 1;
        }
    }
    struct rect rest = {b.x, b.y + top, b.w, b.h - top};
    int strip = (rest.h - 6) / 2; // rows of a strip; the bars get the rest, at least 6
    if (strip < 3) strip = 0;
    if (strip > 9) strip = 9;
    l->errors =
        (struct rect){rest.x, rest.y, rest.w, rest.h - 2 * strip < 10 ? rest.h - 2 * strip : 10};
    thumbs(l, (struct rect){rest.x, rest.y + l->errors.h, rest.w, 2 * strip});
}

struct layout layout_make(enum layout_kind kind, int width, int height, int n_plots) {
    struct layout l;
    memset(&l, 0, sizeof l);
    if (width < LAYOUT_MIN_WIDTH || height < LAYOUT_MIN_HEIGHT) {
        l.too_small = true;
        return l;
    }
    if (n_plots > LAYOUT_PLOTS) n_plots = LAYOUT_PLOTS;
    int stats = height >= 20 ? 2 : 1;
    l.header = (struct rect){0, 0, width, 1};
    l.stats = (struct rect){0, 1, width, stats};
    l.footer = (struct rect){0, height - 1, width, 1};
    l.body = (struct rect){0, 1 + stats, width, height - 2 - stats};
    if (kind == LAYOUT_RUN) layout_run(&l, n_plots);
    if (kind == LAYOUT_PLOTS_ONLY) grid(&l, l.body, n_plots);
    if (kind == LAYOUT_PICTURES_ONLY) layout_pictures(&l);
    if (kind == LAYOUT_ROLLOUT) layout_rollout(&l);
    if (kind == LAYOUT_LOG_ONLY) l.log = l.body;
    return l;
}
