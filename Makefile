# A thin door: the work is in scripts/ and CMakeLists.txt.
PREFIX ?= /usr/local
ARGS ?=

.PHONY: all build demo serve test check bench bench-large sim lint install clean setup

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
	@scripts/setup test
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
install:
	@test -x build/release/hotseat || { echo "nothing is built yet: run make build first" >&2; exit 1; }
	@cmake --install build/release --prefix "$(PREFIX)"

clean:
	rm -rf build
