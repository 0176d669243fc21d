// Actions: the handlers.
#include "ui/actions.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct control *control(struct view *v) { return feed_control(v->feed); }
static bool ended(const struct view *v) { return v->status.phase >= PHASE_DONE; }

// ---- the run

static void do_help(struct view *v) {
    v->help = true;
    v->help_scroll = 0;
}

static void do_quit(struct view *v) { v->quit_asked = true; }

static void do_train_pause(struct view *v) {
    if (ended(v)) {
        view_notice(v, false, "the run is over: nothing to pause");
        return;
    }
    bool pause = !control_is_paused(control(v));
    control_pause(control(v), pause);
    view_notice(v, false,
                pause ? "training paused: space resumes, u makes one update" : "training goes on");
}

static void do_single(struct view *v) {
    if (ended(v))
        view_notice(v, false, "the run is over: no more updates");
    else if (!control_is_paused(control(v)))
        view_notice(v, false, "single updates need a paused training: press space first");
    else {
        control_single_update(control(v));
        view_notice(v, false, "one update");
    }
}

static void do_checkpoint(struct view *v) {
    if (ended(v)) {
        view_notice(v, false, "the run is over: its last checkpoint is written");
        return;
    }
    control_checkpoint(control(v));
    view_notice(v, false, "checkpoint asked for; the log says when it is written");
}

static void do_freeze(struct view *v) { v->frozen = !v->frozen; }
static void do_window(struct view *v) { v->toggle_window = true; }

// ---- pages and focus

static void go_page(struct view *v, enum view_page page) {
    if (v->page != page) v->maximised = false;
    v->page = page;
}
static void do_page_run(struct view *v) { go_page(v, PAGE_RUN); }
static void do_page_rollout(struct view *v) { go_page(v, PAGE_ROLLOUT); }
static void do_page_curves(struct view *v) { go_page(v, PAGE_CURVES); }
static void do_page_time(struct view *v) { go_page(v, PAGE_TIME); }
static void do_page_log(struct view *v) { go_page(v, v->page == PAGE_LOG ? PAGE_RUN : PAGE_LOG); }

// The ring of panes: pictures, the plots one by one, log. On the curves page only plots.
static void move_focus(struct view *v, int by) {
    if (v->page == PAGE_ROLLOUT || v->page == PAGE_LOG || v->page == PAGE_TIME) return;
    int panes = v->n_shown + 2, plot = view_panel_position(v);
    int at = v->focus == FOCUS_PICTURES ? 0 : v->focus == FOCUS_LOG ? panes - 1 : plot + 1;
    if (v->page == PAGE_CURVES) {
        v->focus = FOCUS_PLOTS;
        v->panel = v->shown[(plot + by + v->n_shown) % v->n_shown];
        return;
    }
    at = (at + by + panes) % panes;
    v->focus = at == 0 ? FOCUS_PICTURES : at == panes - 1 ? FOCUS_LOG : FOCUS_PLOTS;
    if (v->focus == FOCUS_PLOTS) v->panel = v->shown[at - 1];
}
static void do_focus_next(struct view *v) { move_focus(v, 1); }
static void do_focus_back(struct view *v) { move_focus(v, -1); }
static void do_maximise(struct view *v) { v->maximised = !v->maximised; }

// ---- plots

static void do_log_y(struct view *v) {
    v->log_y[v->panel] = !v->log_y[v->panel];
    view_notice(v, false, "%s: %s y axis", view_panels[v->panel].plot.title,
                v->log_y[v->panel] ? "logarithmic" : "linear");
}

static void do_smooth(struct view *v) {
    v->smoothing = (v->smoothing + 1) % CURVES_SMOOTHINGS;
    if (v->smoothing)
        view_notice(v, false,
                    "smoothing %g (moving average of all raw values; the band behind is raw)",
                    (double)curves_smoothing[v->smoothing]);
    else
        view_notice(v, false, "smoothing off");
}

static void do_axis(struct view *v) {
    enum curves_axis next = (enum curves_axis)((v->axis + 1) % AXIS_COUNT);
    if (v->n_records > 0) { // the same records stay visible
        int64_t low = curves_find(v->curves, v->axis, v->x_low, v->n_records);
        int64_t high = curves_find(v->curves, v->axis, v->x_high, v->n_records);
        if (low >= v->n_records) low = v->n_records - 1;
        if (high >= v->n_records) high = v->n_records - 1;
        v->x_low = curves_x(v->curves, next, low);
        v->x_high = curves_x(v->curves, next, high);
        if (v->x_high <= v->x_low) v->x_high = v->x_low + 1;
    }
    v->axis = next;
    view_notice(v, false, "x axis: %s", curves_axis_names[next]);
}

static bool x_limits(const struct view *v, double *first, double *last) {
    if (v->n_records == 0) return false;
    *first = curves_x(v->curves, v->axis, 0);
    *last = curves_x(v->curves, v->axis, v->n_records - 1);
    if (*last <= *first) *last = *first + 1;
    return true;
}

// Clamps the stretch into the run, keeping its width where that fits.
static void set_stretch(struct view *v, double low, double high) {
    double first, last;
    if (!x_limits(v, &first, &last)) return;
    double least = 8 * (last - first) / (double)(v->n_records > 8 ? v->n_records : 8),
           width = fmax(high - low, least);
    if (width >= (last - first) * 0.999) {
        v->whole = v->follow = true;
        v->x_low = first, v->x_high = last;
        return;
    }
    double middle = (low + high) / 2;
    low = fmin(fmax(middle - width / 2, first), last - width);
    v->whole = false;
    v->x_low = low;
    v->x_high = low + width;
    v->follow = v->x_high >= last - width * 1e-9;
}

static void zoom(struct view *v, double factor) {
    double width = (v->x_high - v->x_low) * factor, middle = (v->x_low + v->x_high) / 2;
    if (v->crosshair >= 0)
        middle = curves_x(v->curves, v->axis, v->crosshair);
    else if (v->follow)
        middle = v->x_high - width / 2;
    set_stretch(v, middle - width / 2, middle + width / 2);
}
static void do_zoom_in(struct view *v) { zoom(v, 0.5); }
static void do_zoom_out(struct view *v) { zoom(v, 2); }

static void pan(struct view *v, double share) {
    double by = (v->x_high - v->x_low) * share;
    set_stretch(v, v->x_low + by, v->x_high + by);
}
static void do_pan_left(struct view *v) { pan(v, -0.25); }
static void do_pan_right(struct view *v) { pan(v, 0.25); }

static void point_at(struct view *v, int64_t record) {
    v->crosshair = record;
    double x = curves_x(v->curves, v->axis, record), width = v->x_high - v->x_low;
    if (x < v->x_low || x > v->x_high) set_stretch(v, x - width / 2, x + width / 2);
    char step[32];
    view_format_count((int64_t)curves_x(v->curves, AXIS_STEP, record), step);
    view_notice(v, false, "values at step %s; End follows the newest again", step);
}

// About a hundredth of the visible stretch, at least one record.
static void move_crosshair(struct view *v, int direction) {
    if (v->n_records == 0) return;
    int64_t at = v->crosshair;
    if (at < 0) {
        at = curves_find(v->curves, v->axis, v->x_high, v->n_records);
        if (at >= v->n_records) at = v->n_records - 1;
        point_at(v, at);
        return;
    }
    double x = curves_x(v->curves, v->axis, at), by = (v->x_high - v->x_low) / 100;
    int64_t to = curves_find(v->curves, v->axis, x + direction * by, v->n_records);
    if (to == at) to = at + direction;
    if (to < 0) to = 0;
    if (to >= v->n_records) to = v->n_records - 1;
    point_at(v, to);
}

static void move_frame(struct view *v, int by) {
    int n = v->pictures && v->pictures->n_rollout ? v->pictures->n_rollout : FEED_ROLLOUT;
    v->playing = false;
    v->frame = v->frame + by < 0 ? 0 : v->frame + by >= n ? n - 1 : v->frame + by;
}

static void scroll_log(struct view *v, int by) {
    v->log_scroll += by;
    int64_t most = v->n_log < LOG_LINES ? v->n_log : LOG_LINES;
    if (v->log_scroll > most - 1) v->log_scroll = most > 0 ? (int)most - 1 : 0;
    if (v->log_scroll < 0) v->log_scroll = 0;
}

static void do_left(struct view *v) {
    if (v->page == PAGE_ROLLOUT)
        move_frame(v, -1);
    else
        move_crosshair(v, -1);
}
static void do_right(struct view *v) {
    if (v->page == PAGE_ROLLOUT)
        move_frame(v, 1);
    else
        move_crosshair(v, 1);
}
static void do_up(struct view *v) {
    if (view_context(v) == KEYS_LOG)
        scroll_log(v, 1);
    else
        move_focus(v, -1);
}
static void do_down(struct view *v) {
    if (view_context(v) == KEYS_LOG)
        scroll_log(v, -1);
    else
        move_focus(v, 1);
}
static void do_page_up(struct view *v) {
    if (view_context(v) == KEYS_LOG)
        scroll_log(v, 10);
    else
        pan(v, -1);
}
static void do_page_down(struct view *v) {
    if (view_context(v) == KEYS_LOG)
        scroll_log(v, -10);
    else
        pan(v, 1);
}

static void do_home(struct view *v) {
    if (v->page == PAGE_ROLLOUT)
        move_frame(v, -FEED_ROLLOUT);
    else if (view_context(v) == KEYS_LOG)
        scroll_log(v, LOG_LINES);
    else if (v->n_records > 0) {
        double first, last;
        if (!v->whole && x_limits(v, &first, &last))
            set_stretch(v, first, first + v->x_high - v->x_low);
        point_at(v, 0);
    }
}

static void do_end(struct view *v) {
    if (v->page == PAGE_ROLLOUT)
        move_frame(v, FEED_ROLLOUT);
    else if (view_context(v) == KEYS_LOG)
        v->log_scroll = 0;
    else {
        v->crosshair = -1;
        v->follow = true;
        v->notice[0] = 0;
        double first, last;
        if (!v->whole && x_limits(v, &first, &last))
            set_stretch(v, last - (v->x_high - v->x_low), last);
    }
}

static void next_bad(struct view *v, int direction) {
    int64_t from = v->crosshair >= 0 ? v->crosshair : direction > 0 ? -1 : v->n_records;
    int64_t found = curves_next_bad(v->curves, from, direction, v->n_records);
    if (found < 0)
        view_notice(v, false, "no %s step with a NaN or infinite value",
                    direction > 0 ? "later" : "earlier");
    else
        point_at(v, found);
}
static void do_next_bad(struct view *v) { next_bad(v, 1); }
static void do_previous_bad(struct view *v) { next_bad(v, -1); }

static void do_glyphs(struct view *v) {
    v->glyphs = (enum plot_glyphs)((v->glyphs + 1) % PLOT_GLYPHS);
    view_notice(v, false, "curves drawn with %s", plot_glyph_names[v->glyphs]);
}

// ---- pictures, rollout, log

static void do_picture(struct view *v) { v->picture = (v->picture + 1) % 3; }
static void do_palette(struct view *v) {
    v->palette = (enum picture_palette)((v->palette + 1) % PALETTE_COUNT);
    view_notice(v, false, "palette: %s", picture_palette_names[v->palette]);
}
static void do_frame_back(struct view *v) { move_frame(v, -1); }
static void do_frame_on(struct view *v) { move_frame(v, 1); }
static void do_frame_back_5(struct view *v) { move_frame(v, -5); }
static void do_frame_on_5(struct view *v) { move_frame(v, 5); }
static void do_play(struct view *v) {
    v->playing = !v->playing;
    v->played_s = v->now_s;
    go_page(v, PAGE_ROLLOUT);
}
static void do_level(struct view *v) {
    v->log_level = (enum log_level)((v->log_level + 1) % (LOG_ERROR + 1));
    v->log_scroll = 0;
}
static void do_filter(struct view *v) {
    v->prompt = PROMPT_FILTER;
    snprintf(v->prompt_text, sizeof v->prompt_text, "%s", v->log_filter);
}
static void do_prompt(struct view *v) {
    v->prompt = PROMPT_COMMAND;
    v->prompt_text[0] = 0;
}
static void do_repaint(struct view *v) { v->repaint = true; }
static void do_escape(struct view *v) {
    v->notice[0] = 0;
    v->maximised = false;
    v->crosshair = -1;
}

static void (*const handlers[ACTION_COUNT])(struct view *) = {
    [ACTION_HELP] = do_help,
    [ACTION_QUIT] = do_quit,
    [ACTION_TRAIN_PAUSE] = do_train_pause,
    [ACTION_SINGLE] = do_single,
    [ACTION_CHECKPOINT] = do_checkpoint,
    [ACTION_FREEZE] = do_freeze,
    [ACTION_WINDOW] = do_window,
    [ACTION_PAGE_RUN] = do_page_run,
    [ACTION_PAGE_ROLLOUT] = do_page_rollout,
    [ACTION_PAGE_CURVES] = do_page_curves,
    [ACTION_PAGE_LOG] = do_page_log,
    [ACTION_PAGE_TIME] = do_page_time,
    [ACTION_FOCUS_NEXT] = do_focus_next,
    [ACTION_FOCUS_BACK] = do_focus_back,
    [ACTION_MAXIMISE] = do_maximise,
    [ACTION_LOG_Y] = do_log_y,
    [ACTION_SMOOTH] = do_smooth,
    [ACTION_AXIS] = do_axis,
    [ACTION_ZOOM_IN] = do_zoom_in,
    [ACTION_ZOOM_OUT] = do_zoom_out,
    [ACTION_LEFT] = do_left,
    [ACTION_RIGHT] = do_right,
    [ACTION_PAN_LEFT] = do_pan_left,
    [ACTION_PAN_RIGHT] = do_pan_right,
    [ACTION_HOME] = do_home,
    [ACTION_END] = do_end,
    [ACTION_NEXT_BAD] = do_next_bad,
    [ACTION_PREVIOUS_BAD] = do_previous_bad,
    [ACTION_GLYPHS] = do_glyphs,
    [ACTION_PICTURE] = do_picture,
    [ACTION_PALETTE] = do_palette,
    [ACTION_FRAME_BACK] = do_frame_back,
    [ACTION_FRAME_ON] = do_frame_on,
    [ACTION_FRAME_BACK_5] = do_frame_back_5,
    [ACTION_FRAME_ON_5] = do_frame_on_5,
    [ACTION_PLAY] = do_play,
    [ACTION_UP] = do_up,
    [ACTION_DOWN] = do_down,
    [ACTION_PAGE_UP] = do_page_up,
    [ACTION_PAGE_DOWN] = do_page_down,
    [ACTION_LEVEL] = do_level,
    [ACTION_FILTER] = do_filter,
    [ACTION_PROMPT] = do_prompt,
    [ACTION_REPAINT] = do_repaint,
    [ACTION_ESCAPE] = do_escape,
};

bool actions_have_handler(enum action action) { return handlers[action] != NULL; }

void actions_do(struct view *v, enum action action) {
    v->dirty = true;
    if (action > ACTION_NONE && action < ACTION_COUNT) handlers[action](v);
}

// ---- prompt

static bool go_step(struct view *v, const char *text) {
    char *end;
    double step = strtod(text, &end);
    if (end == text || *end || !isfinite(step)) {
        view_notice(v, true, "go: \"%s\" is not a step", text);
        return false;
    }
    if (v->n_records == 0) {
        view_notice(v, true, "go: no step recorded yet");
        return false;
    }
    int64_t at = curves_find(v->curves, AXIS_STEP, step, v->n_records);
    point_at(v, at < v->n_records ? at : v->n_records - 1);
    return true;
}

bool actions_command(struct view *v, const char *line) {
    char word[64];
    while (*line == ' ') line++;
    size_t n = strcspn(line, " ");
    snprintf(word, sizeof word, "%.*s", (int)n, line);
    const char *rest = line + n;
    while (*rest == ' ') rest++;
    v->dirty = true;
    if (!*word) return true;
    if (!strcmp(word, "save-screen")) {
        if (!*rest) {
            view_notice(v, true, "save-screen: which file?");
            return false;
        }
        snprintf(v->save_path, sizeof v->save_path, "%s", rest);
        return true;
    }
    if (!strcmp(word, "go")) return go_step(v, rest);
    enum action action = keys_command(!strcmp(word, "q") ? "quit" : word);
    if (action == ACTION_NONE || *rest) {
        view_notice(v, true, "unknown command \"%s\"; ? lists the keys, whose words are commands",
                    line);
        return false;
    }
    actions_do(v, action);
    return true;
}

static void prompt_key(struct view *v, int code) {
    size_t n = strlen(v->prompt_text);
    if (code == KEYCODE_ESCAPE) {
        if (v->prompt == PROMPT_FILTER) v->log_filter[0] = 0;
        v->prompt = PROMPT_NONE;
    } else if (code == KEYCODE_ENTER || code == '\n') {
        enum view_prompt kind = v->prompt;
        v->prompt = PROMPT_NONE;
        if (kind == PROMPT_COMMAND) actions_command(v, v->prompt_text);
    } else if (code == KEYCODE_BACKSPACE || code == 127 || code == 8) {
        if (n == 0 && v->prompt == PROMPT_COMMAND) v->prompt = PROMPT_NONE;
        while (n > 0 && (v->prompt_text[n - 1] & 0xC0) == 0x80) n--; // a whole UTF-8 glyph
        if (n > 0) v->prompt_text[n - 1] = 0;
    } else if (code >= 32 && code < KEYCODE_LEFT && n + 5 < sizeof v->prompt_text) {
        utf8_put((uint32_t)code, v->prompt_text + n);
    }
    if (v->prompt == PROMPT_FILTER)
        snprintf(v->log_filter, sizeof v->log_filter, "%.60s", v->prompt_text);
}

void actions_key(struct view *v, int code) {
    v->dirty = true;
    enum action action = keys_action(code);
    if (action == ACTION_REPAINT) {
        do_repaint(v);
    } else if (v->prompt) {
        prompt_key(v, code);
    } else if (v->help) {
        int by = action == ACTION_DOWN        ? 1
                 : action == ACTION_UP        ? -1
                 : action == ACTION_PAGE_DOWN ? 10
                 : action == ACTION_PAGE_UP   ? -10
                                              : 0;
        if (by == 0)
            v->help = false;
        else
            v->help_scroll = v->help_scroll + by < 0    ? 0
                             : v->help_scroll + by > 60 ? 60
                                                        : v->help_scroll + by;
        if (action == ACTION_QUIT) v->help = false; // q leaves the help screen, not the program
    } else if (action == ACTION_NONE) {
        view_notice(v, false, "this key does nothing; ? lists all keys");
    } else {
        actions_do(v, action);
    }
}
