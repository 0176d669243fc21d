# The built-in Game Boy scenes: rebuilds them from source, checks the committed binaries.

ROMS_DIR := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))
ROM_NAMES := static scroll sprites lab
ROMS_BUILD := $(abspath $(or $(BUILD),build))/roms
ROM_TOOLS := sdasgb sdldgb makebin

# $(call rom_build,name): assemble (paths in a source are relative to its folder), link, add
# header and checksums, all in $(ROMS_BUILD).
define rom_build
	@mkdir -p $(ROMS_BUILD)
	@cd $(ROMS_DIR) && sdasgb -o $(ROMS_BUILD)/$(1).rel $(1).s
	@cd $(ROMS_BUILD) && sdldgb -n -m -i $(1).ihx $(1).rel
	@cd $(ROMS_BUILD) && makebin -Z -yo 2 -yt 0 -yn $(shell echo $(1) | tr a-z A-Z) $(1).ihx $(1).gb

endef

.PHONY: roms roms-check roms-tools roms-build

roms-tools:
	@for t in $(ROM_TOOLS); do command -v $$t >/dev/null || \
	  { echo "roms: $$t not found; install the Debian package sdcc" >&2; exit 1; }; done

roms-build: roms-tools
	$(foreach n,$(ROM_NAMES),$(call rom_build,$(n)))

roms: roms-build ## rebuild assets/roms/*.gb from their sources (needs sdcc)
	@cp $(addprefix $(ROMS_BUILD)/,$(addsuffix .gb,$(ROM_NAMES))) $(ROMS_DIR)
	@cd $(ROMS_DIR) && sha256sum $(addsuffix .gb,$(ROM_NAMES))

roms-check: roms-build ## compare the committed scenes with a fresh build (needs sdcc)
	@for n in $(ROM_NAMES); do cmp $(ROMS_BUILD)/$$n.gb $(ROMS_DIR)/$$n.gb || exit 1; done; \
	  echo "roms: the committed binaries match their sources"
