# workbench: `make` builds build/workbench, `make test` builds and runs all tests, `make help` lists the rest.
# Variants build into their own folder: make BUILD=build/asan SAN=asan; make BUILD=build/double REAL=double.
BUILD ?= build
CC ?= gcc
CXX ?= g++
PREFIX ?= /usr/local
WERROR ?= 0
HEADLESS ?= 0
.DEFAULT_GOAL := all

VERSION := 0.1.0
GIT_DESCRIBE := $(shell git describe --always --dirty 2>/dev/null || echo unknown)

# ---- libraries: what is missing is named with its Debian package, once, before anything is compiled
PACKAGES := libcjson:libcjson-dev libzstd:libzstd-dev libpng:libpng-dev libmd:libmd-dev
PACKAGES_UI := ncursesw:libncurses-dev sdl2:libsdl2-dev SDL2_ttf:libsdl2-ttf-dev
PACKAGES_TEST := cmocka:libcmocka-dev vterm:libvterm-dev
ifeq ($(HEADLESS),0)
PACKAGES += $(PACKAGES_UI)
endif
MISSING := $(strip $(foreach p,$(PACKAGES),$(shell pkg-config --exists $(word 1,$(subst :, ,$(p))) 2>/dev/null || echo $(word 2,$(subst :, ,$(p))))))
pc = $(shell pkg-config $(1) $(foreach p,$(2),$(word 1,$(subst :, ,$(p)))) 2>/dev/null)

# A headless program goes to machines that have none of these libraries: archives where there are any
# (cJSON has none in Debian), else the shared one, which may lie beside the program.
archive = $(or $(filter /%,$(shell $(CC) -print-file-name=$(patsubst -l%,lib%.a,$(1)))),$(1))
ifeq ($(HEADLESS),1)
linked = $(foreach l,$(1),$(call archive,$(l))) $(call archive,-lz) -Wl,-rpath,'$$ORIGIN'
else
linked = $(1)
endif

WARN := -Wall -Wextra -Wshadow -Wmissing-prototypes -Wvla
ifeq ($(WERROR)$(SAN),1)   # instrumented code makes gcc see impossible sizes; the plain build judges the warnings
WARN += -Werror
endif
OPT ?= -O2
DEFS := -D_POSIX_C_SOURCE=200809L -DWORKBENCH_VERSION='"$(VERSION)"'
ifdef REAL
DEFS += -DREAL=$(REAL)
endif
ifdef SAN
DEFS += -DKERNELS_NO_AVX2   # see src/engine/graph/kernels.c
endif
ifeq ($(HEADLESS),1)
DEFS += -DWORKBENCH_HEADLESS=1
endif
SAN_asan := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
SAN_tsan := -fsanitize=thread -fno-omit-frame-pointer
SANFLAGS := $(SAN_$(SAN))
CFLAGS += -std=c17 $(OPT) -g -pthread $(WARN) $(DEFS) $(SANFLAGS) -Isrc $(call pc,--cflags,$(PACKAGES))
LDFLAGS += -pthread $(SANFLAGS)
LDLIBS = $(call linked,$(call pc,--libs,$(PACKAGES)) -lgif) -lm

# ---- floors, lowest first: a floor links with the ones before it only (`make layers` proves it)
FLOORS := base emu graph nn data env algo run ui
dir_base := src/base
dir_emu := src/emu
$(foreach f,graph nn data env algo run,$(eval dir_$(f) := src/engine/$(f)))
dir_ui := src/ui
$(foreach f,$(FLOORS),$(eval src_$(f) := $(filter-out src/ui/main.c,$(shell find $(dir_$(f)) -name '*.c' 2>/dev/null | LC_ALL=C sort))))
ifeq ($(HEADLESS),1)   # of the screens' floor only the command line stays
src_ui := $(wildcard src/ui/cli*.c src/ui/cmd_*.c)
endif
$(foreach f,$(FLOORS),$(eval obj_$(f) := $(patsubst src/%.c,$(BUILD)/obj/%.o,$(src_$(f)))))

# kernels_isa.c holds every numeric kernel and is compiled once per instruction set (run-time dispatch picks one);
# kernels_bf16.c those of products and convolutions in bf16, also for CPUs that have an instruction for them.
ISA_SRC := src/engine/graph/kernels_isa.c
BF16_SRC := src/engine/graph/kernels_bf16.c
ifneq ($(wildcard $(ISA_SRC)),)
obj_graph := $(filter-out $(BUILD)/obj/engine/graph/kernels_isa.o $(BUILD)/obj/engine/graph/kernels_bf16.o,$(obj_graph))
ISAS := generic
ifeq ($(shell uname -m),x86_64)
ISAS += avx512 $(if $(SAN),,avx2)
endif
isa_flags_generic :=
isa_flags_avx2 := -mavx2 -mfma
isa_flags_avx512 := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mprefer-vector-width=512
isa_flags_avx512bf16 := $(isa_flags_avx512) -mavx512bf16
BF16_ISAS := $(if $(SAN),$(filter-out avx512,$(ISAS)),$(ISAS)) $(if $(filter avx512,$(ISAS)),avx512bf16)
obj_isa := $(foreach i,$(ISAS),$(BUILD)/obj/engine/graph/kernels_isa.$(i).o)
obj_bf16 := $(foreach i,$(BF16_ISAS),$(BUILD)/obj/engine/graph/kernels_bf16.$(i).o)
obj_graph += $(obj_isa) $(obj_bf16)
endif
# Vectorised sums and fused multiply-adds, but NaN and infinity keep their meaning.
ISA_CFLAGS := $(if $(SAN),-O1,-O3) -ffp-contract=fast -fno-math-errno -fno-trapping-math -fopenmp-simd -Wno-psabi

libs := $(foreach f,$(FLOORS),$(BUILD)/lib/libwb_$(f).a)
reverse = $(if $(1),$(call reverse,$(wordlist 2,$(words $(1)),$(1))) $(firstword $(1)))

.PHONY: gpu-check all help test check-tools clean install layers gpu-syntax format format-check compile-tests
all: check-tools $(BUILD)/workbench

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 16

check-tools:
ifneq ($(MISSING),)
	@echo "missing libraries: apt-get install --no-install-recommends pkg-config $(MISSING)" >&2; exit 1
endif

$(BUILD)/workbench: $(BUILD)/obj/ui/main.o $(libs)
	$(CC) $(LDFLAGS) -o $@ $< $(call reverse,$(libs)) $(LDLIBS)

define floor_rule
$(BUILD)/lib/libwb_$(1).a: $$(obj_$(1))
	@mkdir -p $$(@D)
	@rm -f $$@
	$(AR) rcs $$@ $$^
endef
$(foreach f,$(FLOORS),$(eval $(call floor_rule,$(f))))

$(BUILD)/obj/%.o: src/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

$(foreach i,$(ISAS),$(eval $(BUILD)/obj/engine/graph/kernels_isa.$(i).o: ISA := $(i)))
$(foreach i,$(BF16_ISAS),$(eval $(BUILD)/obj/engine/graph/kernels_bf16.$(i).o: ISA := $(i)))
$(obj_isa): $(ISA_SRC) $(wildcard src/engine/graph/*.h)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(ISA_CFLAGS) $(isa_flags_$(ISA)) -DKERNELS_ISA=$(ISA) -MMD -MP -c -o $@ $<
$(obj_bf16): $(BF16_SRC) $(wildcard src/engine/graph/*.h)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(ISA_CFLAGS) $(isa_flags_$(ISA)) -DKERNELS_ISA=$(ISA) -MMD -MP -c -o $@ $<

# The built-in scenes are embedded by the assembler, which tells make nothing.
$(BUILD)/obj/engine/env/builtin.o: $(wildcard assets/roms/*.gb assets/tasks/*/*.* assets/tasks/*/*/*.*)

# The revision is compiled into one small file only, so that a commit does not rebuild the world.
$(BUILD)/revision: FORCE
	@mkdir -p $(@D)
	@echo '$(GIT_DESCRIBE)' | cmp -s - $@ || echo '$(GIT_DESCRIBE)' > $@
$(BUILD)/obj/base/version.o: $(BUILD)/revision
$(BUILD)/obj/base/version.o: CFLAGS += -DWORKBENCH_REVISION='"$(GIT_DESCRIBE)"'
FORCE:

# ---- GPU (docs/gpu.md). CUDA=auto: the library where nvcc is found; 1: always; 0: never
CUDA ?= auto
NVCC ?= $(firstword $(shell command -v nvcc 2>/dev/null) $(wildcard /usr/local/cuda/bin/nvcc))
GPU_SRC := $(wildcard src/gpu/*.cu)
GPU_LIB := $(BUILD)/libworkbench_cuda.so
GPU_OBJ := $(patsubst src/gpu/%.cu,$(BUILD)/obj/gpu/%.o,$(GPU_SRC))
GPU_WANTED := $(if $(filter 0,$(CUDA))$(REAL)$(SAN),,$(if $(filter 1,$(CUDA))$(NVCC),1))
ifeq ($(GPU_WANTED),1)
all: $(GPU_LIB)
endif
NVCC_FLAGS := -std=c++17 -O3 -Isrc -DGPU_BACKEND_NAME='"cuda"' -Xcompiler -fPIC,-Wall \
    -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=sm_90 \
    -gencode arch=compute_90,code=compute_90 $(if $(filter 1,$(WERROR)),-Werror all-warnings)
# What every kernel takes of a chip (ptxas -v) is kept beside the object: gpu/test_gpu_resources looks at it.
$(BUILD)/obj/gpu/%.o: src/gpu/%.cu
	@mkdir -p $(@D)
	@$(if $(NVCC),:,echo "CUDA=1 needs nvcc (the CUDA toolkit), in PATH or as NVCC=..." >&2; exit 1)
	$(NVCC) $(NVCC_FLAGS) -Xptxas -v -MMD -MP -c -o $@ $< 2>$(@:.o=.ptxas) || { cat $(@:.o=.ptxas) >&2; exit 1; }
	@grep -vE "^ptxas info|^    [0-9]+ bytes" $(@:.o=.ptxas) >&2 || true
$(GPU_LIB): $(GPU_OBJ)
	$(NVCC) -shared -o $@ $^ -lcublas -Xlinker -rpath=$(dir $(NVCC))../lib64

# The same kernels compiled for the CPU, over the tests' harness
GPU_KERNELS := $(filter-out src/gpu/cuda.cu,$(GPU_SRC))
HARNESS := $(BUILD)/tests/gpu/libharness.so
# Real kernels with one thing broken each (tests/gpu/harness/broken.h): NAME:FILE
BROKEN := no_barrier:reduce off_by_one:elementwise divergent_barrier:reduce large_block:elementwise \
    stale_lane:norm one_short:elementwise host_memory:elementwise unaligned:reduce short_row:linear \
    no_bytes:sets early_look:program no_slot_wait:program \
    captured_event:program_commands captured_free:program_commands \
    no_commit_wait:ring_read no_read_wait:ring_write early_rows:ring_read late_rows:ring_read wrong_draw:sample \
    captured_copy:program_commands captured_alloc:program_commands captured_wait:program_commands \
    wrong_step:program_commands chatty:program \
    short_step:emu stale_frames:rollout_play chain_barrier:chain chain_memory:chain_plan
HARNESS_BROKEN := $(foreach b,$(BROKEN),$(BUILD)/tests/gpu/libbroken_$(word 1,$(subst :, ,$(b))).so)
HARNESS_FLAGS := -std=c++17 -O2 -g -fPIC -Wall -Wextra $(if $(filter 1,$(WERROR)),-Werror) \
    -Isrc -Itests -D_POSIX_C_SOURCE=200809L -DGPU_BACKEND_NAME='"harness"'
harness_obj = $(patsubst src/gpu/%.cu,$(BUILD)/obj/gpu-harness/%.o,$(1))
HARNESS_OBJ := $(call harness_obj,$(GPU_KERNELS)) \
    $(patsubst tests/gpu/harness/%.cpp,$(BUILD)/obj/gpu-harness/%.o,$(wildcard tests/gpu/harness/*.cpp))

$(BUILD)/obj/gpu-harness/%.o: src/gpu/%.cu
	@mkdir -p $(@D)
	$(CXX) $(HARNESS_FLAGS) -MMD -MP -x c++ -c -o $@ $<
# Its memories are plain pointers there: an address that a chip would refuse ends the program.
$(BUILD)/obj/gpu-harness/emu.o: HARNESS_FLAGS += -fsanitize=alignment,bounds,shift -fsanitize-undefined-trap-on-error
$(BUILD)/obj/gpu-harness/%.o: tests/gpu/harness/%.cpp
	@mkdir -p $(@D)
	$(CXX) $(HARNESS_FLAGS) -MMD -MP -c -o $@ $<
$(HARNESS): $(HARNESS_OBJ)
	@mkdir -p $(@D)
	$(CXX) -shared -o $@ $^
# In NCCL's place for the harness
FAKE_NCCL := $(BUILD)/tests/gpu/libfake_nccl.so
$(FAKE_NCCL): tests/gpu/harness/fake_nccl.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -fPIC -shared -o $@ $<
define broken_rule
$(BUILD)/obj/gpu-harness/broken_$(1).o: src/gpu/$(2).cu
	@mkdir -p $$(@D)
	$(CXX) $(HARNESS_FLAGS) -DBREAK_$(1) -include gpu/harness/broken.h -MMD -MP -x c++ -c -o $$@ $$<
$(BUILD)/tests/gpu/libbroken_$(1).so: $(BUILD)/obj/gpu-harness/broken_$(1).o \
        $(filter-out %/$(2).o,$(HARNESS_OBJ))
	@mkdir -p $$(@D)
	$(CXX) -shared -o $$@ $$^
endef
$(foreach b,$(BROKEN),$(eval $(call broken_rule,$(word 1,$(subst :, ,$(b))),$(word 2,$(subst :, ,$(b))))))

# ---- tests: one cmocka program per tests/<folder>/test_<name>.c
TEST_SRC := $(shell find tests -name 'test_*.c' 2>/dev/null | LC_ALL=C sort)
ifeq ($(HEADLESS),1)
TEST_SRC := $(filter-out tests/ui/%,$(TEST_SRC))
endif
ifneq ($(REAL)$(SAN),)   # the kernels are float; sanitizers and fibres do not mix
TEST_SRC := $(filter-out tests/gpu/%,$(TEST_SRC))
endif
TESTS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(TEST_SRC))
$(filter $(BUILD)/tests/gpu/%,$(TESTS)): | $(HARNESS) $(HARNESS_BROKEN) $(FAKE_NCCL)
ONLY ?=
TESTS_RUN = $(if $(ONLY),$(foreach o,$(ONLY),$(filter $(BUILD)/tests/$(o)%,$(TESTS))),$(TESTS))

$(BUILD)/tests/%: tests/%.c $(libs)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -Itests -MMD -MP -o $@ $< $(LDFLAGS) $(call reverse,$(libs)) $(LDLIBS) $(call pc,--libs,$(PACKAGES_TEST)) -lutil

compile-tests: $(TESTS_RUN)
# No GPU is seen: tests that start the program expect the CPU's results on every machine (gpu-check: those that want one).
test: check-tools $(BUILD)/workbench $(TESTS_RUN) ## build and run all tests (ONLY=graph/test_x picks some)
	@CUDA_VISIBLE_DEVICES= WORKBENCH_BUILD=$(BUILD) tests/run_tests $(TESTS_RUN)

gpu-check: check-tools $(BUILD)/workbench $(GPU_LIB) $(filter $(BUILD)/tests/gpu/%,$(TESTS)) ## the kernels on a real GPU, against the CPU
	@tests/gpu/check $(BUILD)

layers: $(libs) ## prove the floors: each archive links with the lower ones only
	@tests/layers $(CC) $(BUILD) "$(FLOORS)" "$(LDLIBS)"

gpu-syntax: ## the machine's headers are valid C++17 (and CUDA C++ where nvcc is installed)
	@tests/gpu_syntax $(CXX)

format: ## apply .clang-format to everything
	git ls-files '*.c' '*.h' | xargs clang-format -i

clean: ## remove everything that was built
	rm -rf $(BUILD)

install: all ## install under PREFIX (default /usr/local)
	install -D -m 755 $(BUILD)/workbench $(DESTDIR)$(PREFIX)/bin/workbench
	install -D -m 644 docs/workbench.1 $(DESTDIR)$(PREFIX)/share/man/man1/workbench.1
	test ! -e $(GPU_LIB) || install -D -m 755 $(GPU_LIB) $(DESTDIR)$(PREFIX)/lib/libworkbench_cuda.so
	install -d $(DESTDIR)$(PREFIX)/share/workbench/roms $(DESTDIR)$(PREFIX)/share/workbench/golden
	install -m 644 assets/roms/*.gb $(DESTDIR)$(PREFIX)/share/workbench/roms
	install -m 644 tests/golden/dreamer_v3/* $(DESTDIR)$(PREFIX)/share/workbench/golden

-include $(wildcard assets/roms/roms.mk assets/tasks/tasks.mk tests/roms/roms.mk tests/conformance/conformance.mk tests/validate/validate.mk)
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
