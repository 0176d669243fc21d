# The emulator's own test ROMs: rebuilds them from source, checks the committed binaries (needs sdcc).

TEST_ROMS_DIR := tests/roms
TEST_ROMS := lcd timer dma sound mbc1 mbc3 mbc5
TEST_ROMS_BUILD := $(abspath $(or $(BUILD),build))/test_roms
# header fields: number of banks, cartridge type, RAM banks
test_rom_header_mbc1 := -yo 8 -yt 3 -ya 4
test_rom_header_mbc3 := -yo 8 -yt 0x13 -ya 4
test_rom_header_mbc5 := -yo 8 -yt 0x1b -ya 4

define test_rom_build
	@mkdir -p $(TEST_ROMS_BUILD)
	@cd $(TEST_ROMS_DIR) && sdasgb -o $(TEST_ROMS_BUILD)/$(1).rel $(1).s
	@cd $(TEST_ROMS_BUILD) && sdldgb -n -m -i $(1).ihx $(1).rel
	@cd $(TEST_ROMS_BUILD) && makebin -Z $(or $(test_rom_header_$(1)),-yo 2 -yt 0) -yn T$(shell echo $(1) | tr a-z A-Z) $(1).ihx $(1).gb

endef

.PHONY: test-roms test-roms-check test-roms-build

test-roms-build: roms-tools
	$(foreach n,$(TEST_ROMS),$(call test_rom_build,$(n)))

test-roms: test-roms-build ## rebuild tests/roms/*.gb from their sources (needs sdcc)
	@cp $(addprefix $(TEST_ROMS_BUILD)/,$(addsuffix .gb,$(TEST_ROMS))) $(TEST_ROMS_DIR)

test-roms-check: test-roms-build ## compare the committed test ROMs with a fresh build (needs sdcc)
	@for n in $(TEST_ROMS); do cmp $(TEST_ROMS_BUILD)/$$n.gb $(TEST_ROMS_DIR)/$$n.gb || exit 1; done; \
	  echo "test ROMs: the committed binaries match their sources"
