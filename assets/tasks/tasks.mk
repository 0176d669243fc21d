# The built-in goal tasks: what `make tasks` makes of recorded actions (docs/formats.md, "Goal templates and stage files").
# One line a task: NAME|MAX_STEPS|title. The ROM is assets/roms/lab.gb.

define TASK_LIST
exit_lab|128|Out of the laboratory
enter_house|128|Into the house
errand|512|Fetch the parcel and deliver it
endef

TASK_ROM := assets/roms/lab.gb
MAKE_TASK := $(BUILD)/tests/env/make_task
# Without the tasks that the program embeds: those are what it makes.
MAKE_TASK_LIBS := $(filter-out %/builtin.o %/task_builtin.o,$(obj_env)) \
  $(foreach f,data nn graph emu base,$(BUILD)/lib/libwb_$(f).a)

$(BUILD)/tests/env/make_task.o: tests/env/make_task.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -Itests -MMD -MP -c -o $@ $<

$(MAKE_TASK): $(BUILD)/tests/env/make_task.o $(MAKE_TASK_LIBS)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# The tasks are embedded by the assembler, which tells make nothing.
$(BUILD)/obj/engine/env/builtin.o: $(wildcard assets/tasks/*/*.state assets/tasks/*/*.json assets/tasks/*/*.txt \
  assets/tasks/*/goal_*/*)

export TASK_LIST
.PHONY: tasks make-task
make-task: $(MAKE_TASK)
tasks: $(MAKE_TASK) ## remake assets/tasks from their recorded actions (TASK=name: one of them; TASK_FLAGS="-t -r 500")
	@printf '%s\n' "$$TASK_LIST" | while IFS='|' read -r name steps title; do \
	  if [ -n "$(TASK)" ] && [ "$$name" != "$(TASK)" ]; then continue; fi; \
	  if [ ! -e assets/tasks/$$name/start.txt ]; then echo "tasks: assets/tasks/$$name/start.txt is missing" >&2; exit 1; fi; \
	  $(MAKE_TASK) $(TASK_FLAGS) $(TASK_ROM) assets/tasks/$$name $$steps "$$title" || exit 1; done
