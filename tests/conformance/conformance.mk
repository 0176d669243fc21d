# `make conformance`: the program behind tests/conformance/run. Public test ROMs are not part of the
# tree, so CI does not run it; docs/conformance.md records what it found.

CONFORMANCE_SRC := $(wildcard tests/conformance/*.c)
CONFORMANCE_OBJ := $(patsubst tests/%.c,$(BUILD)/tests/%.o,$(CONFORMANCE_SRC))

$(CONFORMANCE_OBJ): $(BUILD)/tests/%.o: tests/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -Itests -MMD -MP -c -o $@ $<

$(BUILD)/tests/conformance/conformance: $(CONFORMANCE_OBJ) $(libs)
	$(CC) $(LDFLAGS) -o $@ $(CONFORMANCE_OBJ) $(call reverse,$(libs)) $(LDLIBS)

.PHONY: conformance
conformance: $(BUILD)/tests/conformance/conformance ## build the runner of public test ROMs (tests/conformance/run)

$(BUILD)/tests/emu/fuzz_frames: tests/emu/fuzz_frames.c $(BUILD)/lib/libwb_emu.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -Itests -MMD -MP -o $@ $< $(LDFLAGS) $(BUILD)/lib/libwb_emu.a

.PHONY: fuzz-frames
fuzz-frames: $(BUILD)/tests/emu/fuzz_frames ## build the long fuzzer of the emulator (tests/emu/fuzz_frames.c)

$(BUILD)/tests/emu/screens: tests/emu/screens.c $(BUILD)/lib/libwb_emu.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -Itests -MMD -MP -o $@ $< $(LDFLAGS) $(BUILD)/lib/libwb_emu.a $(LDLIBS)

.PHONY: screens
screens: $(BUILD)/tests/emu/screens ## build the picture half of tests/bench/emu_peers.py --screens
