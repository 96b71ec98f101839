# courierfs: build, test, install.
#
#   make                build/courierfs and build/courierctl
#   make demo           the short show, on a fresh machine
#   make check          every test there is, on a fresh machine
#   make check-nfs      server tests with the store on real NFS, in an emulated machine
#   make soak           all servers at once for SECONDS, every answer judged (SEED replays one)
#   make bench          what serving and converting cost, as ratios (bench-short: whether it can be measured)
#   make model          the model of the protocol, searched by spin (model-short: CI's part)
#   make unit           the unit tests, under AddressSanitizer and UBSan
#   make fuzz-short     each fuzz target on FUZZ_COUNT inputs
#   make fuzz           each for FUZZ_SECONDS, with libFuzzer (clang)
#   make tidy           clang-tidy
#   make format         clang-format, in place (format-check only looks)
#   make install        into $(DESTDIR)$(PREFIX)

.DELETE_ON_ERROR:
.SECONDARY:
.DEFAULT_GOAL := all
MAKEFLAGS += --no-builtin-rules

CC := gcc
CLANG := clang
PREFIX ?= /usr/local
FUZZ_COUNT ?= 20000
FUZZ_SECONDS ?= 60
SECONDS ?= 600
PYTEST := /usr/bin/python3 -m pytest

# make V=1 shows the commands.
Q := $(if $(V),,@)
say := @$(if $(V),\#,echo)

# pkg-config is asked once, and only by a make that compiles.
LIBRARIES := fuse3 lmdb libxxhash
library_cflags = $(eval library_cflags := $$(shell pkg-config --cflags $(LIBRARIES)))$(library_cflags)
library_libs = $(eval library_libs := $$(shell pkg-config --libs $(LIBRARIES)))$(library_libs)

WARNINGS := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 \
	-Wvla -Wpointer-arith -Wwrite-strings -Wundef
LANGUAGE := -std=c17 -D_GNU_SOURCE -Ifs -I.
HARDENING := -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection -fPIE
LINK_HARDENING := -pie -Wl,-z,relro,-z,now
SANITIZERS := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

CFLAGS ?= -O2 -g
compile_flags = $(LANGUAGE) $(WARNINGS) $(library_cflags) -pthread -MMD -MP

SOURCES := $(sort $(wildcard fs/*/*.c cache/*.c))
MOUNT_MAIN := fs/mount/main.c
CTL_MAIN := fs/ctl/main.c
CTL_SOURCES := $(filter-out $(CTL_MAIN),$(filter fs/ctl/%,$(SOURCES)))
# What both programs are made of: everything but the two faces. The tests have courierctl's parts, too.
ROOM_SOURCES := $(filter-out $(CTL_SOURCES) $(CTL_MAIN) $(MOUNT_MAIN),$(SOURCES))
TESTED_SOURCES := $(ROOM_SOURCES) $(CTL_SOURCES)
TEST_SOURCES := $(sort $(wildcard tests/unit/test_*.c))
FUZZ_SOURCES := $(sort $(wildcard tests/fuzz/fuzz_*.c))
C_FILES := $(SOURCES) $(sort $(wildcard fs/*/*.h cache/*.h tests/unit/*.[ch] tests/fuzz/*.[ch] tests/bench/*.c))

room_objects := $(ROOM_SOURCES:%.c=build/obj/%.o)
asan_objects := $(TESTED_SOURCES:%.c=build/asan/obj/%.o)
test_programs := $(TEST_SOURCES:tests/unit/%.c=build/asan/%)
fuzz_programs := $(FUZZ_SOURCES:tests/fuzz/%.c=build/fuzz/%)

.PHONY: all
all: build/courierfs build/courierctl

build/courierfs: $(room_objects) $(MOUNT_MAIN:%.c=build/obj/%.o)
	$(say) LINK $@
	$(Q)$(CC) $(CFLAGS) $(LINK_HARDENING) -pthread $^ $(library_libs) -o $@.new
	$(Q)mv $@.new $@

build/courierctl: $(room_objects) $(CTL_SOURCES:%.c=build/obj/%.o) $(CTL_MAIN:%.c=build/obj/%.o)
	$(say) LINK $@
	$(Q)$(CC) $(CFLAGS) $(LINK_HARDENING) -pthread $^ $(library_libs) -o $@.new
	$(Q)mv $@.new $@

build/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) $(compile_flags) $(CFLAGS) $(HARDENING) -c $< -o $@

# ---- unit tests ----

build/asan/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(say) CC $< with sanitizers
	$(Q)$(CC) $(compile_flags) -O1 -g $(SANITIZERS) -c $< -o $@

build/asan/%: build/asan/obj/tests/unit/%.o $(asan_objects)
	$(say) LINK $@
	$(Q)$(CC) $(SANITIZERS) -pthread $^ $(library_libs) -lcmocka -o $@

.PHONY: unit
unit: $(test_programs)
	@status=0; \
	for program in $(test_programs); do ./$$program || status=1; done; \
	exit $$status

# ---- fuzzing: tests/fuzz/fuzz_NAME.c, seeds in tests/fuzz/corpus/NAME ----

# Without libFuzzer, which needs clang: each target on FUZZ_COUNT mutations of its seeds.
build/fuzz/%: build/asan/obj/tests/fuzz/%.o build/asan/obj/tests/fuzz/standalone.o $(asan_objects)
	@mkdir -p $(@D)
	$(say) LINK $@
	$(Q)$(CC) $(SANITIZERS) -pthread $^ $(library_libs) -o $@

.PHONY: fuzz-short
fuzz-short: $(fuzz_programs)
	@cd build/fuzz && for name in $(FUZZ_SOURCES:tests/fuzz/fuzz_%.c=%); do \
		./fuzz_$$name -n $(FUZZ_COUNT) ../../tests/fuzz/corpus/$$name || exit 1; \
	done

# With it, for FUZZ_SECONDS each.
build/libfuzzer/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(say) CLANG $<
	$(Q)$(CLANG) $(compile_flags) -O1 -g $(SANITIZERS) -fsanitize=fuzzer-no-link -c $< -o $@

build/libfuzzer/%: build/libfuzzer/obj/tests/fuzz/%.o $(TESTED_SOURCES:%.c=build/libfuzzer/obj/%.o)
	$(say) LINK $@
	$(Q)$(CLANG) $(SANITIZERS) -fsanitize=fuzzer -pthread $^ $(library_libs) -o $@

.PHONY: fuzz
fuzz: $(FUZZ_SOURCES:tests/fuzz/%.c=build/libfuzzer/%)
	@for name in $(FUZZ_SOURCES:tests/fuzz/fuzz_%.c=%); do \
		corpus=build/libfuzzer/corpus/$$name; mkdir -p $$corpus; \
		build/libfuzzer/fuzz_$$name -max_total_time=$(FUZZ_SECONDS) -timeout=10 \
			-artifact_prefix=build/libfuzzer/ $$corpus tests/fuzz/corpus/$$name || exit 1; \
	done

# ---- style ----

.PHONY: format format-check tidy
format:
	clang-format -i $(C_FILES)

format-check:
	clang-format --dry-run --Werror $(C_FILES)

tidy: $(SOURCES:%.c=build/tidy/%.ok)

build/tidy/%.ok: %.c .clang-tidy
	@mkdir -p $(@D)
	$(say) TIDY $<
	$(Q)clang-tidy --quiet $< -- $(LANGUAGE) $(library_cflags)
	@touch $@

# ---- everything, also on a machine that has nothing yet ----

JOBS := -j$(shell nproc)

.PHONY: demo check servers prepare
prepare:
	scripts/install-packages test
	scripts/fetch-courier

demo: prepare
	$(MAKE) $(JOBS) all
	scripts/demo

check: prepare
	$(MAKE) format-check
	$(MAKE) $(JOBS) all
	$(MAKE) $(JOBS) unit
	$(MAKE) $(JOBS) fuzz-short
	$(MAKE) servers
	$(MAKE) soak-short
	$(MAKE) model-short
	$(MAKE) bench-short

# All ways, also when the first one fails; several files of tests at a time.
servers: all
	@status=0; for options in '' nocache control; do \
		echo "server tests$${options:+ with -o $$options}"; \
		COURIERFS_TEST_OPTIONS=$$options $(PYTEST) $(JOBS:-j%=-n%) --dist loadfile tests/servers || status=1; \
	done; exit $$status

# All four servers at once on one store, with kills; SOAK holds further words for it.
.PHONY: soak soak-short
soak: all
	PYTHONPATH=tests /usr/bin/python3 -m soak --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(SOAK)

soak-short: all
	$(PYTEST) tests/soak

# Two nodes and two Couriers, every order of their steps: tests/model/courierfs.pml.
.PHONY: model model-short
model:
	COURIERFS_MODEL=full $(PYTEST) tests/model

model-short:
	$(PYTEST) tests/model

# What it costs, as ratios. BENCH holds further words for it, such as the parts that are wanted.
.PHONY: bench bench-short
bench: all build/bench/plainfs
	PYTHONPATH=tests /usr/bin/python3 -m bench $(BENCH)

bench-short: all build/bench/plainfs
	PYTHONPATH=tests /usr/bin/python3 -m bench --short --rounds 2 --output build/bench/short

build/bench/plainfs: tests/bench/plainfs.c Makefile
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) $(LANGUAGE) $(WARNINGS) $(library_cflags) $(CFLAGS) $< -o $@ $(library_libs)

# The store on real NFS, which a kernel without NFS has only in a virtual machine.
.PHONY: check-nfs
check-nfs: prepare
	scripts/install-packages nfs
	$(MAKE) $(JOBS) all
	scripts/nfs-vm

# ---- the rest ----

.PHONY: install clean
install: all
	install -d $(DESTDIR)$(PREFIX)/bin
	install build/courierfs build/courierctl $(DESTDIR)$(PREFIX)/bin

# Courier's packages stay: they are a download.
clean:
	rm -rf build/obj build/asan build/fuzz build/libfuzzer build/tidy build/courierfs build/courierctl

-include $(shell find build/obj build/asan build/libfuzzer -name '*.d' 2>/dev/null)
