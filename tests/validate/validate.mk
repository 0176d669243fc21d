# Programs behind the scripts of tests/validate, which are run by hand.

VALIDATE := $(BUILD)/tests/validate/export_trace $(BUILD)/tests/validate/curves_png
$(VALIDATE): $(BUILD)/tests/validate/%: tests/validate/%.c $(libs)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -Itests -MMD -MP -o $@ $< $(LDFLAGS) $(call reverse,$(libs)) $(LDLIBS)

.PHONY: export-trace curves-png
export-trace: $(BUILD)/tests/validate/export_trace ## build the C half of tests/validate/sheeprl_export.py
curves-png: $(BUILD)/tests/validate/curves_png ## build what draws the curves of tests/validate/exit_lab
