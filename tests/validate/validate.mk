# Programs behind the scripts of tests/validate, which are run by hand.

$(BUILD)/tests/validate/export_trace: tests/validate/export_trace.c $(libs)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -Itests -MMD -MP -o $@ $< $(LDFLAGS) $(call reverse,$(libs)) $(LDLIBS)

.PHONY: export-trace
export-trace: $(BUILD)/tests/validate/export_trace ## build the C half of tests/validate/sheeprl_export.py
