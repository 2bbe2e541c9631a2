# A thin door: the work is in scripts/ and CMakeLists.txt.
PREFIX ?= /usr/local
DESTDIR ?=
ARGS ?=

.PHONY: all build demo serve test check bench bench-large sim lint install uninstall clean setup

all: build

setup:
	@scripts/setup run

build: setup

demo: setup
	@scripts/demo

serve: setup
	@scripts/serve $(ARGS)

test:
	@scripts/setup test
	@scripts/run-tests

check:
	@scripts/setup check
	@scripts/run-tests --long

lint:
	@scripts/setup test
	@scripts/run-tests --only lint

bench: setup
	@python3 bench/bench.py $(ARGS)

bench-large: setup
	@python3 bench/large.py $(ARGS)

sim: setup
	@python3 bench/sim_plot.py

# Builds nothing: as root it would set everything up anew in root's cache.
install uninstall:
	@scripts/install $@ "$(PREFIX)" "$(DESTDIR)"

clean:
	rm -rf build
