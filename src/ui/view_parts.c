// View parts: header, statistics, footer, log pane, help screen.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ui/view.h"

void view_format_count(int64_t n, char out[32]) {
    char digits[32];
    int length = snprintf(digits, sizeof digits, "%lld", (long long)(n < 0 ? -n : n)), k = 0;
    if (n < 0) out[k++] = '-';
    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0) out[k++] = ',';
        out[k++] = digits[i];
    }
    out[k] = 0;
}

// ---- header

static enum role phase_role(enum feed_phase phase) {
    switch (phase) {
    case PHASE_TRAINING:
        return ROLE_GOOD_BG;
    case PHASE_PAUSED:
        return ROLE_WARN_BG;
    case PHASE_FAILED:
        return ROLE_BAD_BG;
    case PHASE_STARTING:
    case PHASE_PREFILL:
    case PHASE_DONE:
        break;
    }
    return ROLE_INFO_BG;
}

// Right to left; returns the columns still free at the left.
static int badge(struct canvas *c, struct rect r, int right, enum role background,
                 const char *text) {
    char padded[128];
    snprintf(padded, sizeof padded, " %s ", text);
    int width = canvas_text_width(padded);
    if (right - width < r.x) return right;
    canvas_text(c, (struct rect){right - width, r.y, width, 1},
                style_on(ROLE_ON_BADGE, background, ATTR_BOLD), padded);
    return right - width - 1;
}

_Static_assert(ACTION_PAGE_TIME - ACTION_PAGE_RUN == (int)PAGE_TIME, "pages in their keys' order");

// The pages with their keys, the shown one marked; all or none. Where they begin.
static int draw_pages(const struct view *v, struct canvas *c, int y, int left, int right) {
    int width = 1;
    for (int i = 0; i < VIEW_PAGES; i++)
        width += 3 + canvas_text_width(keys_table[ACTION_PAGE_RUN + i].label);
    if (right - width < left + 2) return right;
    int x = right - width;
    for (int i = 0; i < VIEW_PAGES; i++) {
        const char *name = keys_table[ACTION_PAGE_RUN + i].label;
        const bool shown = (int)v->page == i;
        x += canvas_printf(
            c, (struct rect){x, y, right - x, 1},
            style_on(shown ? ROLE_KEY : ROLE_BAR_DIM, ROLE_BAR, shown ? ATTR_BOLD : 0), "%s%d %s",
            shown ? "\u25B8" : " ", i + 1, name);
    }
    return right - width;
}

void view_draw_header(const struct view *v, struct canvas *c, struct rect r) {
    const struct feed_status *s = &v->status;
    canvas_fill(c, r, ' ', style_on(ROLE_BAR_TEXT, ROLE_BAR, 0));
    char text[128], count[32];
    int right = r.x + r.w;
    snprintf(text, sizeof text, "%s",
             v->stopping && s->phase < PHASE_DONE ? "stopping"
             : s->phase == PHASE_PAUSED           ? "training paused"
                                                  : feed_phase_names[s->phase]);
    right = badge(c, r, right, phase_role(s->phase), text);
    if (v->frozen) {
        view_format_count(v->live_steps - s->opt_steps, count);
        snprintf(text, sizeof text, "PAUSED, %s steps behind", count);
        if (r.w < 60) snprintf(text, sizeof text, "PAUSED, -%s", count);
        right = badge(c, r, right, ROLE_WARN_BG, text);
    }
    int x = r.x + 1;
    x += canvas_text(c, (struct rect){x, r.y, right - x, 1},
                     style_on(ROLE_BAR_TEXT, ROLE_BAR, ATTR_BOLD), "workbench");
    const char *const parts[] = {s->algo, s->task, s->mode, s->preset, s->device};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (!*parts[i]) continue;
        int width = canvas_text_width(parts[i]) + 3;
        if (x + width > right) continue;
        canvas_text(c, (struct rect){x, r.y, 3, 1}, style_on(ROLE_BAR_DIM, ROLE_BAR, 0),
                    i ? " \u00B7 " : "   ");
        canvas_text(c, (struct rect){x + 3, r.y, width - 3, 1},
                    style_on(ROLE_BAR_TEXT, ROLE_BAR, 0), parts[i]);
        x += width;
    }
    right = draw_pages(v, c, r.y, x, right);
    int width = canvas_text_width(s->session);
    if (width && x + width + 4 <= right)
        canvas_text_right(c, (struct rect){x + 2, r.y, right - x - 2, 1},
                          style_on(ROLE_BAR_DIM, ROLE_BAR, 0), s->session);
}

// ---- statistics: label, value, optional gauge; what doesn't fit is left out, least important last

struct chip {
    char label[24], value[64];
    double gauge;
}; // gauge: 0..1, negative for none

static int draw_chip(struct canvas *c, struct rect r, int x, const struct chip *chip) {
    int gauge = chip->gauge >= 0 ? 9 : 0;
    int width = canvas_text_width(chip->label) + 1 + canvas_text_width(chip->value) + gauge;
    int start = x == r.x ? x + 1 : x + 3;
    if (start + width > r.x + r.w) return x;
    x = start +
        canvas_text(c, (struct rect){start, r.y, width, 1}, style(ROLE_LABEL), chip->label) + 1;
    x += canvas_text(c, (struct rect){x, r.y, width, 1},
                     style_on(ROLE_VALUE, ROLE_DEFAULT, ATTR_BOLD), chip->value);
    if (gauge) {
        int full = (int)lrint(fmin(chip->gauge, 1) * 8);
        for (int i = 0; i < 8; i++)
            canvas_put(c, x + 1 + i, r.y, i < full ? 0x2588 : 0x2591,
                       style(i < full ? ROLE_GAUGE : ROLE_GAUGE_REST));
        x += gauge;
    }
    return x;
}

static void row_of_chips(struct canvas *c, struct rect r, const struct chip *chips, int n) {
    int x = r.x;
    for (int i = 0; i < n; i++) x = draw_chip(c, r, x, &chips[i]);
}

static void format_rate(double v, char *out, size_t size) {
    if (!(v > 0))
        snprintf(out, size, "-");
    else
        snprintf(out, size, v < 10 ? "%.2f" : v < 100 ? "%.1f" : "%.0f", v);
}

static struct chip chip(const char *label, double gauge) {
    struct chip k = {.gauge = gauge};
    snprintf(k.label, sizeof k.label, "%s", label);
    return k;
}

static struct chip chip_count(const char *label, int64_t n) {
    struct chip k = chip(label, -1);
    view_format_count(n, k.value);
    return k;
}

static struct chip chip_time(const char *label, double seconds) {
    struct chip k = chip(label, -1);
    plot_format_time(seconds, k.value);
    return k;
}

static struct chip chip_rate(const char *label, double v) {
    struct chip k = chip(label, -1);
    format_rate(v, k.value, sizeof k.value);
    return k;
}

static double newest(const struct view *v, int metric) {
    for (int64_t i = v->n_records - 1, k = 0; i >= 0 && k < 64; i--, k++)
        if (curves_measured(v->curves, metric, i)) return curves_value(v->curves, metric, i);
    return NAN;
}

static void first_row(const struct view *v, struct canvas *c, struct rect r) {
    const struct feed_status *s = &v->status;
    struct chip chips[6];
    int n = 0;
    chips[n] = chip("step", -1);
    char done[32], all[32];
    view_format_count(s->opt_steps, done);
    view_format_count(s->target_opt_steps, all);
    if (s->target_opt_steps > 0) {
        chips[n].gauge = (double)s->opt_steps / (double)s->target_opt_steps;
        snprintf(chips[n].value, sizeof chips[n].value, "%s/%s", done, all);
    } else
        snprintf(chips[n].value, sizeof chips[n].value, "%s", done);
    n++;
    chips[n++] = chip_rate("updates/s", s->train_sps);
    chips[n++] = chip_rate("env steps/s", s->sps);
    chips[n++] = chip_time("elapsed", s->elapsed_s);
    int64_t left = s->target_opt_steps - s->opt_steps;
    if (left > 0 && s->train_sps > 0 && s->phase == PHASE_TRAINING)
        chips[n++] = chip_time("left", (double)left / s->train_sps);
    chips[n++] = chip_count("env steps", s->env_steps);
    row_of_chips(c, r, chips, n);
}

static struct chip chip_ratio(const struct view *v) {
    const double ratio = newest(v, METRIC_REPLAY_RATIO), target = v->status.replay_ratio_target;
    struct chip c = chip("ratio", -1);
    if (isnan(ratio))
        snprintf(c.value, sizeof c.value, "-/%.3g", target);
    else
        snprintf(c.value, sizeof c.value, "%.3f/%.3g", ratio, target);
    return c;
}

static void second_row(const struct view *v, struct canvas *c, struct rect r) {
    const struct feed_status *s = &v->status;
    struct chip chips[6];
    int n = 0;
    char a[32], b[32];
    view_format_count(s->replay_rows, a);
    view_format_count(s->replay_capacity, b);
    chips[n] =
        chip(s->no_replay ? "rollout" : "replay",
             s->replay_capacity > 0 ? (double)s->replay_rows / (double)s->replay_capacity : -1);
    snprintf(chips[n].value, sizeof chips[n].value, "%s/%s", a, b);
    n++;
    if (!s->no_replay) chips[n++] = chip_ratio(v);
    if (v->smoothing) {
        chips[n] = chip("smoothing", -1);
        snprintf(chips[n].value, sizeof chips[n].value, "%g",
                 (double)curves_smoothing[v->smoothing]);
        n++;
    }
    if (s->n_weights > 0) {
        chips[n] = chip("weights", -1);
        plot_format((double)s->n_weights, chips[n].value);
        n++;
    }
    chips[n] = chip("threads", -1);
    snprintf(chips[n].value, sizeof chips[n].value, "%d", s->n_threads);
    n++;
    row_of_chips(c, r, chips, n);
}

void view_draw_stats(const struct view *v, struct canvas *c, struct rect r) {
    const struct feed_status *s = &v->status;
    struct rect row = {r.x, r.y, r.w, 1}, last = {r.x, r.y + r.h - 1, r.w, 1};
    bool failed = s->phase == PHASE_FAILED;
    if (!*s->message || r.h > 1) first_row(v, c, row);
    if (*s->message) {
        struct style look =
            failed ? style_on(ROLE_ON_BADGE, ROLE_BAD_BG, ATTR_BOLD) : style(ROLE_WARN);
        if (failed) canvas_fill(c, last, ' ', look);
        canvas_printf(c, (struct rect){last.x + 1, last.y, last.w - 2, 1}, look, "%s%s",
                      failed ? "failed: " : "", s->message);
    } else if (r.h > 1)
        second_row(v, c, last);
}

// ---- footer

static void draw_prompt(const struct view *v, struct canvas *c, struct rect r) {
    struct style look = style_on(ROLE_BAR_TEXT, ROLE_BAR, 0);
    int x = r.x + canvas_text(c, r, style_on(ROLE_KEY, ROLE_BAR, ATTR_BOLD),
                              v->prompt == PROMPT_FILTER ? " filter: " : " :");
    const char *text = v->prompt_text; // its end stays visible
    while (canvas_text_width(text) > r.x + r.w - x - 1 && *text) utf8_next(&text);
    x += canvas_text(c, (struct rect){x, r.y, r.x + r.w - x - 1, 1}, look, text);
    canvas_put(c, x, r.y, ' ', style_on(ROLE_BAR_TEXT, ROLE_BAR, ATTR_REVERSE));
}

void view_draw_footer(const struct view *v, struct canvas *c, struct rect r) {
    canvas_fill(c, r, ' ', style_on(ROLE_BAR_TEXT, ROLE_BAR, 0));
    if (v->prompt) {
        draw_prompt(v, c, r);
        return;
    }
    if (v->stopping && v->status.phase < PHASE_DONE) {
        canvas_text(c, (struct rect){r.x + 1, r.y, r.w - 2, 1},
                    style_on(ROLE_WARN, ROLE_BAR, ATTR_BOLD),
                    "stopping: the run writes its checkpoint and ends; q again leaves at once");
        return;
    }
    if (v->notice[0]) {
        canvas_text(c, (struct rect){r.x + 1, r.y, r.w - 2, 1},
                    style_on(v->notice_bad ? ROLE_BAD : ROLE_BAR_TEXT, ROLE_BAR, ATTR_BOLD),
                    v->notice);
        return;
    }
    enum action actions[ACTION_COUNT];
    size_t n = keys_footer(view_context(v), actions);
    int x = r.x + 1;
    for (size_t i = 0; i < n; i++) {
        const struct key_entry *k = &keys_table[actions[i]];
        const char *label = k->label;
        if (actions[i] == ACTION_TRAIN_PAUSE && v->status.phase == PHASE_PAUSED) label = "resume";
        if (actions[i] == ACTION_FREEZE && v->frozen) label = "unfreeze";
        int width = canvas_text_width(k->shown) + 1 + canvas_text_width(label);
        if (x + width > r.x + r.w) continue;
        x += canvas_text(c, (struct rect){x, r.y, width, 1},
                         style_on(ROLE_KEY, ROLE_BAR, ATTR_BOLD), k->shown) +
             1;
        x += canvas_text(c, (struct rect){x, r.y, width, 1}, style_on(ROLE_BAR_TEXT, ROLE_BAR, 0),
                         label) +
             2;
    }
}

// ---- log

static void draw_log_line(struct canvas *c, struct rect r, const struct log_line *line) {
    static const enum role roles[] = {ROLE_TEXT, ROLE_WARN, ROLE_BAD};
    char when[32];
    plot_format_time(line->time_s, when);
    canvas_text_right(c, (struct rect){r.x, r.y, 8, 1}, style(ROLE_DIM), when);
    canvas_text(c, (struct rect){r.x + 9, r.y, r.w - 9, 1},
                style(roles[line->level <= LOG_ERROR ? line->level : LOG_ERROR]), line->text);
}

void view_draw_log(const struct view *v, struct canvas *c, struct rect r) {
    bool focused = v->focus == FOCUS_LOG || v->page == PAGE_LOG;
    static const char *const levels[] = {"", " \u00B7 warnings and errors", " \u00B7 errors"};
    canvas_fill(c, (struct rect){r.x, r.y, r.w, 1}, 0x2500,
                style(focused ? ROLE_FOCUS : ROLE_FAINT));
    if (focused) canvas_put(c, r.x, r.y, 0x25B8, style(ROLE_FOCUS));
    char title[200];
    snprintf(title, sizeof title, " log%s%s%s%s ", levels[v->log_level],
             v->log_filter[0] ? " \u00B7 /" : "", v->log_filter,
             v->log_scroll ? " \u00B7 scrolled, End follows" : "");
    canvas_text(c, (struct rect){r.x + 1, r.y, r.w - 1, 1},
                style_on(focused ? ROLE_FOCUS : ROLE_TITLE, ROLE_DEFAULT, ATTR_BOLD), title);
    // Newest at the bottom; while there are few, from the top down.
    struct log_line line;
    int rows = r.h - 1, n = 0, skip = v->log_scroll;
    int64_t first = v->n_log; // the oldest line to show
    for (int64_t i = v->n_log - 1; i >= 0 && n < rows && log_read(i, &line); i--) {
        if (!view_log_matches(v, &line) || skip-- > 0) continue;
        first = i;
        n++;
    }
    int row = r.y + 1;
    for (int64_t i = first; i < v->n_log && n > 0; i++) {
        if (!log_read(i, &line) || !view_log_matches(v, &line)) continue;
        draw_log_line(c, (struct rect){r.x, row++, r.w, 1}, &line);
        n--;
    }
}

// ---- help

struct help_group {
    const char *title;
    int context;
};
static const struct help_group help_groups[] = {{"everywhere", KEYS_ALL},
                                                {"curves", KEYS_PLOT},
                                                {"pictures", KEYS_PICTURE},
                                                {"rollout", KEYS_ROLLOUT},
                                                {"log", KEYS_LOG}};
enum { N_HELP_GROUPS = 5, HELP_TWO_COLUMNS = 118 };

// Each key stands once: under the first group it belongs to.
static bool belongs(const struct key_entry *k, int group) {
    if (!*k->help || !k->contexts) return false;
    if (k->contexts == KEYS_ALL) return group == 0;
    if (group == 0 || !(k->contexts & help_groups[group].context)) return false;
    for (int before = 1; before < group; before++)
        if (k->contexts & help_groups[before].context) return false;
    return true;
}

// Draws groups [first, last) down from row y of r, scrolled; returns the row after.
static int help_column(struct canvas *c, struct rect r, int y, int first, int last) {
    int bottom = r.y + r.h;
    for (int g = first; g < last; g++, y++) {
        if (y >= r.y && y < bottom)
            canvas_text(c, (struct rect){r.x + 1, y, r.w - 1, 1},
                        style_on(ROLE_TITLE, ROLE_DEFAULT, ATTR_BOLD), help_groups[g].title);
        y++;
        for (int a = ACTION_NONE + 1; a < ACTION_COUNT; a++) {
            const struct key_entry *k = &keys_table[a];
            if (!belongs(k, g)) continue;
            if (y >= r.y && y < bottom) {
                canvas_text_right(c, (struct rect){r.x, y, 7, 1},
                                  style_on(ROLE_KEY, ROLE_DEFAULT, ATTR_BOLD), k->shown);
                canvas_text(c, (struct rect){r.x + 9, y, r.w - 9, 1}, style(ROLE_TEXT), k->help);
            }
            y++;
        }
    }
    return y;
}

void view_draw_help(const struct view *v, struct canvas *c) {
    int top = 2 - v->help_scroll, bottom = c->height - 1, end;
    if (c->width >= HELP_TWO_COLUMNS) {
        int half = c->width / 2 - 3;
        struct rect left = {1, 1, half, bottom - 1},
                    right = {c->width / 2 - 1, 1, c->width - c->width / 2, bottom - 1};
        int a = help_column(c, left, top, 0, 1), b = help_column(c, right, top, 1, N_HELP_GROUPS);
        end = a > b ? a : b;
    } else {
        end = help_column(c, (struct rect){1, 1, c->width - 2, bottom - 1}, top, 0, N_HELP_GROUPS);
    }
    struct rect foot = {0, bottom, c->width, 1};
    canvas_fill(c, foot, ' ', style_on(ROLE_BAR_TEXT, ROLE_BAR, 0));
    const char *text = end - 1 > bottom ? "\u2193 more    any other key leaves this screen"
                       : v->help_scroll ? "\u2191 back    any other key leaves this screen"
                                        : "any key leaves this screen";
    canvas_text(c, (struct rect){1, bottom, c->width - 1, 1}, style_on(ROLE_BAR_TEXT, ROLE_BAR, 0),
                text);
}
