// View: state, refresh, and the composition of a screen from its parts.
#include "ui/view.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"

// clang-format off
#define PANEL(name, in, n, ...) .plot = {.title = name, .unit = in, .n_series = n, .series = __VA_ARGS__}
#define A_POLICY_LEARNS .n_needs = 2, .needs = {METRIC_ACTION_ENTROPY, METRIC_ENTROPY}
const struct view_panel view_panels[VIEW_PANELS] = {
    {PANEL("success", "share", 2, {{METRIC_SUCCESS_RATE, "playing"}, {METRIC_EVAL_SUCCESS_RATE, "evaluated"}},
           .from_zero = true), A_POLICY_LEARNS},
    {PANEL("episode return", "", 1, {{METRIC_RETURN_MEAN, "mean"}}), A_POLICY_LEARNS},
    {PANEL("world-model loss", "nats", 2, {{METRIC_LOSS_MODEL, "total"}, {METRIC_OBS_NLL, "observation"}},
           .log_y = true), .early = true},
    {PANEL("policy entropy", "nats", 2, {{METRIC_ACTION_ENTROPY, "dream"}, {METRIC_ENTROPY, "rollout"}},
           .from_zero = true)},
    {PANEL("KL", "nats", 2, {{METRIC_KL_DYN, "raw"}, {METRIC_KL_TOTAL, "loss"}}), .early = true},
    {PANEL("entropy", "nats", 2, {{METRIC_PRIOR_ENTROPY, "prior"}, {METRIC_POSTERIOR_ENTROPY, "posterior"}}),
     .early = true},
    {PANEL("actor loss", "", 1, {{METRIC_LOSS_ACTOR, "dream"}})},
    {PANEL("critic loss", "", 1, {{METRIC_LOSS_CRITIC, "both terms"}})},
    {PANEL("policy loss", "", 1, {{METRIC_LOSS_POLICY, "clipped"}})},
    {PANEL("value loss", "", 1, {{METRIC_LOSS_VALUE, "squared error"}}, .log_y = true)},
    {PANEL("returns in the dream", "", 3,
           {{METRIC_RET_P05, "5 %"}, {METRIC_RET_P95, "95 %"}, {METRIC_VALUE_MEAN, "value"}}),
     .n_needs = 1, .needs = {METRIC_RET_P05}},
    {PANEL("episode length", "steps", 1, {{METRIC_LENGTH_MEAN, "mean"}}, .from_zero = true), A_POLICY_LEARNS},
    {PANEL("distance to the goal", "", 3,
           {{METRIC_DIST_P10, "10 %"}, {METRIC_DIST_P50, "50 %"}, {METRIC_DIST_P90, "90 %"}}, .from_zero = true)},
    {PANEL("reward and continue loss", "nats", 2, {{METRIC_REWARD_NLL, "reward"}, {METRIC_CONTINUE_NLL, "continue"}},
           .log_y = true), .early = true},
    {PANEL("posterior / prior entropy", "", 1, {{METRIC_ENTROPY_RATIO, "ratio"}}, .band_low = 0.7f, .band_high = 1.3f),
     .early = true},
    {PANEL("gradient norm", "", 4,
           {{METRIC_GRAD_NORM_MODEL, "world model"}, {METRIC_GRAD_NORM_ACTOR, "actor"},
            {METRIC_GRAD_NORM_CRITIC, "critic"}, {METRIC_GRAD_NORM, "agent"}}, .log_y = true), .early = true},
    {PANEL("step / weights", "", 3,
           {{METRIC_UPDATE_RATIO_MODEL, "world model"}, {METRIC_UPDATE_RATIO_ACTOR, "actor"},
            {METRIC_UPDATE_RATIO_CRITIC, "critic"}}, .log_y = true)},
    {PANEL("divergence of an update", "nats", 2, {{METRIC_APPROX_KL, "old - new"}, {METRIC_KL_K3, "k3"}})},
    {PANEL("clipped samples", "share", 1, {{METRIC_CLIPFRAC, "clipped"}}, .from_zero = true)},
    {PANEL("explained variance", "", 1, {{METRIC_EXPLAINED_VARIANCE, "of the returns"}})},
    {PANEL("value of the rollout", "", 2, {{METRIC_VALUE_MEAN, "mean"}, {METRIC_VALUE_STD, "deviation"}}),
     .n_needs = 1, .needs = {METRIC_EXPLAINED_VARIANCE}},
    {PANEL("latent classes drawn", "share", 1, {{METRIC_LATENT_CLASSES, "drawn"}}, .from_zero = true)},
    {PANEL("speed", "1/s", 2, {{METRIC_SPS, "env steps"}, {METRIC_TRAIN_SPS, "updates"}}, .log_y = true,
           .from_zero = true), .early = true},
    {PANEL("one update", "ms", 2, {{METRIC_UPDATE_MS, "update"}, {METRIC_SAMPLE_MS, "sampling"}}, .log_y = true,
           .from_zero = true), .early = true},
};
// clang-format on

static bool any_known(const struct view *v, const enum metric *metrics, int n) {
    for (int i = 0; i < n; i++)
        if (curves_known(v->curves, metrics[i])) return true;
    return false;
}

static bool belongs_here(const struct view *v, const struct view_panel *p) {
    if (curves_count(v->curves) == 0) return p->early;
    bool measured = false;
    for (int i = 0; i < p->plot.n_series; i++)
        measured |= curves_known(v->curves, p->plot.series[i].metric);
    return measured && (p->n_needs == 0 || any_known(v, p->needs, p->n_needs));
}

// The focus stays on its plot, or goes to the nearest one before it.
static void choose_panels(struct view *v) {
    int n = 0;
    for (int i = 0; i < VIEW_PANELS; i++)
        if (belongs_here(v, &view_panels[i])) v->shown[n++] = i;
    if (n != v->n_shown) v->dirty = true;
    v->n_shown = n;
    if (n) v->panel = v->shown[view_panel_position(v)];
}

int view_panel_position(const struct view *v) {
    int at = 0;
    while (at + 1 < v->n_shown && v->shown[at + 1] <= v->panel) at++;
    return at;
}

void view_init(struct view *v, struct feed *feed) {
    memset(v, 0, sizeof *v);
    v->feed = feed;
    v->curves = curves_new(feed);
    v->plotter = plotter_new();
    v->focus = FOCUS_PLOTS;
    v->whole = v->follow = true;
    v->crosshair = -1;
    v->smoothing = 2; // 0.9; the raw band stays visible behind it
    v->dirty = true;
    v->frame = FEED_CONTEXT; // the first imagined one
    for (int i = 0; i < VIEW_PANELS; i++) v->log_y[i] = view_panels[i].plot.log_y;
    choose_panels(v);
}

void view_deinit(struct view *v) {
    curves_free(v->curves);
    plotter_free(v->plotter);
    free(v->pictures);
    memset(v, 0, sizeof *v);
}

void view_notice(struct view *v, bool bad, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    vsnprintf(v->notice, sizeof v->notice, format, ap);
    va_end(ap);
    v->notice_bad = bad;
    v->notice_until_s = v->now_s + (bad ? 6 : 3);
    v->dirty = true;
}

static bool same_status(const struct feed_status *a, const struct feed_status *b) {
    return a->phase == b->phase && a->opt_steps == b->opt_steps && a->env_steps == b->env_steps &&
           a->replay_rows == b->replay_rows && !strcmp(a->message, b->message);
}

// Five pictures a second at most: a new one changes nearly every cell, and writing those is the
// dearest part of a screen.
static void take_pictures(struct view *v) {
    if (v->pictures && v->now_s - v->pictures_s < 0.2) return;
    const struct feed_pictures *p = feed_pictures(v->feed);
    if (!p || (v->pictures && v->pictures->opt_steps == p->opt_steps &&
               v->pictures->env_steps == p->env_steps))
        return;
    if (!v->pictures) v->pictures = mem_alloc(sizeof *v->pictures);
    memcpy(v->pictures, p, sizeof *p);
    v->pictures_s = v->now_s;
    if (v->pictures->n_rollout > FEED_ROLLOUT) v->pictures->n_rollout = FEED_ROLLOUT;
    if (v->pictures->n_rollout > 0 && v->frame >= v->pictures->n_rollout)
        v->frame = v->pictures->n_rollout - 1;
    v->dirty = true;
}

// The stretch of x in use: the whole run, or a width that follows the newest step, or where the
// user left it.
static void update_window(struct view *v) {
    if (v->n_records == 0) {
        v->x_low = 0, v->x_high = 1;
        return;
    }
    double first = curves_x(v->curves, v->axis, 0),
           last = curves_x(v->curves, v->axis, v->n_records - 1);
    if (last <= first) last = first + 1;
    if (v->whole) {
        v->x_low = first, v->x_high = last;
    } else if (v->follow) {
        v->x_low += last - v->x_high;
        v->x_high = last;
        if (v->x_low < first) v->x_low = first;
    }
}

void view_refresh(struct view *v, double now_s) {
    v->now_s = now_s;
    const struct feed_status *s = feed_status(v->feed);
    int64_t n_log = log_count();
    if (n_log != v->n_log) v->dirty = true;
    if (v->log_scroll > 0) v->log_scroll += (int)(n_log - v->n_log); // a scrolled log stands still
    v->n_log = n_log;
    if (v->notice[0] && now_s >= v->notice_until_s) {
        v->notice[0] = 0;
        v->dirty = true;
    }
    if (s->opt_steps != v->live_steps) v->dirty = true;
    v->live_steps = s->opt_steps;
    bool phase_changed = s->phase != v->status.phase;
    if (v->frozen) {
        if (phase_changed) v->dirty = true;
        v->status.phase = s->phase; // never hide that a run failed or stopped
    } else {
        if (!same_status(s, &v->status)) v->dirty = true;
        v->status = *s;
        curves_update(v->curves);
        if (curves_count(v->curves) != v->n_records) v->dirty = true;
        v->n_records = curves_count(v->curves);
        choose_panels(v);
        take_pictures(v);
        time_t now = time(NULL);
        struct tm local;
        localtime_r(&now, &local);
        v->clock_at_0_s = local.tm_hour * 3600 + local.tm_min * 60 + local.tm_sec - s->elapsed_s;
        while (v->clock_at_0_s < 0) v->clock_at_0_s += 86400;
        update_window(v);
    }
    if (v->playing && v->page == PAGE_ROLLOUT && v->pictures && v->pictures->n_rollout &&
        now_s - v->played_s >= 0.2) {
        v->frame = (v->frame + 1) % v->pictures->n_rollout;
        v->played_s = now_s;
        v->dirty = true;
    }
}

bool view_log_matches(const struct view *v, const struct log_line *line) {
    if (line->level < v->log_level) return false;
    if (!v->log_filter[0]) return true;
    char words[sizeof v->log_filter];
    snprintf(words, sizeof words, "%s", v->log_filter);
    char *save = NULL;
    for (char *w = strtok_r(words, "|", &save); w; w = strtok_r(NULL, "|", &save))
        if (strstr(line->text, w)) return true;
    return false;
}

enum key_context view_context(const struct view *v) {
    if (v->page == PAGE_ROLLOUT) return KEYS_ROLLOUT;
    if (v->page == PAGE_LOG) return KEYS_LOG;
    if (v->page == PAGE_TIME) return KEYS_TIME;
    if (v->page == PAGE_CURVES) return KEYS_PLOT;
    return v->focus == FOCUS_PICTURES ? KEYS_PICTURE : v->focus == FOCUS_LOG ? KEYS_LOG : KEYS_PLOT;
}

struct layout view_layout(const struct view *v, int width, int height) {
    enum layout_kind kind = LAYOUT_RUN;
    int panels = v->n_shown;
    if (v->page == PAGE_ROLLOUT)
        kind = LAYOUT_ROLLOUT;
    else if (v->page == PAGE_LOG)
        kind = LAYOUT_LOG_ONLY;
    else if (v->page == PAGE_TIME)
        kind = LAYOUT_TABLE;
    else if (v->page == PAGE_CURVES)
        kind = LAYOUT_PLOTS_ONLY;
    if (v->maximised && (kind == LAYOUT_RUN || kind == LAYOUT_PLOTS_ONLY)) {
        enum view_focus focus = kind == LAYOUT_PLOTS_ONLY ? FOCUS_PLOTS : v->focus;
        kind = focus == FOCUS_PICTURES ? LAYOUT_PICTURES_ONLY
               : focus == FOCUS_LOG    ? LAYOUT_LOG_ONLY
                                       : LAYOUT_PLOTS_ONLY;
        panels = 1;
    }
    return layout_make(kind, width, height, panels);
}

static void draw_too_small(struct canvas *c) {
    canvas_clear(c);
    char text[96];
    snprintf(text, sizeof text, "terminal too small: needs %dx%d, is %dx%d", LAYOUT_MIN_WIDTH,
             LAYOUT_MIN_HEIGHT, c->width, c->height);
    if (c->width * c->height < 48)
        snprintf(text, sizeof text, "needs %dx%d", LAYOUT_MIN_WIDTH, LAYOUT_MIN_HEIGHT);
    canvas_paragraph(c, (struct rect){0, 0, c->width, c->height}, style(ROLE_WARN), text);
}

static void draw_picture(const struct view *v, struct canvas *c, struct rect r, int which) {
    static const char *const names[2][3] = {{"real", "reconstruction", "error"},
                                            {"real", "goal", "difference"}};
    const bool goal = v->pictures && v->pictures->shows_goal;
    bool focused = v->focus == FOCUS_PICTURES && v->page == PAGE_RUN;
    struct style name = style_on(focused ? ROLE_FOCUS : ROLE_TITLE, ROLE_DEFAULT, ATTR_BOLD);
    int x = r.x + canvas_printf(c, (struct rect){r.x, r.y, r.w, 1}, name, "%s%s ",
                                focused && which == 0 ? "\u25B8" : " ", names[goal][which]);
    struct rect rest = {x, r.y, r.x + r.w - x, 1}, body = {r.x, r.y + 1, r.w, r.h - 1};
    const struct feed_pictures *p = v->pictures;
    if (!p) {
        canvas_fill(c, body, 0x00B7, style(ROLE_FAINT));
        const char *wait = "waiting for the first picture";
        int w = canvas_text_width(wait) + 2 < r.w ? canvas_text_width(wait) + 2 : r.w;
        canvas_printf(c, (struct rect){r.x + (r.w - w) / 2, r.y + r.h / 2, w, 1}, style(ROLE_DIM),
                      " %s ", wait);
        return;
    }
    char count[32];
    view_format_count(p->opt_steps, count);
    if (which == 0) canvas_printf(c, rest, style(ROLE_DIM), "at step %s", count);
    if (which == 1)
        canvas_text(c, rest, style(ROLE_DIM), goal ? "to be reached" : "from the posterior");
    if (which == 2) {
        x += canvas_printf(c, rest, style(ROLE_VALUE), "%.3f shades ", (double)p->error_shades);
        if (r.x + r.w - x >= 15) picture_legend(c, r.x + r.w - 14, r.y, 14, v->palette);
    }
    const uint8_t *pixels[3] = {p->real, p->reconstruction, p->error};
    picture_draw(c, body, pixels[which], which == 2 ? PICTURE_ERROR : PICTURE_SHADES, v->palette);
}

// Only the curves that this run has; all of them while it has none.
static struct plot_panel known_part(const struct view *v, const struct plot_panel *panel) {
    struct plot_panel part = *panel;
    int n = 0;
    for (int i = 0; i < panel->n_series; i++)
        if (curves_known(v->curves, panel->series[i].metric)) part.series[n++] = panel->series[i];
    if (n) part.n_series = n;
    return part;
}

static void draw_plots(const struct view *v, struct canvas *c, const struct layout *l) {
    bool plots_focused = v->focus == FOCUS_PLOTS || v->page == PAGE_CURVES;
    int first = 0, focused = view_panel_position(v); // scroll so that the focused panel is there
    if (plots_focused && focused >= l->n_plots) first = focused - l->n_plots + 1;
    for (int i = 0; i < l->n_plots && first + i < v->n_shown; i++) {
        int panel = v->shown[first + i];
        struct plot_look look = {.log_y = v->log_y[panel],
                                 .focused = plots_focused && panel == v->panel,
                                 .glyphs = v->glyphs,
                                 .axis = v->axis,
                                 .x_low = v->x_low,
                                 .x_high = v->x_high,
                                 .n_records = v->n_records,
                                 .crosshair = v->crosshair,
                                 .smoothing = v->smoothing,
                                 .clock_at_0_s = v->clock_at_0_s};
        struct plot_panel part = known_part(v, &view_panels[panel].plot);
        plot_draw(v->plotter, c, l->plots[i], &part, &look, v->curves);
    }
}

void view_draw(struct view *v, struct canvas *c) {
    canvas_clear(c);
    struct layout l = view_layout(v, c->width, c->height);
    if (l.too_small) {
        draw_too_small(c);
        return;
    }
    view_draw_header(v, c, l.header);
    if (v->help) {
        view_draw_help(v, c);
        return;
    }
    view_draw_stats(v, c, l.stats);
    if (v->page == PAGE_TIME) view_draw_time(v, c, l.body);
    if (v->page == PAGE_ROLLOUT)
        view_draw_rollout(v, c, &l);
    else
        for (int i = 0; i < l.n_pictures; i++)
            draw_picture(v, c, l.pictures[i], l.n_pictures == 1 ? v->picture : i);
    draw_plots(v, c, &l);
    if (l.log.h) view_draw_log(v, c, l.log);
    view_draw_footer(v, c, l.footer);
}
